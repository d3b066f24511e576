package bundles

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/fault"
)

// eksctl returns an eksctl that runs a shell script.
func eksctl(t *testing.T, script string) Eksctl {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eksctl")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return Eksctl{Path: path, Patience: 5 * time.Second}
}

func TestEksctlVersion(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	const offline = "mkdir -p log/x && echo 'Version: v0.26.1'; echo 'Warning: x' >&2; echo 'Error: getting the manifest: no such host' >&2; exit 255"
	for name, tc := range map[string]struct {
		script string
		known  bool
		want   string
		words  []string
	}{
		"online":                   {"mkdir log; [ \"$1 $2\" = 'anywhere version' ] && echo 'Version: v0.26.1'", false, "Version: v0.26.1\n", nil},
		"offline, list known":      {offline, true, "Version: v0.26.1\n", nil},
		"offline":                  {offline, false, "", []string{"exit status 255", "no such host", "--bundle"}},
		"no plugin, list known":    {"echo 'unknown command \"anywhere\"' >&2; exit 1", true, "", []string{"unknown command"}},
		"fails and says nothing":   {"exit 3", false, "", []string{"exit status 3"}},
		"names no version, failed": {"echo nothing; exit 255", true, "", []string{"exit status 255"}},
	} {
		got, err := eksctl(t, tc.script).Version(t.Context(), tc.known)
		if got != tc.want || (err == nil) != (tc.words == nil) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if tc.words != nil {
			wantError(t, err, append(tc.words, "eksctl anywhere version")...)
			if fault.KindOf(err) != fault.Outside || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: kind %d: %v", name, fault.KindOf(err), err)
			}
		}
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestEksctlThatDoesNotEnd(t *testing.T) {
	e := eksctl(t, "sleep 60")
	e.Patience = 100 * time.Millisecond
	started := time.Now()
	_, err := e.Version(t.Context(), true)
	wantError(t, err, "has not ended after 100ms", "--eksa-version")
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestNoEksctl(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if got, err := (Eksctl{}).Version(t.Context(), false); got != "" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
