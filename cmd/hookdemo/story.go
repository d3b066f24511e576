package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// story prints what the demonstration does, and how long it takes.
type story struct {
	w     io.Writer
	start time.Time
	now   func() time.Time
}

func newStory(w io.Writer) *story {
	return &story{w: w, start: time.Now(), now: time.Now}
}

// step runs one step and prints its result and how long it took.
func (s *story) step(title string, do func() (result string, err error)) error {
	fmt.Fprintf(s.w, "\n== %s\n", title)
	began := s.now()
	result, err := do()
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	if result != "" {
		result += ", "
	}
	fmt.Fprintf(s.w, "   %s%.1f s\n", result, s.now().Sub(began).Seconds())
	return nil
}

// say prints a line below a step.
func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.w, "   "+format+"\n", args...)
}

// end says what was seen: which images ran, of the seven that dockerd listed.
func (s *story) end(ran string) {
	fmt.Fprintf(s.w, "\nAll seven images are embedded, and %s has exactly its files, %.0f s after the start.\n", ran, s.now().Sub(s.start).Seconds())
}

// prefixed returns a writer that puts prefix before each line.
func (s *story) prefixed(prefix string) *lineWriter {
	return &lineWriter{w: s.w, prefix: prefix}
}

// lineWriter writes whole lines. Close writes the last one.
type lineWriter struct {
	mu     sync.Mutex
	w      io.Writer
	prefix string
	rest   []byte
}

// mostLine is the length at which a line without an end is written.
const mostLine = 64 << 10

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found && len(l.rest) < mostLine {
			return len(p), nil
		}
		l.rest = rest
		if err := l.print(string(line)); err != nil {
			return 0, err
		}
	}
}

func (l *lineWriter) print(line string) error {
	line = strings.TrimRight(line, "\r")
	_, err := fmt.Fprintf(l.w, "%s%s\n", l.prefix, line)
	return err
}

// Close writes the last line if it has no end.
func (l *lineWriter) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) == 0 {
		return nil
	}
	line := string(l.rest)
	l.rest = nil
	return l.print(line)
}

// sizeOf returns a file's size for messages.
func sizeOf(name string) string {
	info, err := os.Stat(name)
	if err != nil {
		return "missing"
	}
	return fmt.Sprintf("%.1f MB", float64(info.Size())/1e6)
}
