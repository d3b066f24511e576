package face

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/progress"
	"hookbuild/test/testneed"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// playVariable makes the test binary play a run on its terminal: "middle" half of it,
// "stop" half of it until Ctrl-C, "all" the whole.
const playVariable = "HOOKBUILD_FACE_ACT"

func TestMain(m *testing.M) {
	act := os.Getenv(playVariable)
	if act == "" {
		os.Exit(m.Run())
	}
	clock := newClock()
	f, err := New("tty", Options{Writer: os.Stderr, Getenv: os.Getenv, Now: clock.now})
	if err != nil {
		panic(err)
	}
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt)
	play(f, clock, act == "all")
	switch act {
	case "stop":
		<-interrupt
		if err := f.Stop("stopping…; a second signal ends hookbuild at once"); err != nil {
			panic(err)
		}
		f.Fail("interrupted", 130)
	case "all":
		if err := f.Settle(); err != nil {
			panic(err)
		}
		fmt.Println("out/hook/vmlinuz-x86_64")
		f.Fail("pulling \"registry.example/x\": no such host", 4)
	}
	time.Sleep(time.Hour) // the test reads the screen and then closes the terminal
}

// clock is a clock that play advances.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Unix(1000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// play reports a run in which images are pulled while a kernel is read. With whole,
// it ends all tasks.
func play(s progress.Sink, c *clock, whole bool) {
	manifest := progress.Start(s, 0, "read the bundle manifest")
	c.pass(1200 * time.Millisecond)
	_ = manifest.End(nil, "v0.24.1")
	progress.Notef(s, "no flavor is named: building hook-default-amd64, the default for amd64; `hookbuild flavors` lists the others")
	progress.Warnf(s, "the bundle is not signed")
	kernel := progress.Start(s, 0, "read the kernel quay.io/tinkerbell/hook-kernel:6.6.60-0123456789")
	var parts []*progress.Task
	for i := 1; i <= 4; i++ {
		parts = append(parts, progress.StartPart(s, "pull images", fmt.Sprintf("image2disk v1.0.0 %d/4", i), 4000000, "pull public.ecr.aws/x/image2disk:v1.0.0, layer %d of 4", i))
	}
	wide := progress.Start(s, 0, "lies das Verzeichnis 漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字")
	c.pass(2 * time.Second)
	parts[0].Add(4000000)
	_ = parts[0].End(nil, "")
	parts[1].Add(3000000)
	parts[2].Add(123456)
	kernel.Add(8500000)
	if !whole {
		return
	}
	c.pass(3 * time.Second)
	_ = kernel.End(nil, "")
	_ = wide.End(nil, "")
	for _, p := range parts[1:] {
		_ = p.End(nil, "")
	}
	assemble := progress.Start(s, 400_000_000, "assemble the root file system")
	for range 3 { // 24 s, of which a log shows a part
		c.pass(8 * time.Second)
		assemble.Add(100_000_000)
	}
	_ = assemble.End(nil, "made")
	_ = progress.Start(s, 0, "a task that fails").End(errors.New("broken"), "")
	_ = progress.Start(s, 0, "a task that another one's failure cancels").End(fmt.Errorf("pulling: %w", context.Canceled), "")
}

// TestTerminal compares what a real terminal shows with testdata, at widths
// from narrow to wide, in the middle of a run and after it.
func TestTerminal(t *testing.T) {
	tmux := testneed.Tool(t, "tmux")
	for _, width := range []int{40, 60, 80, 200} {
		for _, act := range []string{"middle", "all"} {
			t.Run(fmt.Sprintf("%d columns, %s", width, act), func(t *testing.T) {
				t.Parallel()
				checkGolden(t, fmt.Sprintf("testdata/%d-%s.txt", width, act), screenOf(t, tmux, width, act))
			})
		}
	}
}

// Ctrl-C, which the terminal echoes, leaves nothing of the region, and no work that was
// not finished is shown as done.
func TestStop(t *testing.T) {
	tmux := testneed.Tool(t, "tmux")
	at := startTmux(t, tmux, 80, "stop")
	at.shows("elapsed")
	at.run("send-keys", "C-c")
	checkGolden(t, "testdata/80-stop.txt", at.shows("interrupted", "-S", "-"))
}

