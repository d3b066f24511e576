// Package face shows progress to the user: on a terminal in a region that is redrawn
// in place, or as plain lines, as lines for GitHub Actions, or as JSON. It shows the
// events of package progress and is independent of the packages that report them.
// The text of events must be harmless already (see package words).
package face

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"hookbuild/internal/progress"
)

// Face shows what is reported to it. It is safe for concurrent use.
type Face interface {
	progress.Sink
	// Settle ends redrawing in place. Later reports are lines. A command calls it
	// before it writes to standard output.
	Settle() error
	// Stop shows that the command was interrupted, and settles. Work under way is
	// not shown as done.
	Stop(text string) error
	// Fail shows the error that ended the command, and the exit code if the format
	// has it.
	Fail(text string, code int)
	// Close settles, and returns the first write error.
	Close() error
}

// Options are the options of all faces.
type Options struct {
	Writer io.Writer
	// Debug also shows when tasks start, and the output of programs.
	Debug  bool
	Getenv func(string) string
	// Now is the clock. Nil means [time.Now].
	Now func() time.Time
}

// errUnknown is the error for an unknown kind of face.
var errUnknown = errors.New("is not one of auto, tty, plain, github, json")

// New returns the face of a kind: tty, plain, github or json. The kind "auto" means
// github if GITHUB_ACTIONS is true, or else tty on a terminal, or else plain.
func New(kind string, o Options) (Face, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	switch kind {
	case "auto":
		return New(choose(o), o)
	case "tty":
		return newTerminal(o), nil
	case "plain":
		return newPlain(o), nil
	case "github":
		return newGitHub(o), nil
	case "json":
		return newJSON(o), nil
	}
	return nil, errUnknown
}

// Columns returns the width of the terminal w, or 0 if w is not a terminal.
func Columns(w io.Writer) int {
	width, _ := terminalSize(w)
	return width
}

// terminalSize returns the columns and lines of the terminal w, or 0 if w is not a
// terminal.
func terminalSize(w io.Writer) (width, height int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 0, 0
	}
	return width, height
}

func choose(o Options) string {
	if o.Getenv("GITHUB_ACTIONS") == "true" {
		return "github"
	}
	f, ok := o.Writer.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) && o.Getenv("TERM") != "dumb" {
		return "tty"
	}
	return "plain"
}
