package main

import (
	"fmt"
	"io"
	"sync"

	"hookbuild/internal/progress"
)

// plainFace writes one line when a task ends, and every note and warning.
type plainFace struct {
	mu    sync.Mutex
	w     io.Writer
	debug bool // also when a task starts, and what programs print
}

// Report implements [progress.Sink].
func (p *plainFace) Report(e progress.Event) {
	if line := p.line(e); line != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintln(p.w, line)
	}
}

// Close implements face.
func (p *plainFace) Close() error { return nil }

func (p *plainFace) line(e progress.Event) string {
	switch e.Kind {
	case progress.Started:
		if p.debug {
			return "... " + e.Task
		}
	case progress.Output:
		if p.debug {
			return "    " + e.Text
		}
	case progress.Finished:
		return "ok  " + finishedText(e)
	case progress.Failed:
		return "err " + e.Task
	case progress.Note:
		return "    " + e.Text
	case progress.Warning:
		return "warning: " + e.Text
	}
	return ""
}

// finishedText is a finished task with what came of it.
func finishedText(e progress.Event) string {
	switch {
	case e.Text != "":
		return e.Task + ": " + e.Text
	case e.Done > 0:
		return e.Task + ": " + bytesText(e.Done)
	}
	return e.Task
}
