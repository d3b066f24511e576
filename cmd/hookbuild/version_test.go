package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/test/testneed"
)

// TestBuildID compares with what Go's own tool says of a program.
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
