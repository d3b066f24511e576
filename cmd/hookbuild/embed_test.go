package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/lab/site"
)

// baseInitramfs writes an initramfs of one file, compressed as asked.
func baseInitramfs(t *testing.T, path string, c initramfs.Compression) {
	t.Helper()
	var tree initramfs.Tree
	if err := tree.Add(initramfs.BytesFile("init", []byte("#!/bin/sh\n"), initramfs.Epoch())); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := initramfs.WriteSegment(t.Context(), f, &tree, initramfs.SegmentOptions{Compression: c}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// embedding runs the commands around an existing initramfs.
type embedding struct {
	t     *testing.T
	site  *site.Site
	cache string
}

func (e embedding) run(want int, args ...string) outcome {
	e.t.Helper()
	got := runAt(e.t.Context(), e.site, append(args, "--cache-dir", e.cache, "--progress", "plain")...)
	if got.code != want {
		e.t.Fatalf("%v: exit code %d\n%s", args, got.code, got.stderr)
	}
	return got
}

func (e embedding) list(file string) []string {
	e.t.Helper()
	var names []string
	for line := range strings.Lines(e.run(0, "embed", "--list", file).stdout) {
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

func TestEmbedIntoAnExistingInitramfs(t *testing.T) {
	for _, c := range []initramfs.Compression{initramfs.Gzip, initramfs.Zstd, initramfs.None} {
		t.Run(string(c), func(t *testing.T) {
			s := site.New(t, nil)
			pushAction(t, s)
			e := embedding{t, s, t.TempDir()}
			dir := t.TempDir()
			in, first, second, third := filepath.Join(dir, "in"), filepath.Join(dir, "first"), filepath.Join(dir, "second"), filepath.Join(dir, "third")
			baseInitramfs(t, in, c)
			image := s.Host + "/actions/cexec:v1"

			e.run(0, "embed", "--initramfs", in, "-o", first, "--image", image+"=127.0.0.1/embedded/cexec")
			before, after := readFile(t, in), readFile(t, first)
			if !strings.HasPrefix(after, before) {
				t.Error("the input's bytes were changed")
			}
			want(t, e.list(first), "127.0.0.1/embedded/cexec:latest")

			e.run(0, "embed", "--initramfs", first, "-o", second, "--image", image+"=127.0.0.1/embedded/other")
			want(t, e.list(second), "127.0.0.1/embedded/other:latest")
			if !strings.HasPrefix(readFile(t, second), before) {
				t.Error("replacing the store changed the rest")
			}

			e.run(0, "embed", "--initramfs", first, "-o", third, "--keep-embedded", "--image", image+"=127.0.0.1/embedded/other")
			want(t, e.list(third), "127.0.0.1/embedded/cexec:latest", "127.0.0.1/embedded/other:latest")

			archive := filepath.Join(dir, "cexec.tar")
			e.run(0, "extract-image", third, "127.0.0.1/embedded/cexec", "-o", archive)
			e.run(0, "embed", "--initramfs", in, "-o", second, "--image", "docker-archive:"+archive+"=127.0.0.1/embedded/again")
			want(t, e.list(second), "127.0.0.1/embedded/again:latest")
		})
	}
}

func want(t *testing.T, got []string, names ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("got %q, want %q", got, names)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestEmbedRefuses(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	baseInitramfs(t, in, initramfs.Zstd)
	site.WriteFile(t, filepath.Join(dir, "text"), "no initramfs")
	image := s.Host + "/actions/cexec:v1"
	for _, test := range []struct {
		code int
		say  string
		args []string
	}{
		{2, "-o OUT", []string{"embed", "--initramfs", in, "--image", image}},
		{2, "--images-file", []string{"embed", "--initramfs", in, "-o", out}},
		{2, "--from-bundle", []string{"embed", "--initramfs", in, "-o", out, "--bundle", "b.yaml"}},
		{3, "text", []string{"embed", "--initramfs", filepath.Join(dir, "text"), "-o", out, "--image", image}},
		{3, "none", []string{"embed", "--initramfs", filepath.Join(dir, "none"), "-o", out, "--image", image}},
		{3, "it has none", []string{"embed", "--initramfs", in, "-o", out, "--image", image, "--keep-embedded"}},
		{3, "kexec", []string{"embed", "--initramfs", in, "-o", out, "--image", image + "=127.0.0.1/kexec", "--image", s.Host + "/hook/hook-hello:x=127.0.0.1/kexec"}},
		{3, "no embedded images", []string{"extract-image", in, "cexec", "-o", out}},
		{2, "extract-image IN NAME", []string{"extract-image", in}},
	} {
		got := e.run(test.code, test.args...)
		if !strings.Contains(got.stderr, test.say) {
			t.Errorf("%v: %s", test.args, got.stderr)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v: an output is there", test.args)
		}
	}
}
