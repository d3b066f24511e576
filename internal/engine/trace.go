package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// traceID marks the messages of the engine's stream that carry one of
// BuildKit's, a serialised moby.buildkit.v1.StatusResponse.
const traceID = "moby.buildkit.trace"

// keptLines is the number of lines of a step's output that an error quotes.
const keptLines = 15

// message is a message of the engine's stream about a long operation.
type message struct {
	ID     string          `json:"id"`
	Status string          `json:"status"`
	Aux    json.RawMessage `json:"aux"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
	// Progress counts the bytes transferred of a layer.
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
}

// trace follows a build.
type trace struct {
	task *progress.Task
	// begun records the steps that have been reported, by digest, and tails the
	// last lines of their output.
	begun map[string]bool
	tails map[string][]string
	// failed is the step whose error ended the build.
	failed *vertex
}

// read reports a build's stream until it ends, and returns the build's error.
func (t *trace) read(stream io.Reader) error {
	t.begun, t.tails = map[string]bool{}, map[string][]string{}
	dec := json.NewDecoder(stream)
	for {
		var m message
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fault.Outsidef("following the build: %w", err)
		}
		switch {
		case m.Error != nil:
			return t.failure(errors.New(m.Error.Message))
		case m.ID == traceID:
			if err := t.status(m.Aux); err != nil {
				return fmt.Errorf("following the build: %w", err)
			}
		}
	}
}

func (t *trace) status(aux json.RawMessage) error {
	var raw []byte
	if err := json.Unmarshal(aux, &raw); err != nil {
		return err
	}
	status, err := parseStatus(raw)
	if err != nil {
		return err
	}
	for _, v := range status.vertexes {
		t.step(v)
	}
	for _, l := range status.logs {
		t.output(l.vertex, l.text)
	}
	return nil
}

func (t *trace) step(v vertex) {
	if v.err != "" && t.failed == nil {
		t.failed = &v
	}
	if !v.started || t.begun[v.digest] || strings.HasPrefix(v.name, "[internal]") {
		return
	}
	t.begun[v.digest] = true
	name := v.name
	if v.cached {
		name += " (cached)"
	}
	t.task.Output(name)
}

func (t *trace) output(step, text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		t.task.Output(line)
		tail := append(slices.Clip(t.tails[step]), line)
		t.tails[step] = tail[max(0, len(tail)-keptLines):]
	}
}

// failure wraps the build's error with the failed step and its output.
func (t *trace) failure(err error) error {
	if t.failed == nil {
		return err
	}
	if image := fetchedImage(t.failed.name); image != "" {
		return fault.Outsidef("the Docker Engine could not fetch the base image %q: %s; "+
			"the engine needs that registry, or its proxy, or the image itself from `docker load`", image, withoutWrapping(err.Error()))
	}
	text := fmt.Sprintf("step %q", t.failed.name)
	if tail := t.tails[t.failed.digest]; len(tail) > 0 {
		return fmt.Errorf("%s: %w; its last output:\n%s", text, err, strings.Join(tail, "\n"))
	}
	return fmt.Errorf("%s: %w", text, err)
}

// fetchedImage returns the image that a step fetches from a registry, or "" if it does
// something else.
func fetchedImage(step string) string {
	for _, start := range []string{"[internal] load metadata for ", "resolve image config for "} {
		if image, found := strings.CutPrefix(step, start); found {
			return strings.TrimPrefix(image, "docker-image://")
		}
	}
	stage, image, found := strings.Cut(step, "] ") // "[1/2] FROM x", "[name 1/2] FROM x"
	if !found || !strings.HasPrefix(stage, "[") || !strings.HasPrefix(image, "FROM ") {
		return ""
	}
	return strings.TrimPrefix(image, "FROM ")
}

// withoutWrapping removes what BuildKit says of its own layers before an error.
func withoutWrapping(text string) string {
	for _, wrapping := range []string{"failed to create LLB definition: ", "failed to do request: "} {
		if _, cause, found := strings.Cut(text, wrapping); found {
			text = cause
		}
	}
	return strings.TrimPrefix(text, "failed to solve: ")
}
