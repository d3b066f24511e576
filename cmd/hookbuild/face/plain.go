package face

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// plain writes one line when a task ends, and every note and warning. Of a task that
// takes long it also writes how far it is.
type plain struct {
	mu    sync.Mutex
	w     io.Writer
	debug bool
	pace  *pace
	err   error // the first write error
}

// plainEvery is how often the progress of a task is written.
const plainEvery = 10 * time.Second

func newPlain(o Options) *plain {
	return &plain{w: o.Writer, debug: o.Debug, pace: newPace(plainEvery, o.Now)}
}

// Report implements [progress.Sink].
func (p *plain) Report(e progress.Event) { p.print(p.line(e)) }

// line returns the line for an event, or "" if it has none.
func (p *plain) line(e progress.Event) string {
	elapsed, due := p.pace.due(e)
	if e.Kind != progress.Advanced {
		return line(e, p.debug)
	}
	if !due {
		return ""
	}
	return "    " + e.Task + ": " + far(e, elapsed)
}

// Settle implements [Face].
func (p *plain) Settle() error { return nil }

// Stop implements [Face].
func (p *plain) Stop(text string) error {
	p.Report(progress.Event{Kind: progress.Note, Text: text})
	return nil
}

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
