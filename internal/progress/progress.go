// Package progress carries what the packages report while they work: tasks that
// start, advance and end, notes and warnings. It formats nothing and imports
// nothing of this module; the faces (terminal, plain, GitHub, JSON) live in
// cmd and implement [Sink].
package progress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
)

// Kind is the kind of an [Event].
type Kind int

// The kinds of events. A task sends Started, then any number of Advanced, then
// one of Finished, Failed and Cancelled.
const (
	Started Kind = iota
	Advanced
	Finished
	Failed
	Cancelled // it ended because its context did, which is reported elsewhere
	Note
	Warning
	Output // one line that a program run for the task printed
)

// Event is one report.
type Event struct {
	Kind Kind
	// ID identifies a task within the process; 0 for Note and Warning.
	ID uint64
	// Task is what is being done, to what: "pull ghcr.io/x/y:z".
	Task string
	// Stage names the work that the task is one of many parts of: "pull images".
	// Name is the task in a few words for where the stage is shown, such as
	// "cexec v1 2/2". Both are empty for a task by itself.
	Stage, Name string
	// Done and Total count bytes; Total is 0 when it is not known.
	Done, Total int64
	// Text is the message of a Note, Warning or Output, or a finished task's
	// result ("cached", "12.3 MB").
	Text string
	// Err is why a Failed task failed.
	Err error
}

// Sink receives events. Implementations are safe for concurrent use and do not
// block for long.
type Sink interface {
	Report(Event)
}

// Discard is a [Sink] that drops everything.
type Discard struct{}

// Report implements [Sink].
func (Discard) Report(Event) {}

// Or returns s, or [Discard] when s is nil.
func Or(s Sink) Sink {
	if s == nil {
		return Discard{}
	}
	return s
}

// Notef reports a message that a user may want to read.
func Notef(s Sink, format string, args ...any) {
	Or(s).Report(Event{Kind: Note, Text: fmt.Sprintf(format, args...)})
}

// Warnf reports something that a user should look at, although the work goes on.
func Warnf(s Sink, format string, args ...any) {
	Or(s).Report(Event{Kind: Warning, Text: fmt.Sprintf(format, args...)})
}

var lastID atomic.Uint64

// Task is one piece of work under way. It is safe for concurrent use.
type Task struct {
	sink        Sink
	id          uint64
	name        string
	stage, part string
	done, total atomic.Int64
}

// Start reports that a task begins. Total is its size in bytes, 0 when unknown.
func Start(s Sink, total int64, format string, args ...any) *Task {
	return start(&Task{sink: Or(s), name: fmt.Sprintf(format, args...)}, total)
}

// StartPart is [Start] for a task that is one of many parts of stage. Name is
// the part in a few words.
func StartPart(s Sink, stage, name string, total int64, format string, args ...any) *Task {
	return start(&Task{sink: Or(s), stage: stage, part: name, name: fmt.Sprintf(format, args...)}, total)
}

func start(t *Task, total int64) *Task {
	t.id = lastID.Add(1)
	t.total.Store(total)
	t.report(Started, "", nil)
	return t
}

// Expect sets the task's size in bytes, once it is known.
func (t *Task) Expect(total int64) { t.total.Store(total) }

// Add reports n more bytes done.
func (t *Task) Add(n int64) {
	t.done.Add(n)
	t.report(Advanced, "", nil)
}

// Write counts the bytes of p as the task's progress, and keeps none.
func (t *Task) Write(p []byte) (int, error) {
	t.Add(int64(len(p)))
	return len(p), nil
}

// Output reports one line printed by a program that runs for the task.
func (t *Task) Output(line string) { t.report(Output, line, nil) }

// Reader counts what is read from r as the task's progress.
func (t *Task) Reader(r io.Reader) io.Reader { return &countingReader{r, t} }

// End reports the task as finished, as failed when err is not nil, or as
// cancelled when err is only that. It returns err. Result may describe the
// outcome.
func (t *Task) End(err error, result string) error {
	switch {
	case err == nil:
		t.report(Finished, result, nil)
	case isCancellation(err):
		t.report(Cancelled, "", nil)
	default:
		t.report(Failed, "", err)
	}
	return err
}

// isCancellation reports whether err says nothing but that a context was
// cancelled: of joined errors, all do.
func isCancellation(err error) bool {
	switch e := err.(type) { //nolint:errorlint // walks the tree itself
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !isCancellation(err) })
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return isCancellation(inner)
		}
	}
	return errors.Is(err, context.Canceled)
}

func (t *Task) report(k Kind, text string, err error) {
	t.sink.Report(Event{Kind: k, ID: t.id, Task: t.name, Stage: t.stage, Name: t.part, Done: t.done.Load(), Total: t.total.Load(), Text: text, Err: err})
}

type countingReader struct {
	r io.Reader
	t *Task
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.t.Add(int64(n))
	}
	return n, err
}
