package face

import (
	"encoding/json"
	"sync"
	"time"

	"hookbuild/internal/progress"
)

// jsonLines writes one JSON object a line, for programs. Of a task's advances it
// writes one a second. The error that ends the command is the last
// object, of kind "error".
type jsonLines struct {
	mu  sync.Mutex
	enc *json.Encoder
	err error

	pace *pace
}

// jsonEvery is how often the progress of a task is written.
const jsonEvery = time.Second

type jsonEvent struct {
	Kind  string `json:"kind"`
	ID    uint64 `json:"id,omitempty"`
	Task  string `json:"task,omitempty"`
	Stage string `json:"stage,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
	Total int64  `json:"total,omitempty"` // bytes, if they are known
	// Rate is in bytes per second, and Left how many seconds the task takes yet.
	Rate  int64  `json:"rate,omitempty"`
	Left  int64  `json:"left,omitempty"`
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
	Code  int    `json:"code,omitempty"` // the exit code
}

func newJSON(o Options) *jsonLines {
	return &jsonLines{enc: json.NewEncoder(o.Writer), pace: newPace(jsonEvery, o.Now)}
}

// Report implements [progress.Sink].
func (j *jsonLines) Report(e progress.Event) {
	names := map[progress.Kind]string{
		progress.Started: "started", progress.Advanced: "advanced", progress.Finished: "finished", progress.Failed: "failed", progress.Cancelled: "cancelled",
		progress.Note: "note", progress.Warning: "warning", progress.Output: "output",
	}
	elapsed, due := j.pace.due(e)
	if e.Kind == progress.Advanced && !due {
		return
	}
	out := jsonEvent{Kind: names[e.Kind], ID: e.ID, Task: e.Task, Stage: e.Stage, Bytes: e.Done, Total: e.Total, Text: e.Text}
	if e.Kind == progress.Advanced {
		out.Rate = perSecond(e.Done, elapsed)
		out.Left = int64(timeLeft(e.Done, e.Total, out.Rate).Seconds())
	}
	if e.Err != nil {
		out.Error = e.Err.Error()
	}
	j.write(out)
}

// Settle implements [Face].
func (j *jsonLines) Settle() error { return nil }

// Stop implements [Face].
func (j *jsonLines) Stop(text string) error {
	j.Report(progress.Event{Kind: progress.Note, Text: text})
	return nil
}

// Fail implements [Face].
func (j *jsonLines) Fail(text string, code int) {
	j.write(jsonEvent{Kind: "error", Error: text, Code: code})
}

// Close implements [Face].
func (j *jsonLines) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

func (j *jsonLines) write(e jsonEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.enc.Encode(e); err != nil && j.err == nil {
		j.err = err
	}
}
