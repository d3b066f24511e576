package face

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// board is the state of the running tasks, which view draws. It is a value: apply
// returns a new one, because the old one may still be drawn.
type board struct {
	begun time.Time
	lines []work // tasks and stages, oldest first
	moved int64  // bytes of the tasks that ended
}

// work is a task, or a stage with its parts.
type work struct {
	id    uint64 // 0 for a stage
	name  string
	begun time.Time
	// done and total count bytes. Total is 0 while it is not known. That of a stage
	// never is, because more parts may begin.
	done, total int64
	parts       []work    // of a stage: the running parts
	ended       int       // of a stage: the number of parts that finished
	bytesEnded  int64     // of a stage: bytes of the parts that ended
	bytesDone   int64     // of a stage: bytes of the parts that finished
	broken      bool      // of a stage: a part did not finish, or the run was stopped
	last        time.Time // of a stage: the time of the last report
}

func (w work) isStage() bool { return w.id == 0 }

// apply returns the board after an event. It also returns the task that the event
// ended, to be shown above the board.
func (b board) apply(e progress.Event, now time.Time) (next board, finished *work) {
	next = b
	next.lines = slices.Clone(b.lines)
	if e.Stage != "" {
		return next.applyPart(e, now)
	}
	i := slices.IndexFunc(next.lines, func(w work) bool { return w.id == e.ID && !w.isStage() })
	switch e.Kind {
	case progress.Started:
		next.lines = append(next.lines, work{id: e.ID, name: e.Task, begun: now, total: e.Total})
	case progress.Advanced:
		if i >= 0 {
			next.lines[i].done, next.lines[i].total = e.Done, e.Total
		}
	case progress.Finished, progress.Failed, progress.Cancelled:
		if i >= 0 {
			w := next.lines[i]
			w.done = e.Done
			next.lines = slices.Delete(next.lines, i, i+1)
			next.moved += e.Done
			return next, &w
		}
	}
	return next, nil
}

func (b board) applyPart(e progress.Event, now time.Time) (board, *work) {
	i := slices.IndexFunc(b.lines, func(w work) bool { return w.isStage() && w.name == e.Stage })
	if i < 0 {
		b.lines = append(b.lines, work{name: e.Stage, begun: now})
		i = len(b.lines) - 1
	}
	s := &b.lines[i]
	s.parts = slices.Clone(s.parts)
	p := slices.IndexFunc(s.parts, func(w work) bool { return w.id == e.ID })
	switch e.Kind {
	case progress.Started:
		name := e.Name
		if name == "" {
			name = e.Task
		}
		s.parts = append(s.parts, work{id: e.ID, name: name, begun: now, total: e.Total})
	case progress.Advanced:
		if p >= 0 {
			s.parts[p].done, s.parts[p].total = e.Done, e.Total
		}
	case progress.Finished, progress.Failed, progress.Cancelled:
		if p >= 0 {
			s.parts = slices.Delete(s.parts, p, p+1)
			if e.Kind == progress.Finished {
				s.ended++
				s.bytesDone += e.Done
			} else {
				s.broken = true
			}
			s.bytesEnded += e.Done
			b.moved += e.Done
		}
	}
	s.last = now
	s.done = s.bytesEnded
	for _, part := range s.parts {
		s.done += part.done
	}
	return b, nil
}

// stages returns the stages that did something, for the lines that remain after the
// board.
func (b board) stages() []work {
	var done []work
	for _, w := range b.lines {
		if w.isStage() && w.ended > 0 {
			done = append(done, w)
		}
	}
	return done
}

// stop returns the board with all stages stopped.
func (b board) stop() board {
	b.lines = slices.Clone(b.lines)
	for i := range b.lines {
		b.lines[i].broken = b.lines[i].isStage()
	}
	return b
}

// idle reports whether no task and no part of a stage is running.
func (b board) idle() bool {
	return !slices.ContainsFunc(b.lines, func(w work) bool { return !w.isStage() || len(w.parts) > 0 })
}

// mostParts is the number of parts of a stage that are shown.
const mostParts = 6

