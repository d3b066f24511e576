package face

import (
	"cmp"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"golang.org/x/sys/unix"
)

// The cursor's visibility, which bubbletea does not restore when the process is stopped.
const (
	showCursor = "\x1b[?25h"
	hideCursor = "\x1b[?25l"
)

// handleSuspending makes Ctrl-Z leave a terminal that the shell can use, and "fg" draw
// the region below what the shell wrote. Bubbletea does this only for programs that read
// the keyboard. It stays until the process ends, because package signal does not give
// the signal its own effect back.
func (t *terminal) handleSuspending() {
	// In the group of its session's leader, no shell could let the process go on, and
	// the system lets Ctrl-Z have no effect.
	if session, err := unix.Getsid(0); err != nil || session == unix.Getpgrp() || signal.Ignored(unix.SIGTSTP) {
		return
	}
	suspensions := make(chan os.Signal, 1)
	signal.Notify(suspensions, unix.SIGTSTP)
	go func() {
		for range suspensions {
			t.suspend()
		}
	}()
}

// suspend stops the process, and redraws when it goes on.
func (t *terminal) suspend() {
	t.order.Lock() // nothing is printed until the region has its new place
	defer t.order.Unlock()
	if t.settled {
		stopProcess()
		return
	}
	drawn := t.freeze(true)
	t.write(showCursor)
	stopProcess()
	t.write(hideCursor + strings.Repeat("\n", drawn))
	t.freeze(false)
	width, height := t.size()
	t.program.Send(tea.WindowSizeMsg{Width: width, Height: height}) // draws every line anew
}

// stopProcess returns when the process goes on.
func stopProcess() {
	if err := unix.Kill(os.Getpid(), unix.SIGSTOP); err == nil {
		time.Sleep(50 * time.Millisecond) // another thread may be the one that is told to stop
	}
}

// freeze makes the region keep its text, or no longer, and returns its lines.
func (t *terminal) freeze(on bool) (lines int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frozen = on
	return len(t.drawn)
}

// write writes to the terminal beside bubbletea.
func (t *terminal) write(text string) {
	if _, err := fmt.Fprint(t.writer, text); err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.clearErr = cmp.Or(t.clearErr, err)
	}
}
