package container

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"hookbuild/test/ptytest"
)

// waiting counts the keys that the next program would read. Those of an
// unfinished line count only in raw mode.
func waiting(t *testing.T, terminal *os.File) int {
	t.Helper()
	old, err := term.MakeRaw(int(terminal.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	if err := term.Restore(int(terminal.Fd()), old); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDiscard types a command and half of another while no program reads.
func TestDiscard(t *testing.T) {
	user, tty := ptytest.Open(t)
	terminal, err := NewTerminal(tty, tty, "")
	if err != nil {
		t.Fatal(err)
	}
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(user, "rm -rf x\nqqq"); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); waiting(t, tty) == 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("the terminal does not get what is typed")
		}
	}
	if err := terminal.Discard(); err != nil {
		t.Fatal(err)
	}
	if n := waiting(t, tty); n != 0 {
		t.Errorf("%d keys are left to the next program", n)
	}
	after, err := term.GetState(int(tty.Fd()))
	if err != nil || fmt.Sprint(*after) != fmt.Sprint(*before) {
		t.Errorf("the terminal's settings changed, %v", err)
	}
}
