//go:build e2e

// The menu needs the builder image and a kernel's source, which take minutes to
// prepare, so these tests are for go test -tags e2e.

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/ptytest"
)

// shown collects what a terminal or a stream shows.
type shown struct {
	lock sync.Mutex
	text strings.Builder
}

// Write implements [io.Writer].
func (s *shown) Write(p []byte) (int, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.text.Write(p)
}

func (s *shown) String() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.text.String()
}

// await waits until the text is shown, and returns all that was shown until then.
func (s *shown) await(t *testing.T, want string) string {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if text := s.String(); strings.Contains(text, want) {
			return text
		}
		if time.Since(begun) > 5*time.Minute {
			t.Fatalf("%q is not shown:\n%q", want, s.String())
		}
	}
}

// tinyFlavor returns a Hook checkout with the flavor tiny, whose configuration has a
// line that Linux 6.1 does not know, and the options for its source and builder.
func tinyFlavor(t *testing.T) (from []string) {
	t.Helper()
	from = []string{"--source", kerneltest.LinuxSource(t, "6.1"), "--builder-base", kerneltest.Base(t), "--builder-network", "host"}
	config := readFile(t, "../../kernel/container/testdata/tiny-x86_64.config")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../testdata/hook")); err != nil {
		t.Fatal(err)
	}
	site.WriteFile(t, filepath.Join(dir, "kernel/configs/tiny-6.1.y-x86_64"), config+"CONFIG_RENAMED_SINCE=y\n")
	site.WriteFile(t, filepath.Join(dir, "kernel/fragments/tiny.config"), "CONFIG_LOCALVERSION=\"-tiny\"\n")
	site.WriteFile(t, filepath.Join(dir, "kernel/flavors.yaml"), "flavors:\n  - id: tiny\n    arch: x86_64\n    series: 6.1\n    config: tiny\n    fragments: [kernel/fragments/tiny.config]\n")
	return append(from, "--hook-dir", dir, "--cache-dir", t.TempDir())
}

// TestKernelMenuOnATerminal opens the menu. What is done before it appears is shown,
// the notes too, and nothing is drawn over it.
func TestKernelMenuOnATerminal(t *testing.T) {
	from := tinyFlavor(t)
	user, terminal := ptytest.Open(t)
	screen := &shown{}
	go func() { _, _ = io.Copy(screen, user) }() // ends with the terminal
	done := make(chan int, 1)
	go func() {
		done <- run(t.Context(), append([]string{"kernel-config", "tiny", "--accept-lost", "--progress", "tty"}, from...), environment{
			getenv: func(name string) string { return map[string]string{"TERM": "xterm"}[name] }, stdin: terminal, stdout: terminal, stderr: terminal,
		})
	}()
	const menu = "Kernel Configuration"
	before, _, _ := strings.Cut(screen.await(t, menu), menu)
	for _, want := range []string{"editing only", "kernel/fragments/tiny.config", "tiny"} {
		if !strings.Contains(before, want) {
			t.Errorf("before the menu, %q is not shown:\n%q", want, before)
		}
	}
	if _, err := io.WriteString(user, "\x1b\x1b"); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("exit code %d:\n%q", code, screen.String())
		}
		_, after, _ := strings.Cut(screen.await(t, "CONFIG_RENAMED_SINCE=y"), menu)
		if !strings.Contains(after, "lost: CONFIG_RENAMED_SINCE=y") {
			t.Errorf("after the menu:\n%q", after)
		}
	case <-time.After(5 * time.Minute):
		t.Fatalf("the menu does not end:\n%q", screen.String())
	}
}

// TestKernelWarnsOfLostLines names the line of the configuration that the source does
// not know, before it compiles, which this test does not wait for.
func TestKernelWarnsOfLostLines(t *testing.T) {
	from := tinyFlavor(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stderr := &shown{}
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"kernel", "tiny", "--set", "CONFIG_SQUASHFS_LZ4=y", "--no-load", "--export", filepath.Join(t.TempDir(), "kernel.tar"), "--progress", "plain"}, from...), environment{
			getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: io.Discard, stderr: stderr,
		})
	}()
	said := stderr.await(t, "CONFIG_RENAMED_SINCE=y")
	cancel()
	if code := <-done; code != exitInterrupted {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	line := said[strings.LastIndex(said[:strings.Index(said, "CONFIG_RENAMED_SINCE=y")], "\n")+1:]
	if !strings.Contains(line, "warning: kernel/configs/tiny-6.1.y-x86_64: ") {
		t.Errorf("the line is not a warning about the file: %s", line)
	}
}
