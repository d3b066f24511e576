package main

import (
	"bufio"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

// A table fits the terminal that standard output is.
func TestTableOnATerminal(t *testing.T) {
	user, terminal := ptytest.Open(t)
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 40, Row: 24}); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(user); s.Scan(); {
			lines <- strings.TrimRight(s.Text(), "\r")
		}
	}()
	code := run(t.Context(), []string{"--config", "none", "--progress", "plain", "--hook-dir", "../../testdata/hook", "flavors"}, environment{
		getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: terminal, stderr: terminal,
	})
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var shown []string
	for len(shown) < 4 {
		line := <-lines
		if len(line) > 40 {
			t.Errorf("a line of %d columns on a terminal of 40: %q", len(line), line)
		}
		shown = append(shown, line)
	}
	if !strings.Contains(strings.Join(shown, "\n"), "\n    arch amd64  kernel ") {
		t.Errorf("the terminal shows %q", shown)
	}
}
