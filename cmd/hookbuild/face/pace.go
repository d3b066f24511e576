package face

import (
	"fmt"
	"sync"
	"time"

	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// pace chooses among the advances of a task those that are written, so that a log
// shows that work goes on and is not flooded.
type pace struct {
	every time.Duration
	now   func() time.Time

	mu    sync.Mutex
	tasks map[uint64]*paced
}

type paced struct{ begun, written time.Time }

func newPace(every time.Duration, now func() time.Time) *pace {
	return &pace{every: every, now: now, tasks: map[uint64]*paced{}}
}

// due reports whether an advance is to be written, and how long the event's task has
// been running.
func (p *pace) due(e progress.Event) (elapsed time.Duration, due bool) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Kind {
	case progress.Started:
		p.tasks[e.ID] = &paced{now, now}
	case progress.Finished, progress.Failed, progress.Cancelled:
		delete(p.tasks, e.ID)
	case progress.Advanced:
		t := p.tasks[e.ID]
		if t == nil || now.Sub(t.written) < p.every {
			return 0, false
		}
		t.written = now
		return now.Sub(t.begun), true
	}
	return 0, false
}

// far describes how far a task is: "85 %, 3.4 MB of 4.0 MB, 12 MB/s, 4 s left".
func far(e progress.Event, elapsed time.Duration) string {
	rate := perSecond(e.Done, elapsed)
	if e.Total == 0 {
		return fmt.Sprintf("%s, %s/s", words.Bytes(e.Done), words.Bytes(rate))
	}
	text := fmt.Sprintf("%d %%, %s of %s, %s/s", min(100, e.Done*100/e.Total), words.Bytes(e.Done), words.Bytes(e.Total), words.Bytes(rate))
	if left := timeLeft(e.Done, e.Total, rate); left > 0 {
		text += ", " + seconds(left) + " left"
	}
	return text
}
