package face

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// plain writes one line when a task ends, and every note and warning.
type plain struct {
	mu    sync.Mutex
	w     io.Writer
	debug bool
	err   error // the first write error
}

func newPlain(o Options) *plain { return &plain{w: o.Writer, debug: o.Debug} }

// Report implements [progress.Sink].
func (p *plain) Report(e progress.Event) { p.print(line(e, p.debug)) }

// Settle implements [Face].
func (p *plain) Settle() error { return nil }

// Fail implements [Face].
func (p *plain) Fail(text string, _ int) { p.print("hookbuild: " + text) }

// Close implements [Face].
func (p *plain) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *plain) print(line string) {
	if line == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.w, line); err != nil && p.err == nil {
		p.err = err
	}
}

// line returns the line for an event, or "" if it has none. A failed task has none
// without debug, because the error that ends the command says what failed.
func line(e progress.Event, debug bool) string {
	switch e.Kind {
	case progress.Started:
		if debug {
			return "... " + e.Task
		}
	case progress.Output:
		if debug {
			return "    " + e.Text
		}
	case progress.Failed:
		if debug {
			return "err " + e.Task + ": " + strings.ReplaceAll(e.Err.Error(), "\n", "\n    ")
		}
	case progress.Cancelled:
		if debug {
			return "--- " + e.Task + ": cancelled"
		}
	case progress.Finished:
		return "ok  " + e.Task + result(e, ": ")
	case progress.Note:
		return "    " + e.Text
	case progress.Warning:
		return "warning: " + e.Text
	}
	return ""
}

// result returns the separator and the result of a finished task, or "".
func result(e progress.Event, separator string) string {
	switch {
	case e.Text != "":
		return separator + e.Text
	case e.Done > 0:
		return separator + words.Bytes(e.Done)
	}
	return ""
}
