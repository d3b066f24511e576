// Package face shows a user what hookbuild does: on a terminal in one region
// that is redrawn in place, otherwise as lines, as GitHub Actions reads them, or
// as JSON. It shows the events of package progress, makes no decision and knows
// none of the rooms that report them. What it is given to show must be harmless
// already (see package words).
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
	// Settle ends what is redrawn in place; later reports are lines. A command
	// calls it before it writes to standard output.
	Settle() error
	// Fail shows the error that ended the command, with the exit code.
	Fail(text string, code int)
	// Close settles, and returns the first error in writing.
	Close() error
}

// Options are what the faces have in common.
type Options struct {
	Writer io.Writer
	// Debug also shows when tasks start and what programs print.
	Debug  bool
	Getenv func(string) string
	// Now is the clock; nil is [time.Now].
	Now func() time.Time
}

// ErrUnknown is the error for a kind that no face has.
var ErrUnknown = errors.New("is not one of auto, tty, plain, github, json")

// New returns the face of a kind: tty, plain, github or json. "auto" is github
// where GITHUB_ACTIONS is true, tty on a terminal, else plain.
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
	return nil, ErrUnknown
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