// view returns the board in lines that fit a terminal of width columns and height
// lines.
func (b board) view(width, height int, now time.Time) []string {
	if len(b.lines) == 0 {
		return nil
	}
	width--
	var lines []string
	for _, w := range b.lines {
		if !w.isStage() {
			lines = append(lines, columns(spin(now)+" "+w.name, w.state(width, now), width))
			continue
		}
		mark, at := spin(now), now
		if len(w.parts) == 0 {
			mark, at = "-", w.last
		}
		lines = append(lines, columns(fmt.Sprintf("%s %s, %d done", mark, w.name, w.ended), w.state(width, at), width))
		for i, part := range w.parts {
			if i == mostParts {
				lines = append(lines, pad(fmt.Sprintf("    and %d more", len(w.parts)-mostParts), width))
				break
			}
			lines = append(lines, columns("    "+part.name, part.state(width, now), width))
		}
	}
	footer := pad(b.footer(now), width)
	if most := max(1, height-2); len(lines) > most {
		lines = append(lines[:most-1], pad(fmt.Sprintf("    and %d more", len(lines)-most+1), width))
	}
	lines = append(lines, footer)
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ") // blanks too would wrap in a narrower terminal
	}
	return lines
}

// footer returns the last line of the board: time, bytes and rate. How long the run
// takes yet is not said, because later tasks are not known.
func (b board) footer(now time.Time) string {
	moved := b.moved
	for _, w := range b.lines {
		moved += w.done
		if w.isStage() {
			moved -= w.bytesEnded // moved has them already
		}
	}
	elapsed := now.Sub(b.begun)
	text := "  elapsed " + seconds(elapsed)
	if moved > 0 && elapsed >= time.Second {
		text += fmt.Sprintf(", %s, %s/s", words.Bytes(moved), words.Bytes(perSecond(moved, elapsed)))
	}
	return text
}

// state returns the progress of a task, in as much detail as the width allows. Its
// fields are as wide in all lines, so that they are below each other.
func (w work) state(width int, now time.Time) string {
	elapsed := now.Sub(w.begun)
	var done, of, percent, rate, left string
	if w.done > 0 {
		done = words.Bytes(w.done)
	}
	if w.total > 0 && w.done > 0 {
		percent = fmt.Sprintf("%d %%", min(100, w.done*100/w.total))
		of = "of " + words.Bytes(w.total)
	}
	perSecond := perSecond(w.done, elapsed)
	if perSecond > 0 {
		rate = words.Bytes(perSecond) + "/s"
	}
	switch rest := timeLeft(w.done, w.total, perSecond); {
	case rest > 0:
		left = brief(rest) + " left"
	case w.done == 0 && elapsed >= time.Second:
		left = seconds(elapsed)
	}
	text := fmt.Sprintf("%5s %8s", percent, done)
	if width >= 100 {
		text += fmt.Sprintf(" %-11s", of)
	}
	if width >= 55 {
		text += fmt.Sprintf(" %10s", rate)
	}
	if width >= 70 || w.done == 0 {
		text += fmt.Sprintf(" %11s", left)
	}
	if strings.TrimSpace(text) == "" {
		return ""
	}
	if width < 70 && w.done == 0 {
		return left
	}
	return text
}

// timeLeft returns how long the rest takes at a rate in bytes per second, in whole
// seconds, rounded up; 0 if that is not known, as before the first hundredth is done.
func timeLeft(done, total, rate int64) time.Duration {
	if rate <= 0 || total <= done || done < total/100 {
		return 0
	}
	left := time.Duration(float64(total-done)/float64(rate)*float64(time.Second)) + time.Second - 1
	return left.Truncate(time.Second)
}

// perSecond returns the rate of n bytes in d, 0 in the first half second.
func perSecond(n int64, d time.Duration) int64 {
	if d < time.Second/2 {
		return 0
	}
	return int64(float64(n) / d.Seconds())
}

// spin returns the frame of the spinner at a time.
func spin(now time.Time) string {
	frames := [...]string{"|", "/", "-", "\\"}
	return frames[now.UnixMilli()/120%4]
}

// stopped reports whether a stage ended before all its parts had finished, or may
// have.
func (w work) stopped() bool { return w.broken || len(w.parts) > 0 }

// summary returns the line for a stage or a task that ended, and further ones if its
// result would leave its name less than half of the line.
func (w work) summary(text string, width int, now time.Time) []string {
	took := now.Sub(w.begun)
	left := "ok  " + w.name
	right := text
	switch {
	case w.stopped():
		w.done = w.bytesDone
		left = fmt.Sprintf("--  %s, %d done", w.name, w.ended)
	case w.isStage():
		left += fmt.Sprintf(" (%d)", w.ended)
	}
	if right == "" && w.done > 0 {
		right = words.Bytes(w.done)
	}
	if took >= time.Second {
		right = strings.TrimSpace(fmt.Sprintf("%s %6s", right, seconds(took)))
	}
	width--
	if room := width - words.Width(right) - 2; words.Width(left) > room && room < width/2 {
		return append([]string{strings.TrimRight(pad(left, width), " ")}, words.Fold("    "+right, width, "    ")...)
	}
	return []string{strings.TrimRight(columns(left, right, width), " ")}
}
