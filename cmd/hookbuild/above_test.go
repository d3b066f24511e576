package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"hookbuild/test/lab/site"
)

// TestBelowTheCheckout works in a container's directory, whose files are part of the
// container's hash: the artifacts and a relative CACHE_DIR belong to the checkout.
func TestBelowTheCheckout(t *testing.T) {
	p := newPlace(t)
	below := filepath.Join(p.site.Dir, "images/hook-hello")
	t.Chdir(below)
	args := []string{"linuxkit", "hook-latest-lts-amd64", "--kernel", "image:" + p.site.Host + "/kernel:1", "--progress", "plain", "CACHE_DIR=cache"}
	site.Push(t, p.site.Base()+"hook-embedded:"+embeddedTag(p), map[string]string{"x": "y"})
	for range 2 { // the second build finds the container's hash as it was
		got := runAt(t.Context(), p.site, args...)
		if want := filepath.Join(p.site.Dir, "out/hook/vmlinuz-latest-lts-x86_64") + "\n"; got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Fatalf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
		}
	}
	for _, line := range [][]string{{"verify"}, {"inspect"}, {"sbom"}} {
		if got := runAt(t.Context(), p.site, append(line, "CACHE_DIR=cache")...); got.code != 0 {
			t.Errorf("%v: exit code %d\n%s", line, got.code, got.stderr)
		}
	}
	if entries, err := os.ReadDir(below); err != nil || len(entries) != 1 {
		t.Errorf("in the container's directory: %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(p.site.Dir, "cache/layers")); err != nil {
		t.Error(err)
	}
}

// TestPlaces checks where artifacts and cache are, by directory and option.
func TestPlaces(t *testing.T) {
	s := site.New(t, nil)
	below, elsewhere := filepath.Join(s.Dir, "images/hook-hello"), t.TempDir()
	for _, test := range []struct {
		dir, config   string // the current directory, and where hookbuild.yaml is
		args          []string
		out, cacheDir string
	}{
		{s.Dir, "", nil, "out", "c"},
		{below, "", nil, s.Dir + "/out", s.Dir + "/c"},
		{below, "", []string{"--out", "o", "--cache-dir", "d"}, "o", "d"},
		{below, "", []string{"--hook-dir", s.Dir}, "out", "c"},
		{elsewhere, "", nil, "out", "c"},
		{below, filepath.Join(s.Dir, "images"), nil, "../out", s.Dir + "/c"},
	} {
		t.Chdir(test.dir)
		if test.config != "" {
			site.WriteFile(t, filepath.Join(test.config, "hookbuild.yaml"), "flavors: [hook-latest-lts-amd64]\n")
		}
		ask(t, true, []string{"CACHE_DIR=c"}, append([]string{"verify"}, test.args...), func(a *app, c *cli.Context) error {
			dir, err := a.cacheDir(c)
			want(t, []string{c.String("out"), dir}, test.out, test.cacheDir)
			return err
		})
		place := filepath.Dir(test.out)
		if slices.Contains(test.args, "--out") {
			place = s.Dir
		}
		for _, command := range [][]string{{"lock"}, {"all", "--locked"}, {"matrix", "--skip-published", "--hookos", "r.example/hookos"}} {
			ask(t, true, nil, append(command, test.args...), func(_ *app, c *cli.Context) error {
				want(t, []string{c.String("lock-file")}, filepath.Join(place, "hookbuild.lock"))
				return nil
			})
		}
	}
}

// TestWithoutACheckout checks that upstream's flavors are said to be all, on standard
// error, and that a flavor with another's kernel shows that.
func TestWithoutACheckout(t *testing.T) {
	s := site.New(t, nil)
	t.Chdir(t.TempDir())
	for _, command := range []string{"gha-matrix", "flavors"} {
		got := runAt(t.Context(), s, command, "--progress", "plain")
		if said := "no Hook checkout here or above"; got.code != 0 || !strings.Contains(got.stderr, said) || strings.Contains(got.stdout, said) {
			t.Errorf("%s: exit code %d\n%s", command, got.code, got.stderr)
		}
		if got = runAt(t.Context(), s, command, "--progress", "plain", "--hook-dir", s.Dir); got.code != 0 || strings.Contains(got.stderr, "checkout") {
			t.Errorf("%s in a checkout: exit code %d\n%s", command, got.code, got.stderr)
		}
	}
	for line := range strings.Lines(runAt(t.Context(), s, "flavors").stdout) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "peg-default-amd64" {
			want(t, fields, "peg-default-amd64", "amd64", "5.10", "peg", "dev")
			return
		}
	}
	t.Error("peg-default-amd64 is not listed")
}
