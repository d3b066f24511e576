package face

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// terminal shows the running tasks in a region at the bottom, which is redrawn in
// place. Tasks that ended scroll by above it.
type terminal struct {
	now     func() time.Time
	writer  io.Writer
	plain   *plain // for reports after Settle
	color   bool
	program *tea.Program
	ended   chan error

	// order keeps the lines in the order of the reports. It is held while bubbletea
	// accepts a line, and bubbletea may draw meanwhile, so drawing locks only mu.
	order   sync.Mutex
	settled bool
	err     error

	mu    sync.Mutex
	board board
	// width is the terminal's, as bubbletea has told it, 0 before that. Drawn are the
	// lines of the region.
	width  int
	drawn  []string
	frozen bool // drawn stays, see suspend
	// clearErr is the first error of clearing the region.
	clearErr error
}

func newTerminal(o Options) *terminal {
	t := &terminal{
		now: o.Now, writer: o.Writer, plain: newPlain(o), color: o.Getenv("NO_COLOR") == "",
		ended: make(chan error, 1), board: board{begun: o.Now()},
	}
	// main handles signals, and the face reads nothing from the keyboard.
	t.program = tea.NewProgram(screen{view: t.view, resize: t.resize}, tea.WithOutput(fromLineStart(o.Writer)), tea.WithInput(nil), tea.WithoutSignalHandler())
	go func() {
		_, err := t.program.Run()
		t.ended <- err
	}()
	t.handleSuspending()
	return t
}

// Report implements [progress.Sink].
func (t *terminal) Report(e progress.Event) {
	t.order.Lock()
	defer t.order.Unlock()
	if t.settled {
		if width, _ := t.size(); e.Kind == progress.Note { // looks as before
			t.plain.print(strings.Join(words.Fold(e.Text, width-1, "  "), "\n"))
			return
		}
		t.plain.Report(e)
		return
	}
	finished := t.apply(e)
	width, _ := t.size()
	if e.Kind == progress.Note {
		t.endStages(width)
	}
	switch {
	case e.Kind == progress.Note:
		t.print(words.Fold(e.Text, width-1, "  "))
	case e.Kind == progress.Warning:
		lines := words.Fold("warning: "+e.Text, width-1, "  ")
		lines[0] = t.paint(lines[0], "warning:", yellow)
		t.print(lines)
	case e.Kind == progress.Finished && finished != nil:
		t.print(t.paintMark(finished.summary(e.Text, width, t.now())))
	}
}

// endStages shows the end of the stages if nothing runs any more, so that it is not
// shown below the notes that sum up the run.
func (t *terminal) endStages(width int) {
	t.mu.Lock()
	idle := t.board.idle()
	t.mu.Unlock()
	if !idle {
		return
	}
	for _, w := range t.clear() {
		t.print(t.paintMark(w.summary("", width, w.last)))
	}
}

func (t *terminal) apply(e progress.Event) (finished *work) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.board, finished = t.board.apply(e, t.now())
	return finished
}

// Settle implements [Face].
func (t *terminal) Settle() error {
	t.order.Lock()
	defer t.order.Unlock()
	return t.settle()
}

// Stop implements [Face].
func (t *terminal) Stop(text string) error {
	t.order.Lock()
	defer t.order.Unlock()
	if t.settled {
		t.plain.print(text)
		return t.err
	}
	t.stopStages()
	width, _ := t.size()
	t.print(words.Fold(text, width-1, "  "))
	return t.settle()
}

// stopStages marks the stages as stopped. That no part of one is running does not
// mean that no more would have begun.
func (t *terminal) stopStages() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.board = t.board.stop()
}

// settle ends redrawing. The caller holds order.
func (t *terminal) settle() error {
	if t.settled {
		return t.err
	}
	t.settled = true
	width, _ := t.size()
	for _, w := range t.clear() {
		t.print(t.paintMark(w.summary("", width, w.last)))
	}
	t.program.Send(settleMsg{})
	t.err = <-t.ended
	if t.err == nil {
		t.err = t.clearingError()
	}
	return t.err
}

func (t *terminal) clearingError() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clearErr
}

