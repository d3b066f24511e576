package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"hookbuild/internal/progress"
)

// terminalFace shows the tasks under way in place and lets what has ended
// scroll by above them.
type terminalFace struct {
	program *tea.Program
	ended   chan error
	plain   plainFace
}

func newTerminalFace(w io.Writer) *terminalFace {
	// Signals are main's business, and nothing is read from the keyboard.
	program := tea.NewProgram(terminalModel{width: 80}, tea.WithOutput(w), tea.WithInput(nil), tea.WithoutSignalHandler())
	f := &terminalFace{program: program, ended: make(chan error, 1), plain: plainFace{w: w}}
	go func() {
		_, err := program.Run()
		f.ended <- err
	}()
	return f
}

// Report implements [progress.Sink].
func (f *terminalFace) Report(e progress.Event) {
	if e.Kind == progress.Output {
		return
	}
	if line := f.plain.line(e); line != "" {
		f.program.Println(line)
	}
	f.program.Send(e)
}

// Close implements face: it clears the tasks and gives the terminal back.
func (f *terminalFace) Close() error {
	f.program.Send(tea.Quit())
	return <-f.ended
}

// terminalModel is what bubbletea draws: the running tasks, oldest first.
type terminalModel struct {
	running []progress.Event
	width   int
	frame   int
	done    bool
}

type tickMsg time.Time

func tick() tea.Cmd {
	return tea.Tick(120*time.Millisecond, func(t time.Time) tea.Msg { return tickMsg(t) })
}

// Init implements [tea.Model].
func (m terminalModel) Init() tea.Cmd { return tick() }

// Update implements [tea.Model].
func (m terminalModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width = msg.Width
	case tea.QuitMsg:
		m.done = true
	case tickMsg:
		m.frame++
		return m, tick()
	case progress.Event:
		m.running = apply(m.running, msg)
	}
	return m, nil
}

// apply gives the running tasks after e, in a new slice: bubbletea may still be
// drawing the old one.
func apply(running []progress.Event, e progress.Event) []progress.Event {
	next := make([]progress.Event, 0, len(running)+1)
	for _, r := range running {
		if r.ID != e.ID {
			next = append(next, r)
		} else if e.Kind == progress.Advanced {
			next = append(next, e)
		}
	}
	if e.Kind == progress.Started {
		next = append(next, e)
	}
	return next
}

// View implements [tea.Model].
func (m terminalModel) View() string {
	if m.done {
		return ""
	}
	const mostShown = 8
	var b strings.Builder
	for i, e := range m.running {
		if i == mostShown {
			fmt.Fprintf(&b, "    and %d more\n", len(m.running)-mostShown)
			break
		}
		b.WriteString(clip(taskLine(e, m.frame), m.width) + "\n")
	}
	return b.String()
}

func taskLine(e progress.Event, frame int) string {
	spinner := []string{"|", "/", "-", "\\"}[frame%4]
	switch {
	case e.Total > 0:
		return fmt.Sprintf(" %s  %s  %3d %% of %s", spinner, e.Task, min(100, e.Done*100/e.Total), bytesText(e.Total))
	case e.Done > 0:
		return fmt.Sprintf(" %s  %s  %s", spinner, e.Task, bytesText(e.Done))
	}
	return fmt.Sprintf(" %s  %s", spinner, e.Task)
}

// clip cuts a line to the terminal's width: a wrapped one would not be redrawn
// in place.
func clip(s string, width int) string {
	if r := []rune(s); width > 1 && len(r) >= width {
		return string(r[:width-1])
	}
	return s
}
