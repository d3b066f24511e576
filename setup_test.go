package hookbuild_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"hookbuild/test/testneed"
)

// "make" without a target builds the program: it must install nothing.
func TestMakeBuildsByDefault(t *testing.T) {
	text, err := exec.CommandContext(t.Context(), testneed.Tool(t, "make"), "--dry-run", "--always-make").CombinedOutput()
	if err != nil || !strings.Contains(string(text), "-o bin/hookbuild ./cmd/hookbuild") || strings.Contains(string(text), ".ci/setup") {
		t.Errorf("make would run %s (%v)", text, err)
	}
}

func TestMakeHelpListsTheTargets(t *testing.T) {
	help, err := exec.CommandContext(t.Context(), testneed.Tool(t, "make"), "help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindSubmatch(makefile)
	for target := range strings.FieldsSeq(string(targets[1])) {
		if !regexp.MustCompile(`(?m)^make ` + target + ` +[a-z]`).Match(help) {
			t.Errorf("make help says nothing of %s:\n%s", target, help)
		}
	}
}

// Without root, and without sudo or a terminal on which it asks for a password,
// the setup ends with one line that names the packages.
func TestSetupWithoutRoot(t *testing.T) {
	tools := t.TempDir()
	for _, name := range []string{"bash", "dirname", "sort", "go"} {
		if err := os.Symlink(testneed.Tool(t, name), filepath.Join(tools, name)); err != nil {
			t.Fatal(err)
		}
	}
	standIn := func(name, script string) {
		if err := os.WriteFile(filepath.Join(tools, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	standIn("id", "echo 1000")
	for _, sudo := range []string{"", "echo sudo: a terminal is required to read the password >&2; exit 1"} {
		if sudo != "" {
			standIn("sudo", sudo)
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(tools, "bash"), ".ci/setup", "demo", "amd64")
		cmd.Env = []string{"PATH=" + tools}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
		text, err := cmd.CombinedOutput()
		if err == nil || strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), "qemu-system-x86") {
			t.Errorf("sudo %q: %v\n%s", sudo, err, text)
		}
	}
}
