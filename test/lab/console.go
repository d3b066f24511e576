package lab

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// consoleLimit bounds how much of a console is kept, in bytes.
const consoleLimit = 4 << 20

// limitedText keeps the last consoleLimit bytes written to it.
type limitedText struct {
	mu   sync.Mutex
	text []byte
}

func (t *limitedText) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - consoleLimit; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *limitedText) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// Event is something that the machine told of: "init.d", "onboot", "service",
// "bootkit-started", "dockerd-ready", "finished".
type Event struct {
	Name string
	At   time.Duration // since the kernel started
	// Values are the event's NAME=VALUE words: name and result of a script or
	// container; MemTotal, MemAvailable and Shmem in KiB.
	Values map[string]string
}

// KiB returns a value, a number of KiB, in bytes; 0 when it is not a number.
func (e Event) KiB(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(e.Values[name], "KiB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// Section is what a command in the machine printed.
type Section struct {
	Output string
	Exit   int // -1 when its end was never seen
}

// Report is what a console says in the lab's own lines.
type Report struct {
	Events []Event
	// Sections by name: "driver", "images", "run", "check".
	Sections map[string]Section
}

// Event returns the first event of that name, of that script or container when
// one is named.
func (r Report) Event(name, of string) (Event, bool) {
	for _, e := range r.Events {
		if e.Name == name && (of == "" || e.Values["name"] == of) {
			return e, true
		}
	}
	return Event{}, false
}

// mark begins the lines of labinit and hook-bootkit, which people can read too:
//
//	hookos-demo: dockerd-ready after 30.12 s: MemTotal=2017064KiB MemAvailable=1403532KiB
//	hookos-demo: output of images:
//	hookos-demo: end of images, exit code 0
const mark = "hookos-demo: "

// ParseConsole reads the lab's lines out of a console. What other programs print
// in between stays in the sections, as it would on a screen.
func ParseConsole(console string) Report {
	r := Report{Sections: map[string]Section{}}
	open := ""
	for line := range strings.Lines(strings.ReplaceAll(console, "\r", "")) {
		_, ours, found := strings.Cut(line, mark)
		ours = strings.TrimSpace(ours)
		if name, begins := strings.CutPrefix(ours, "output of "); begins {
			open = strings.TrimSuffix(name, ":")
			r.Sections[open] = Section{Exit: -1}
			continue
		}
		if ended, ends := strings.CutPrefix(ours, "end of "); ends {
			name, exit, _ := strings.Cut(ended, ", exit code ")
			r.end(name, exit)
			open = ""
			continue
		}
		switch {
		case found:
			r.Events = append(r.Events, parseEvent(ours))
		case open != "":
			s := r.Sections[open]
			s.Output += line
			r.Sections[open] = s
		}
	}
	return r
}

func (r Report) end(name, exit string) {
	s, ok := r.Sections[name]
	code, err := strconv.Atoi(exit)
	if !ok || err != nil {
		return
	}
	// The line before the end is ours: it may have to end one of the command's.
	s.Output, s.Exit = strings.TrimSuffix(s.Output, "\n"), code
	r.Sections[name] = s
}

// parseEvent parses "NAME after SECONDS s: KEY=VALUE..." or "NAME after SECONDS s".
func parseEvent(text string) Event {
	what, values, _ := strings.Cut(text, " s:")
	what = strings.TrimSuffix(what, " s")
	name, at, _ := strings.Cut(what, " after ")
	e := Event{Name: name, Values: map[string]string{}}
	if seconds, err := strconv.ParseFloat(at, 64); err == nil {
		e.At = time.Duration(seconds * float64(time.Second))
	}
	for _, w := range strings.Fields(values) {
		key, value, _ := strings.Cut(w, "=")
		e.Values[key] = value
	}
	return e
}
