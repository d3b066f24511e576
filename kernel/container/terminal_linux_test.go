package container

import (
	"fmt"
	"hookbuild/test/testneed"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openTerminal returns a terminal and the side on which its user types.
func openTerminal(t *testing.T) (user, terminal *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		testneed.Missing(t, "pseudo-terminals", err.Error())
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return user, terminal
}

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
	user, tty := openTerminal(t)
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
		if time.Since(begun) > 5*time.Second {
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
