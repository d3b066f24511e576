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
