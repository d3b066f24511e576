package face

import (
	"encoding/json"
	"sync"

	"hookbuild/internal/progress"
)

// jsonLines writes one JSON object a line, for programs. It leaves out advances,
// because a finished task has its bytes. The error that ends the command is the last
// object, of kind "error".
type jsonLines struct {
	mu  sync.Mutex
	enc *json.Encoder
	err error
}

type jsonEvent struct {
	Kind  string `json:"kind"`
	ID    uint64 `json:"id,omitempty"`
	Task  string `json:"task,omitempty"`
	Stage string `json:"stage,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
	Code  int    `json:"code,omitempty"` // the exit code
}

func newJSON(o Options) *jsonLines { return &jsonLines{enc: json.NewEncoder(o.Writer)} }

// Report implements [progress.Sink].
func (j *jsonLines) Report(e progress.Event) {
	names := map[progress.Kind]string{
		progress.Started: "started", progress.Finished: "finished", progress.Failed: "failed", progress.Cancelled: "cancelled",
		progress.Note: "note", progress.Warning: "warning", progress.Output: "output",
	}
	name, ok := names[e.Kind]
	if !ok {
		return
	}
	out := jsonEvent{Kind: name, ID: e.ID, Task: e.Task, Stage: e.Stage, Bytes: e.Done, Text: e.Text}
	if e.Err != nil {
		out.Error = e.Err.Error()
	}
	j.write(out)
}

// Settle implements [Face].
func (j *jsonLines) Settle() error { return nil }

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