// A stage is shown as done only if all its parts have finished.
func TestStoppedStages(t *testing.T) {
	for name, end := range map[string]func(f Face, parts [2]*progress.Task){
		"a part was cancelled": func(_ Face, parts [2]*progress.Task) {
			_ = parts[0].End(nil, "")
			_ = parts[1].End(context.Canceled, "")
		},
		"a part failed": func(_ Face, parts [2]*progress.Task) {
			_ = parts[0].End(nil, "")
			_ = parts[1].End(errors.New("broken"), "")
		},
		"a part is running": func(_ Face, parts [2]*progress.Task) { _ = parts[0].End(nil, "") },
		"the run was stopped": func(f Face, parts [2]*progress.Task) {
			_ = parts[0].End(nil, "")
			_ = parts[1].End(nil, "")
			_ = f.Stop("stopping")
		},
	} {
		var out bytes.Buffer
		f, err := New("tty", Options{Writer: &out, Getenv: func(string) string { return "1" }})
		if err != nil {
			t.Fatal(err)
		}
		var parts [2]*progress.Task
		for i := range parts {
			parts[i] = progress.StartPart(f, "pull images", fmt.Sprint(i), 0, "pull %d", i)
		}
		end(f, parts)
		f.Fail("ended", 1)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if shown := out.String(); !strings.Contains(shown, "--  pull images, ") || strings.Contains(shown, "ok  pull images") {
			t.Errorf("%s:\n%q", name, shown)
		}
	}
}

// screenOf plays a run in a terminal and returns its screen when that no longer
// changes.
func screenOf(t *testing.T, tmux string, width int, act string) string {
	t.Helper()
	marker := "elapsed"
	if act == "all" {
		marker = "no such host"
	}
	return startTmux(t, tmux, width, act).shows(marker, "-S", "-")
}

// played is a terminal in which a run is played.
type played struct {
	t            *testing.T
	tmux, socket string
}

// startTmux plays an act in a terminal of its own, "" means a shell.
func startTmux(t *testing.T, tmux string, width int, act string) *played {
	t.Helper()
	p := &played{t, tmux, filepath.Join(t.TempDir(), "s")}
	program := mustExecutable(t)
	if act == "" {
		program = "bash --norc -i"
	}
	p.run("-u", "new-session", "-d", "-x", fmt.Sprint(width), "-y", "30", "-e", playVariable+"="+act, "-e", "NO_COLOR=1", program)
	t.Cleanup(func() { _ = exec.Command(tmux, "-S", p.socket, "kill-server").Run() })
	return p
}

