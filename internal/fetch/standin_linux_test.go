package fetch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"hookbuild/test/testneed"
)

// TestStandInForAnotherUser looks at files as a user who may not read all of them.
func TestStandInForAnotherUser(t *testing.T) {
	testneed.Root(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, mode os.FileMode) {
		err := errors.Join(os.MkdirAll(filepath.Dir(at(name)), 0o755), os.WriteFile(at(name), nil, mode))
		if err != nil {
			t.Fatal(err)
		}
	}
	write("open/file", 0o644)
	write("half/file", 0o644)
	write("half/below/key", 0o600)
	write("closed/file", 0o644)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(at("closed"), 0o700)); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	got := make(chan map[string]string)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its user
		const nobody = 65534
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Error(err)
		}
		found := map[string]string{}
		for _, name := range []string{"open", "half", "half/file", "half/below/key", "closed", "closed/file"} {
			found[name] = StandInTree(t.Context(), at(name), "kit")
		}
		found["ended"] = StandInTree(ended, at("half"), "kit")
		got <- found
	}()
	found := <-got
	for name, want := range map[string]string{
		"open": at("open"), "half/file": at("half/file"), "half": "kit", "ended": at("half"), "half/below/key": "kit", "closed": "kit", "closed/file": "kit",
	} {
		if found[name] != want {
			t.Errorf("StandInTree(%q) = %q, want %q", name, found[name], want)
		}
	}
}
