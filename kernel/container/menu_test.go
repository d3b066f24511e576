//go:build e2e

// The menu needs the builder image and a kernel's source, which take minutes to
// prepare, so these tests are for go test -tags e2e.

package container

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// menuEnv tells the test binary to act as the program on the terminal; it names
// the file for the result.
const menuEnv = "HOOKBUILD_TEST_MENU"

// TestMenuProgram is not a test: [screen] runs it in tmux.
func TestMenuProgram(t *testing.T) {
	result := os.Getenv(menuEnv)
	if result == "" {
		return
	}
	text := ""
	defer func() {
		if err := os.WriteFile(result, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}()
	b, err := Open(t.Context(), Options{Base: kerneltest.BaseImage, Network: "host", LogDir: t.TempDir()})
	if err != nil {
		text = err.Error()
		return
	}
	defer b.Close()
	terminal, err := NewTerminal(os.Stdin, os.Stdout, os.Getenv("TERM"))
	if err != nil {
		text = err.Error()
		return
	}
	c, err := b.Menuconfig(t.Context(), tiny(t, "test-menu"), terminal)
	if err != nil {
		text = err.Error()
		return
	}
	text = fmt.Sprint(c.Changes())
}

// screen is a terminal with the menu on it.
type screen struct {
	t            *testing.T
	tmux, socket string
	result       string
	shown        bool
}

func openMenu(t *testing.T) *screen {
	t.Helper()
	s := &screen{t: t, tmux: testneed.Tool(t, "tmux"), result: filepath.Join(t.TempDir(), "result")}
	s.socket = filepath.Join(t.TempDir(), "tmux")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.run("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "35",
		fmt.Sprintf("%s=%s %s -test.run '^TestMenuProgram$'; stty -a; sleep 600", menuEnv, s.result, self))
	t.Cleanup(func() {
		if err := exec.Command(s.tmux, "-S", s.socket, "kill-server").Run(); err != nil {
			t.Log(err)
		}
	})
	s.await("Kernel Configuration")
	return s
}

func (s *screen) run(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(s.tmux, append([]string{"-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (s *screen) keys(keys ...string) {
	s.t.Helper()
	for _, key := range keys {
		before := s.text()
		s.run("send-keys", key)
		s.until("the screen changes after "+key, time.Minute, func() bool { return s.text() != before })
	}
}

func (s *screen) text() string { return s.run("capture-pane", "-p") }

// await waits until the screen shows a text. The first time, the engine may
// have to unpack the source first.
func (s *screen) await(want string) {
	s.t.Helper()
	limit := time.Minute
	if !s.shown {
		limit = 10 * time.Minute
	}
	s.until("the screen shows "+want, limit, func() bool { return strings.Contains(s.text(), want) })
	s.shown = true
}

// until waits for what holds describes.
func (s *screen) until(what string, limit time.Duration, holds func() bool) {
	s.t.Helper()
	for begun := time.Now(); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > limit {
			s.t.Fatalf("waited %v until %s:\n%s", limit, what, s.text())
		}
	}
}

// ends returns what the program wrote, after checking that the terminal is
// restored: a line discipline with echo.
func (s *screen) ends() string {
	s.t.Helper()
	s.await("icanon")
	if text := s.text(); strings.Contains(text, "-icanon") || strings.Contains(text, "-echo ") {
		s.t.Errorf("the terminal was not restored:\n%s", text)
	}
	result, err := os.ReadFile(s.result)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.text())
	}
	return string(result)
}

// TestMenuconfig searches for an option, switches it on and saves.
func TestMenuconfig(t *testing.T) {
	testneed.Docker(t)
	kerneltest.Base(t)
	s := openMenu(t)
	s.run("resize-window", "-x", "120", "-y", "45")
	s.keys("/")
	s.await("Enter (sub)string or regexp")
	s.keys("^SQUASHFS_LZ4$", "Enter")
	s.await("Symbol: SQUASHFS_LZ4")
	s.keys("1")
	s.await("[ ]   Include support for LZ4")
	s.keys("y")
	s.await("[*]   Include support for LZ4")
	for !strings.Contains(s.text(), "Do you wish to save") {
		before := s.text()
		s.run("send-keys", "Escape", "Escape") // leaves a menu
		s.until("the menu is left and drawn", time.Minute, func() bool {
			now := s.text()
			return now != before && now == s.text()
		})
	}
	if !strings.Contains(s.text(), strings.Repeat("\u2500", 105)) && !strings.Contains(s.text(), strings.Repeat("q", 105)) {
		t.Errorf("the menu did not grow with the window:\n%s", s.text())
	}
	s.keys("Enter")
	if got := s.ends(); !strings.Contains(got, "CONFIG_SQUASHFS_LZ4: not set -> y") {
		t.Errorf("the changes are %q", got)
	}
}

// TestMenuconfigInterrupted changes an option, presses Ctrl-C and declines to
// save.
func TestMenuconfigInterrupted(t *testing.T) {
	testneed.Docker(t)
	kerneltest.Base(t)
	s := openMenu(t)
	s.keys("/")
	s.await("Enter (sub)string or regexp")
	s.keys("^SQUASHFS_LZ4$", "Enter")
	s.await("Symbol: SQUASHFS_LZ4")
	s.keys("1")
	s.await("[ ]   Include support for LZ4")
	s.keys("y")
	s.await("[*]   Include support for LZ4")
	s.keys("C-c")
	s.await("Do you wish to save")
	s.keys("n")
	if got := s.ends(); strings.Contains(got, "SQUASHFS") {
		t.Errorf("not saved, and yet the changes are %q", got)
	}
}
