package container

import (
	"strings"
	"sync"
	"testing"
	"time"

	"hookbuild/internal/progress"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// record stores what a builder reports.
type record struct {
	sync.Mutex
	t      *testing.T
	events []progress.Event
}

func (r *record) Report(e progress.Event) {
	r.Lock()
	defer r.Unlock()
	if e.Kind != progress.Advanced {
		r.events = append(r.events, e)
	}
	if e.Kind != progress.Advanced && e.Kind != progress.Output {
		r.t.Log(time.Now().Format("15:04:05"), e.Task, e.Text, e.Err)
	}
}

func (r *record) has(text string) bool { return r.count(text) > 0 }

// count counts the events that say text.
func (r *record) count(text string) int {
	r.Lock()
	defer r.Unlock()
	n := 0
	for _, e := range r.events {
		if strings.Contains(e.Task+e.Text, text) {
			n++
		}
	}
	return n
}

// started counts the tasks whose names begin with task.
func (r *record) started(task string) int {
	r.Lock()
	defer r.Unlock()
	n := 0
	for _, e := range r.events {
		if e.Kind == progress.Started && strings.HasPrefix(e.Task, task) {
			n++
		}
	}
	return n
}

func open(t *testing.T) (*Builder, *record) {
	t.Helper()
	testneed.Docker(t)
	r := &record{t: t}
	b, err := Open(t.Context(), Options{Base: kerneltest.Base(t), Network: "host", LogDir: t.TempDir(), Progress: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, r
}
