package main

import (
	"encoding/json"
	"io"
	"sync"

	"hookbuild/internal/progress"
)

// jsonFace writes one JSON object a line for a program to read. Advances are
// left out: a finished task tells its bytes.
type jsonFace struct {
	mu  sync.Mutex
	enc *json.Encoder
	err error
}

type jsonEvent struct {
	Kind  string `json:"kind"`
	ID    uint64 `json:"id,omitempty"`
	Task  string `json:"task,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
}

func newJSONFace(w io.Writer) *jsonFace { return &jsonFace{enc: json.NewEncoder(w)} }

// Report implements [progress.Sink].
func (j *jsonFace) Report(e progress.Event) {
	names := map[progress.Kind]string{
		progress.Started: "started", progress.Finished: "finished", progress.Failed: "failed",
		progress.Note: "note", progress.Warning: "warning", progress.Output: "output",
	}
	name, ok := names[e.Kind]
	if !ok {
		return
	}
	out := jsonEvent{Kind: name, ID: e.ID, Task: e.Task, Bytes: e.Done, Text: e.Text}
	if e.Err != nil {
		out.Error = e.Err.Error()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.enc.Encode(out); err != nil && j.err == nil {
		j.err = err
	}
}

// Close implements face; it gives the first fault in writing.
func (j *jsonFace) Close() error { return j.err }
