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
	n, err := strconv.ParseInt(e.Values[name], 10, 64)
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

// mark begins the lines that are for us.
const mark = "@@lab "

// ParseConsole reads the lab's lines out of a console. What other programs print
// in between stays in the sections, as it would on a screen.
func ParseConsole(console string) Report {
	r := Report{Sections: map[string]Section{}}
	open := ""
	for line := range strings.Lines(strings.ReplaceAll(console, "\r", "")) {
		_, ours, found := strings.Cut(line, mark)
		words := strings.Fields(ours)
		switch {
		case found && len(words) > 1 && words[0] == "begin":
			open = words[1]
			r.Sections[open] = Section{Exit: -1}
		case found && len(words) > 2 && words[0] == "end":
			r.end(words[1], words[2])
			open = ""
		case found:
			r.Events = append(r.Events, parseEvent(words))
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
	code, err := strconv.Atoi(strings.TrimPrefix(exit, "exit="))
	if !ok || err != nil {
		return
	}
	// The line before the end is ours: it may have to end one of the command's.
	s.Output, s.Exit = strings.TrimSuffix(s.Output, "\n"), code
	r.Sections[name] = s
}

func parseEvent(words []string) Event {
	e := Event{Values: map[string]string{}}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "event":
			e.Name = value
		case "at":
			if seconds, err := strconv.ParseFloat(value, 64); err == nil {
				e.At = time.Duration(seconds * float64(time.Second))
			}
		default:
			e.Values[key] = value
		}
	}
	return e
}