func (p *played) run(args ...string) string {
	p.t.Helper()
	out, err := exec.Command(p.tmux, append([]string{"-S", p.socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// shows returns the screen once it has the marker and no longer changes. Options are
// those of tmux capture-pane.
func (p *played) shows(marker string, options ...string) string {
	p.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for last := ""; time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		screen := p.run(append([]string{"capture-pane", "-p"}, options...)...)
		if screen == last && strings.Contains(strings.ReplaceAll(screen, "\n", " "), marker) {
			return strings.TrimRight(screen, "\n") + "\n"
		}
		last = screen
	}
	p.t.Fatalf("the terminal never showed %q:\n%s", marker, p.run("capture-pane", "-p"))
	return ""
}

// A terminal that becomes narrower, and wider again, keeps nothing of the lines that it
// wrapped.
func TestResize(t *testing.T) {
	tmux := testneed.Tool(t, "tmux")
	at := startTmux(t, tmux, 120, "middle")
	at.shows("elapsed")
	// tmux moves wrapped lines into its scroll-back, which no program can change, so
	// only the screen is looked at.
	for _, width := range []int{60, 100, 45} {
		at.run("resize-window", "-x", fmt.Sprint(width), "-y", "30")
		// The program draws again when it hears of the new size, which takes a while on a
		// busy machine. So the screen must be right, and stay so.
		wrong, last, stays := "", "", false
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
			screen := at.run("capture-pane", "-p")
			if wrong = drawnTwice(screen); wrong == "" && screen == last {
				stays = true
				break
			}
			last = screen
		}
		if !stays {
			t.Fatalf("in %d columns, the screen does not stay right: %s", width, wrong)
		}
	}
}

// drawnTwice returns what of the region is not on the screen exactly as often as it
// belongs there, "" if nothing.
func drawnTwice(screen string) string {
	for text, want := range map[string]int{"read the kernel": 1, "pull images": 1, "image2disk v1.0.0": 3, "elapsed": 1} {
		if n := strings.Count(screen, text); n != want {
			return fmt.Sprintf("%q is there %d times:\n%s", text, n, screen)
		}
	}
	return ""
}

// After Ctrl-Z, the shell has its cursor, and fg draws below what the shell wrote.
func TestSuspend(t *testing.T) {
	tmux := testneed.Tool(t, "tmux")
	at := startTmux(t, tmux, 80, "")
	at.run("send-keys", playVariable+"=middle "+mustExecutable(t), "Enter")
	first := at.shows("elapsed")
	if at.cursor() {
		t.Error("the cursor blinks beside the progress")
	}
	at.run("send-keys", "C-z")
	if at.shows("Stopped"); !at.cursor() {
		t.Error("the shell has no cursor")
	}
	at.run("send-keys", "echo $((40+2)); fg", "Enter")
	deadline := time.Now().Add(30 * time.Second)
	for strings.Count(at.run("capture-pane", "-p"), "elapsed") < 2 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	last := at.shows("42")
	before, after, _ := strings.Cut(last, "Stopped")
	if strings.Count(before, "elapsed") != 1 || !strings.Contains(after, "42") || drawnTwice(after) != "" {
		t.Errorf("the terminal showed\n%s\nand after fg\n%s", first, last)
	}
	if at.cursor() {
		t.Error("after fg, the cursor blinks beside the progress")
	}
}

// cursor reports whether the cursor is shown.
func (p *played) cursor() bool {
	p.t.Helper()
	return strings.TrimSpace(p.run("display-message", "-p", "#{cursor_flag}")) == "1"
}

func mustExecutable(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s:\n%s", file, diff)
	}
}

// TestViewFits checks that every line of the region is narrower than the terminal.
func TestViewFits(t *testing.T) {
	for width := 20; width <= 220; width++ {
		c := newClock()
		r := &recorder{board: board{begun: c.now()}, now: c.now}
		play(r, c, false)
		for _, line := range r.board.view(width, 30, c.now()) {
			if n := ansi.StringWidth(line); n >= width {
				t.Fatalf("%d columns in a terminal of %d: %q", n, width, line)
			}
		}
		if lines := r.board.view(width, 5, c.now()); len(lines) >= 5 {
			t.Fatalf("%d lines in a terminal of 5", len(lines))
		}
	}
}

// What is shown of a stage does not go back when more parts begin.
func TestStagesNeverGoBack(t *testing.T) {
	c := newClock()
	r := &recorder{board: board{begun: c.now()}, now: c.now}
	for i := range 5 {
		p := progress.StartPart(r, "pull images", fmt.Sprint(i), 1000, "pull %d", i)
		c.pass(time.Second)
		p.Add(1000)
		stage := r.board.view(200, 30, c.now())[0]
		if want := fmt.Sprintf(" pull images, %d done ", i); !strings.Contains(stage, want) || strings.Contains(stage, "%") || strings.Contains(stage, "left") {
			t.Errorf("the stage is %q, want %q without a share of what is not known", stage, want)
		}
		_ = p.End(nil, "")
	}
}

// The end of a stage is shown before the notes that sum up the run.
func TestStagesEndBeforeTheSummary(t *testing.T) {
	var out bytes.Buffer
	f, err := New("tty", Options{Writer: &out, Getenv: func(string) string { return "1" }})
	if err != nil {
		t.Fatal(err)
	}
	part := progress.StartPart(f, "pull images", "cexec 1/1", 0, "pull cexec")
	progress.Notef(f, "in the middle")
	_ = part.End(nil, "")
	progress.Notef(f, "done in 3 s")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	shown := out.String()
	if middle, end, done := strings.Index(shown, "in the middle"), strings.Index(shown, "ok  pull images (1)"), strings.Index(shown, "done in"); middle < 0 || end < middle || done < end {
		t.Errorf("the stage ends at %d, the notes are at %d and %d:\n%q", end, middle, done, shown)
	}
}

// A result that does not fit beside the task is below it, whole.
func TestLongResults(t *testing.T) {
	w := work{id: 1, name: "pack 31 layers", begun: time.Unix(1000, 0)}
	const result = "47.0 MB, zstd, 23 packed now, 8 cached or equal to others"
	got := w.summary(result, 50, time.Unix(1006, 0))
	want := []string{"ok  pack 31 layers", "    47.0 MB, zstd, 23 packed now, 8 cached or", "    equal to others    6 s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A note looks the same before and after the terminal has settled.
func TestNotesAfterSettling(t *testing.T) {
	var out bytes.Buffer
	f, err := New("tty", Options{Writer: &out, Getenv: func(string) string { return "1" }})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Settle(); err != nil {
		t.Fatal(err)
	}
	before := out.Len()
	progress.Notef(f, "no problems found in %s", strings.Repeat("out ", 20))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String()[before:]; !strings.HasPrefix(got, "no problems found in") || strings.Count(got, "\n") != 2 {
		t.Errorf("the note is %q", got)
	}
}

type recorder struct {
	board board
	now   func() time.Time
}

func (r *recorder) Report(e progress.Event) { r.board, _ = r.board.apply(e, r.now()) }

func TestLines(t *testing.T) {
	for _, kind := range []string{"plain", "github", "json"} {
		t.Run(kind, func(t *testing.T) {
			var out bytes.Buffer
			clock := newClock()
			f, err := New(kind, Options{Writer: &out, Getenv: func(string) string { return "" }, Now: clock.now})
			if err != nil {
				t.Fatal(err)
			}
			play(numbered{f, map[uint64]uint64{}}, clock, true)
			f.Fail("pulling: 50 % done\nno such host", 4)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			checkGolden(t, "testdata/"+kind+".txt", out.String())
		})
	}
}

// numbered renumbers tasks from 1, because IDs depend on the tests that ran before.
type numbered struct {
	to  progress.Sink
	ids map[uint64]uint64
}

func (n numbered) Report(e progress.Event) {
	if e.ID != 0 {
		if n.ids[e.ID] == 0 {
			n.ids[e.ID] = uint64(len(n.ids) + 1)
		}
		e.ID = n.ids[e.ID]
	}
	n.to.Report(e)
}

// Warnings, results and the error have colours on a terminal, unless NO_COLOR is set.
func TestColours(t *testing.T) {
	colour := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	for _, test := range []struct {
		noColor string
		want    []string
	}{
		{"", []string{green + "ok", yellow + "warning:", red + "hookbuild:"}},
		{"1", nil},
	} {
		var out bytes.Buffer
		f, err := New("tty", Options{Writer: &out, Getenv: func(k string) string { return map[string]string{"NO_COLOR": test.noColor}[k] }})
		if err != nil {
			t.Fatal(err)
		}
		if err := progress.Start(f, 0, "read").End(nil, "done"); err != nil {
			t.Fatal(err)
		}
		progress.Warnf(f, "not signed")
		f.Fail("no such host", 4)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		for _, want := range append(test.want, "not signed", "no such host") {
			if !strings.Contains(out.String(), want) {
				t.Errorf("NO_COLOR=%s: the terminal lacks %q:\n%q", test.noColor, want, out.String())
			}
		}
		if test.want == nil && colour.MatchString(out.String()) {
			t.Errorf("NO_COLOR=%s: the terminal shows colours:\n%q", test.noColor, out.String())
		}
	}
}

func TestUnknownKind(t *testing.T) {
	if _, err := New("loud", Options{}); !errors.Is(err, errUnknown) {
		t.Errorf("error %v", err)
	}
}

func TestAuto(t *testing.T) {
	for want, env := range map[string]map[string]string{"plain": {}, "github": {"GITHUB_ACTIONS": "true"}} {
		if got := choose(Options{Writer: &bytes.Buffer{}, Getenv: func(k string) string { return env[k] }}); got != want {
			t.Errorf("%v: %s, want %s", env, got, want)
		}
	}
}

func TestWritingFails(t *testing.T) {
	for _, kind := range []string{"plain", "github", "json"} {
		f, err := New(kind, Options{Writer: broken{}})
		if err != nil {
			t.Fatal(err)
		}
		progress.Notef(f, "note")
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: error %v", kind, err)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }
