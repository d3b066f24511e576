package main

import (
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/test/lab/site"
)

// TestStarsOfTheSite checks that flavors marks what all builds with the hookbuild.yaml.
func TestStarsOfTheSite(t *testing.T) {
	s := site.New(t, nil)
	config := filepath.Join(t.TempDir(), "hookbuild.yaml")
	site.WriteFile(t, config, "flavors: [hook-latest-lts-amd64]\n")
	got := runAt(t.Context(), s, "flavors", "--hook-dir", s.Dir, "--config", config, "--arch", "x86_64")
	if got.code != 0 || !strings.Contains(got.stdout, "* hook-latest-lts-amd64") || strings.Count(got.stdout, "* ") != 1 {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// TestArchOfTheFile names the architecture as flavors and files do.
func TestArchOfTheFile(t *testing.T) {
	s := site.New(t, nil)
	config := filepath.Join(t.TempDir(), "hookbuild.yaml")
	for arch, want := range map[string]string{"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"} {
		site.WriteFile(t, config, "arch: "+arch+"\n")
		got := runAt(t.Context(), s, "flavors", "--hook-dir", s.Dir, "--config", config)
		if got.code != 0 || !strings.Contains(got.stdout, "* hook-default-"+want) {
			t.Errorf("%s: exit code %d\n%s%s", arch, got.code, got.stdout, got.stderr)
		}
	}
}
