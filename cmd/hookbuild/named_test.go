package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/test/lab/site"
)

// TestNamedFilesAreReadAtOnce names a file that does not exist in each option of each
// command that reads one.
func TestNamedFilesAreReadAtOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	// What is not read, or only where it is there.
	others := []string{
		"check", // of a server or a file, which comes first
		"output", "console", "junit", "html", "disk", "lock-file", "config", "kit", "ca-file", "diff", "bios-file", "x86-file", "arm64-file",
	}
	asked := map[string]bool{}
	for path, c := range leaves(t) {
		for _, f := range c.Flags {
			name, takes := f.Names()[0], placeholderOf(f)
			reads := slices.Contains(readOptions(), name)
			if !strings.Contains(takes, "FILE") && (takes != "KEY" || !reads) || slices.Contains(others, name) {
				continue
			}
			if !reads {
				t.Errorf("%s --%s: whether it reads its file is not known", path, name)
				continue
			}
			asked[name] = true
			var stderr strings.Builder
			args := slices.Concat(strings.Fields(path), []string{"--" + name, "./nosuch", "--cache-dir", "cache", "--progress", "plain"})
			code := run(t.Context(), args, environment{getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr})
			if want := "reading what --" + name + " names: stat ./nosuch: no such file or directory; correct the path"; code != 3 || !strings.Contains(stderr.String(), want) {
				t.Errorf("%q: exit code %d, %s", args, code, stderr.String())
			}
		}
	}
	for _, name := range readOptions() {
		if !asked[name] {
			t.Errorf("no command has the option --%s for a file", name)
		}
	}
}

// A file of hookbuild.yaml is named with its key and line.
func TestNamedFilesOfHookbuildYAML(t *testing.T) {
	p := newPlace(t)
	t.Chdir(t.TempDir())
	site.WriteFile(t, "hookbuild.yaml", "hook:\n  dir: .\nembed:\n  cluster: nosuch.yaml\n")
	says(t, p.run(3, "all").stderr, "hookbuild.yaml:4: reading what embed.cluster names: stat nosuch.yaml")
}

// What cannot be read is known without opening a pipe, which can be read only once.
func TestReadable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	site.WriteFile(t, file, "")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	for _, c := range []struct {
		path  string
		orDir bool
		want  string
	}{
		{file, false, ""}, {dir, true, ""}, {dir, false, "is a directory"}, {file + "/x", false, "not a directory"}, {fmt.Sprint("/dev/fd/", read.Fd()), false, ""},
	} {
		if err := readable(c.path, c.orDir); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
	}
	if !namesFile("iso-loader", file) || !namesFile("iso-loader", "grubx64.EFI") || namesFile("iso-loader", "debian:12") || namesFile("iso-loader", "r.example/grub.image:1") {
		t.Error("a boot loader's file is taken for an image, or an image for a file")
	}
}
