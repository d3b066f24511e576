package bundles

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
		script     string
		want, note string
		words      []string
	}{
		"online":                   {"mkdir log; [ \"$1 $2\" = 'anywhere version' ] && echo 'Version: v0.26.1'", "Version: v0.26.1\n", "", nil},
		"offline":                  {offline, "Version: v0.26.1\n", "exit status 255: Error: getting the manifest: no such host", nil},
		"offline, JSON":            {"echo '{\"version\":\"v0.26.1\"}'; exit 255", "{\"version\":\"v0.26.1\"}\n", "prints v0.26.1 and no bundle", nil},
		"offline, YAML":            {"echo 'version: v0.26.1'; echo; exit 255", "version: v0.26.1\n\n", "prints v0.26.1", nil},
		"a bare version, failed":   {"echo v0.18.3; exit 1", "v0.18.3\n", "prints v0.18.3", nil},
		"no plugin":                {"echo 'unknown command \"anywhere\"' >&2; exit 1", "", "", []string{"unknown command", "--bundle"}},
		"fails and says nothing":   {"exit 3", "", "", []string{"exit status 3"}},
		"names no version, failed": {"echo nothing; exit 255", "", "", []string{"exit status 255"}},
	} {
		got, note, err := eksctl(t, tc.script).Version(t.Context())
		if got != tc.want || (err == nil) != (tc.words == nil) || !strings.Contains(note, tc.note) || (note == "") != (tc.note == "") {
			t.Errorf("%s: %q, %q, %v", name, got, note, err)
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
	started := filepath.Join(t.TempDir(), "started")
	if err := syscall.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	e := eksctl(t, "exec sleep 600")
	e.Patience = 100 * time.Millisecond
	_, _, err := e.Version(t.Context())
	wantError(t, err, "has not ended within its time limit of 100ms", "--eksa-version")

	e = eksctl(t, "echo > "+started+"; exec sleep 600")
	e.Patience = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		if _, err := os.ReadFile(started); err != nil { // ends when eksctl has started
			t.Error(err)
		}
	}()
	_, _, err = e.Version(ctx)
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "signal") || strings.Contains(err.Error(), "--bundle") {
		t.Errorf("interrupted: %v", err)
	}
}

func TestNoEksctl(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if got, _, err := (Eksctl{}).Version(t.Context()); got != "" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
