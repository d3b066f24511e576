package main

import (
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/test/lab/site"
)

// TestLockDecidesTheFlavor builds from a lock beside a hookbuild.yaml with another
// flavor, and checks that it is said which one is built before that is done.
func TestLockDecidesTheFlavor(t *testing.T) {
	l := newLocker(t)
	kit, _ := l.saveKit()
	dir := t.TempDir()
	t.Chdir(dir)
	const begin = "resolve what goes into hook-latest-lts-amd64"
	said := func(args ...string) string {
		t.Helper()
		got := l.run(0, append([]string{"all", "--locked", "--out", t.TempDir(), "--hook-dir", l.site.Dir}, args...)...)
		before, _, found := strings.Cut(got.stderr, begin)
		if !found {
			t.Fatalf("it does not build the lock's flavor:\n%s", got.stderr)
		}
		return before
	}
	for config, warned := range map[string]bool{
		"flavors: [hook-default-amd64]\n":                        true,
		"flavors: [hook-latest-lts-amd64, hook-default-amd64]\n": true,
		"flavors: [hook-latest-lts-amd64]\n":                     false,
		"output: {level: 1}\n":                                   false,
	} {
		site.WriteFile(t, filepath.Join(dir, "hookbuild.yaml"), config)
		before := said("--kit", kit)
		says(t, before, "no flavor was named; the lock in the kit has hook-latest-lts-amd64\n")
		const warning = "warning: hookbuild.yaml:1: flavors: hook-default-amd64: not in the lock in the kit, which alone says what is built with --locked; `hookbuild lock` locks what hookbuild.yaml names"
		if strings.Contains(before, warning) != warned {
			t.Errorf("with %q it says\n%s", config, before)
		}
	}
	says(t, said("--lock-file", l.lock, "--config", "none"), "no flavor was named; the lock "+l.lock+" has hook-latest-lts-amd64\n")
	if before := said(l.flavor, "--kit", kit); strings.Contains(before, "flavors:") || strings.Contains(before, "no flavor") {
		t.Errorf("with a flavor it says\n%s", before)
	}
}
