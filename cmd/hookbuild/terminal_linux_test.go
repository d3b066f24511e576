package main

import (
	"strings"
	"testing"

	labsite "hookbuild/test/lab/site"
	"hookbuild/test/ptytest"
)

// An archive is not written to a terminal.
func TestNoBinaryOnATerminal(t *testing.T) {
	t.Chdir(t.TempDir())
	labsite.WriteFile(t, "initramfs-x86_64", "not read")
	for name, args := range map[string][]string{
		"extract-image": {"extract-image", "initramfs-x86_64", "127.0.0.1/embedded/cexec"},
		"embed":         {"embed", "--initramfs", "initramfs-x86_64", "-o", "-", "--image", "x=y"},
	} {
		_, terminal := ptytest.Open(t)
		var stderr strings.Builder
		code := run(t.Context(), append([]string{"--config", "none", "--cache-dir", t.TempDir(), "--progress", "plain"}, args...), environment{
			getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: terminal, stderr: &stderr,
		})
		if code != 2 || !strings.Contains(stderr.String(), "standard output is a terminal; name a file with -o FILE") {
			t.Errorf("%s: exit code %d:\n%s", name, code, stderr.String())
		}
	}
}
