package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/test/lab/site"
)

// TestEmbedAgain checks that repeating an embedding does not unpack the initramfs,
// prints the same notes and writes the same bytes, and that one with another input is
// not repeated from the cache.
func TestEmbedAgain(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	const unpacking = "read the initramfs"
	embed := func(more ...string) (said, made string) {
		args := append([]string{"embed", "--initramfs", in, "-o", out, "--image", s.Host + "/actions/cexec:v1=127.0.0.1/embedded/cexec"}, more...)
		return e.run(0, args...).stderr, readFile(t, out)
	}
	baseInitramfs(t, in, initramfs.Zstd)
	first, made := embed()
	if !strings.Contains(first, unpacking) || !strings.Contains(first, "there is no vmlinuz next to the initramfs") {
		t.Errorf("at first it says %s", first)
	}
	said, again := embed()
	if strings.Contains(said, unpacking) || again != made {
		t.Errorf("the same again: the bytes equal: %t; it says %s", again == made, said)
	}
	for line := range strings.Lines(first) {
		if (strings.Contains(line, "there is no vmlinuz next to the initramfs") || strings.Contains(line, "RAM")) && !strings.Contains(said, line) {
			t.Errorf("the second time it does not say %s", line)
		}
	}
	if said, _ := embed("--layout", "directory"); !strings.Contains(said, unpacking) {
		t.Errorf("with another layout it says %s", said)
	}
	if err := os.RemoveAll(filepath.Join(e.cache, "segments")); err != nil {
		t.Fatal(err)
	}
	if said, again := embed(); !strings.Contains(said, unpacking) || again != made {
		t.Errorf("without the store: the bytes equal: %t; it says %s", again == made, said)
	}
	baseInitramfs(t, in, initramfs.Gzip)
	if said, other := embed(); !strings.Contains(said, unpacking) || !strings.HasPrefix(other, readFile(t, in)) {
		t.Errorf("with another initramfs it says %s", said)
	}
}

// TestEmbedOntoWhatIsThere checks that an output with the right bytes is not touched,
// and that any other is replaced.
func TestEmbedOntoWhatIsThere(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	baseInitramfs(t, in, initramfs.Zstd)
	embed := func() {
		e.run(0, "embed", "--initramfs", in, "-o", out, "--image", s.Host+"/actions/cexec:v1=127.0.0.1/embedded/cexec")
	}
	embed()
	made := readFile(t, out)
	before := stat(t, out)
	embed()
	if after := stat(t, out); !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Error("the unchanged file was written again")
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	changed := []byte(made)
	changed[len(changed)/2]++
	for _, test := range []struct {
		what string
		put  func() error
	}{
		{"absent", func() error { return nil }},
		{"empty", func() error { return os.WriteFile(out, nil, 0o644) }},
		{"shorter", func() error { return os.WriteFile(out, []byte(made[:len(made)-1]), 0o644) }},
		{"longer", func() error { return os.WriteFile(out, []byte(made+"\x00"), 0o644) }},
		{"changed", func() error { return os.WriteFile(out, changed, 0o644) }},
		{"not readable by all", func() error { return os.WriteFile(out, []byte(made), 0o600) }},
		{"a link", func() error { return os.Symlink(elsewhere, out) }},
	} {
		if err := errors.Join(os.Remove(out), test.put()); err != nil {
			t.Fatal(err)
		}
		embed()
		if info, err := os.Stat(out); err != nil || info.Mode() != 0o644 || readFile(t, out) != made {
			t.Errorf("%s: it is not what was made at first", test.what)
		}
		if to, err := os.Readlink(out); test.what == "a link" && (err != nil || to != elsewhere) {
			t.Errorf("the link became %q, %v", to, err)
		}
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
