package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"hookbuild/test/testneed"
)

// TestBuildID compares the build ID with the one that the go command prints.
func TestBuildID(t *testing.T) {
	tool := testneed.Tool(t, "go")
	source := filepath.Join(t.TempDir(), "main.go")
	ids := map[string]bool{}
	for _, flags := range [][]string{nil, {"-ldflags=-s -w"}, {"-ldflags=-buildid="}} {
		program := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(tool, append(append([]string{"build", "-o", program}, flags...), source)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		want, err := exec.Command(tool, "tool", "buildid", program).Output()
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		if got := buildID(f); got != strings.TrimSpace(string(want)) {
			t.Errorf("%q: %q, want %q", flags, got, want)
		}
		ids[buildID(f)] = true
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != 3 {
		t.Errorf("the programs have the IDs %v", ids)
	}
	if id := buildID(strings.NewReader("#!/bin/sh\n")); id != "" {
		t.Errorf("a script has the ID %q", id)
	}
}

// TestIdentity covers builds from a release, a commit, changed files, and without git,
// such as from an unpacked source archive.
func TestIdentity(t *testing.T) {
	setting := func(pairs ...string) (all []debug.BuildSetting) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return all
	}
	const commit, when = "0123456789abcdef0123456789abcdef01234567", "2026-11-27T06:00:00Z"
	for name, tt := range map[string]struct {
		version  string
		settings []debug.BuildSetting
		want     string
	}{
		"release":     {"v1.2.3", setting("vcs.revision", commit, "vcs.time", when, "vcs.modified", "false"), "hookbuild v1.2.3\ncommit:   " + commit + " of " + when + "\n"},
		"modified":    {"v1.2.3+dirty", setting("vcs.revision", commit, "vcs.modified", "true"), "hookbuild v1.2.3+dirty\ncommit:   " + commit + ", with uncommitted changes\n"},
		"without git": {development, nil, "hookbuild (devel)\ncommit:   not known (built without git)\n"},
		"nothing":     {"", nil, "hookbuild unknown\n"},
	} {
		got := identityOf(&debug.BuildInfo{Main: debug.Module{Version: tt.version}, Settings: tt.settings}, true).String()
		if !strings.HasPrefix(got, tt.want) || !strings.HasSuffix(got, "\nplatform: "+runtime.GOOS+"/"+runtime.GOARCH+"\n") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	if got := identityOf(nil, false).String(); !strings.HasPrefix(got, "hookbuild unknown\n") {
		t.Error(got)
	}
}