// clear empties the board and returns its stages.
func (t *terminal) clear() []work {
	t.mu.Lock()
	defer t.mu.Unlock()
	stages := t.board.stages()
	t.board = board{begun: t.board.begun, moved: t.board.moved}
	return stages
}

// Fail implements [Face].
func (t *terminal) Fail(text string, _ int) {
	// Close returns the error.
	_ = t.Settle()
	width, _ := t.size()
	lines := words.Fold("hookbuild: "+text, width-1, "  ")
	t.plain.print(t.paint(strings.Join(lines, "\n"), "hookbuild:", red))
}

// Close implements [Face].
func (t *terminal) Close() error {
	if err := t.Settle(); err != nil {
		return err
	}
	return t.plain.Close()
}

// print shows lines above the region, in the order of the calls. Each must be
// narrower than the terminal, because a line that wraps leaves parts of the region.
func (t *terminal) print(lines []string) { t.program.Println(strings.Join(lines, "\n")) }

func (t *terminal) paint(line, word, color string) string {
	if !t.color {
		return line
	}
	return strings.Replace(line, word, color+word+reset, 1)
}

// paintMark colours the mark of finished work.
func (t *terminal) paintMark(lines []string) []string {
	if strings.HasPrefix(lines[0], "ok ") {
		lines[0] = t.paint(lines[0], "ok", green)
	}
	return lines
}

// size returns the terminal's columns and lines.
func (t *terminal) size() (width, height int) {
	if width, height = terminalSize(t.writer); width == 0 {
		return 80, 24
	}
	return width, height
}

func (t *terminal) view() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	width, height := t.size()
	if t.width > 0 {
		width = t.width // the region changes together with what resize clears
	}
	if !t.frozen {
		t.drawn = t.board.view(width, height, t.now())
	}
	if len(t.drawn) == 0 {
		return ""
	}
	return strings.Join(t.drawn, "\n") + "\n"
}

// resize prepares the region for a terminal of another width. A terminal that became
// narrower has wrapped the region's lines, of which bubbletea does not know: it would
// leave the upper ones.
func (t *terminal) resize(width int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.width = width
	rows := 0
	for _, line := range t.drawn {
		rows += max(1, (words.Width(line)+width-1)/max(1, width))
	}
	if rows == len(t.drawn) {
		return
	}
	// To the first row, erase from there on, and to where bubbletea left the cursor.
	if _, err := fmt.Fprintf(t.writer, "\r\x1b[%dA\x1b[J\x1b[%dB", rows, len(t.drawn)); err != nil && t.clearErr == nil {
		t.clearErr = err
	}
}

// lineStart writes to a terminal from the first column on, where bubbletea left the
// cursor. A key that the user types, such as the ^C of Ctrl-C, is echoed there and
// moves it.
type lineStart struct{ io.Writer }

// Write implements [io.Writer].
func (l lineStart) Write(p []byte) (int, error) {
	n, err := l.Writer.Write(append([]byte{'\r'}, p...))
	return max(0, n-1), err
}

// lineStartFile is a lineStart of which bubbletea can ask the size.
type lineStartFile struct {
	*os.File
	to lineStart
}

// Write implements [io.Writer].
func (l lineStartFile) Write(p []byte) (int, error) { return l.to.Write(p) }

// fromLineStart returns a writer that starts each Write in the first column.
func fromLineStart(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok {
		return lineStartFile{f, lineStart{f}}
	}
	return lineStart{w}
}

const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	reset  = "\x1b[0m"
)

// screen is the model for bubbletea.
type screen struct {
	view   func() string
	resize func(width int)
	done   bool
}

type (
	tickMsg   struct{}
	settleMsg struct{}
)

func tick() tea.Cmd {
	return tea.Tick(120*time.Millisecond, func(time.Time) tea.Msg { return tickMsg{} })
}

// Init implements [tea.Model].
func (s screen) Init() tea.Cmd { return tick() }

// Update implements [tea.Model].
func (s screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.resize(msg.Width)
	case tickMsg:
		return s, tick()
	case settleMsg:
		s.done = true
		return s, tea.Quit
	}
	return s, nil
}

// View implements [tea.Model].
func (s screen) View() string {
	if s.done {
		return ""
	}
	return s.view()
}
