package engine

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

type lines []string

func (l *lines) Report(e progress.Event) {
	if e.Kind == progress.Output {
		*l = append(*l, e.Text)
	}
}

// serialised encodes a status as BuildKit sends it, including fields that
// parseStatus ignores.
func serialised(s status) []byte {
	text := func(b []byte, number protowire.Number, v string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), v)
	}
	var b []byte
	for _, v := range s.vertexes {
		m := text(text(text(nil, 1, v.digest), 2, "an input"), 3, v.name)
		if v.cached {
			m = protowire.AppendVarint(protowire.AppendTag(m, 4, protowire.VarintType), 1)
		}
		if v.started {
			m = text(m, 5, "\x08\x01")
		}
		if v.err != "" {
			m = text(m, 7, v.err)
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), m)
	}
	for _, l := range s.logs {
		m := protowire.AppendVarint(protowire.AppendTag(text(nil, 1, l.vertex), 3, protowire.VarintType), 1)
		b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), text(m, 4, l.text))
	}
	return b
}

// stream returns what an engine would send for the statuses, followed by rest.
func stream(t *testing.T, rest string, statuses ...status) string {
	t.Helper()
	var b strings.Builder
	for _, s := range statuses {
		raw := serialised(s)
		fmt.Fprintf(&b, "{\"id\":%q,\"aux\":%q}\n", traceID, base64.StdEncoding.EncodeToString(raw))
	}
	return b.String() + rest
}

func TestTrace(t *testing.T) {
	begin := status{vertexes: []vertex{
		{digest: "a", name: "[internal] load", started: true},
		{digest: "b", name: "[1/2] FROM x", started: true, cached: true},
		{digest: "c", name: "[2/2] RUN make", started: true},
		{digest: "d", name: "[3/3] COPY"}, // not started yet
	}}
	printed := status{
		vertexes: []vertex{{digest: "c", name: "[2/2] RUN make", started: true}},
		logs:     []output{{vertex: "c", text: "one\ntwo\n"}},
	}
	failed := status{vertexes: []vertex{{digest: "c", name: "[2/2] RUN make", started: true, err: "exit code: 2"}}}
	wantLines := lines{"[1/2] FROM x (cached)", "[2/2] RUN make", "one", "two"}

	var said lines
	tr := &trace{task: progress.Start(&said, 0, "build")}
	if err := tr.read(strings.NewReader(stream(t, `{"id":"moby.image.id","aux":{"ID":"x"}}`, begin, printed))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantLines, said); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}

	tr = &trace{task: progress.Start(nil, 0, "build")}
	err := tr.read(strings.NewReader(stream(t, `{"errorDetail":{"message":"it did not work"},"error":"it did not work"}`, begin, printed, failed)))
	if want := "step \"[2/2] RUN make\": it did not work; its last output:\none\ntwo"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// An image that the engine cannot fetch is not a failed step of the Dockerfile.
func TestTraceOfAFetch(t *testing.T) {
	// The engines' words: 20.10 and 28.
	const (
		old   = `failed to solve with frontend dockerfile.v0: failed to create LLB definition: failed to do request: Head "https://r.invalid/v2/": no such host`
		newer = `failed to solve: r.invalid/base:1: failed to resolve source metadata for r.invalid/base:1: failed to do request: Head "https://r.invalid/v2/": no such host`
		none  = "failed to solve: r.invalid/base:1: not found"
	)
	for _, c := range []struct{ step, says, image, cause string }{
		{"[internal] load metadata for r.invalid/base:1", old, "r.invalid/base:1", `Head "https://r.invalid/v2/": no such host`},
		{"[internal] load metadata for r.invalid/base:1", newer, "r.invalid/base:1", `Head "https://r.invalid/v2/": no such host`},
		{"resolve image config for docker-image://docker.io/docker/dockerfile:1", none, "docker.io/docker/dockerfile:1", "r.invalid/base:1: not found"},
		{"[stage 1/2] FROM r.invalid/base:1@sha256:00", none, "r.invalid/base:1@sha256:00", "r.invalid/base:1: not found"},
	} {
		failed := status{vertexes: []vertex{{digest: "a", name: c.step, started: true, err: c.says}}}
		tr := &trace{task: progress.Start(nil, 0, "build")}
		err := tr.read(strings.NewReader(stream(t, fmt.Sprintf(`{"errorDetail":{"message":%q}}`, c.says), failed)))
		want := fmt.Sprintf("could not fetch the base image %q: %s; ", c.image, c.cause)
		if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "docker load") {
			t.Errorf("%s: %v; want an error from outside with %s", c.step, err, want)
		}
	}
	if image := fetchedImage("[2/2] RUN echo ] FROM x"); image != "" {
		t.Errorf("a step that runs fetches %q", image)
	}
}

func TestTraceHostile(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":      "<html>",
		"cut":           `{"id":"x"`,
		"not base64":    `{"id":"moby.buildkit.trace","aux":"@@"}`,
		"not a message": `{"id":"moby.buildkit.trace","aux":"` + base64.StdEncoding.EncodeToString([]byte("\xff\xff\xff")) + `"}`,
		"no aux":        `{"id":"moby.buildkit.trace"}`,
		"an error":      `{"errorDetail":{"message":"broken"}}`,
	} {
		tr := &trace{task: progress.Start(nil, 0, "build")}
		if err := tr.read(strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzTrace reads one message of BuildKit's, and the same bytes as the stream.
func FuzzTrace(f *testing.F) {
	f.Add(serialised(status{vertexes: []vertex{{digest: "a", name: "RUN make", started: true, err: "exit code: 2"}}, logs: []output{{"a", "one\ntwo\n"}}}))
	f.Add([]byte(`{"id":"moby.buildkit.trace","aux":""}{"errorDetail":{"message":"broken"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		message := fmt.Sprintf("{\"id\":%q,\"aux\":%q}", traceID, base64.StdEncoding.EncodeToString(raw))
		_, wrong := parseStatus(raw)
		if err := (&trace{task: progress.Start(nil, 0, "build")}).read(strings.NewReader(message)); (err == nil) != (wrong == nil) {
			t.Errorf("the stream gives %v, the message %v", err, wrong)
		}
		_ = (&trace{task: progress.Start(nil, 0, "build")}).read(bytes.NewReader(raw))
	})
}

func TestTraceKeepsTheLastLines(t *testing.T) {
	tr := &trace{task: progress.Start(nil, 0, "build"), tails: map[string][]string{}}
	for i := range 100 {
		tr.output("a", fmt.Sprintf("%d\n", i))
	}
	if tail := tr.tails["a"]; len(tail) != keptLines || tail[keptLines-1] != "99" {
		t.Errorf("kept %q", tail)
	}
}

func TestFollowPush(t *testing.T) {
	var said lines
	task := progress.Start(&said, 0, "push")
	text := `{"status":"The push refers to x"}{"id":"a","status":"Pushing","progressDetail":{"current":1,"total":2}}{"id":"a","status":"Pushed","progressDetail":{}}`
	if err := follow(strings.NewReader(text), task.Output); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines{"The push refers to x", "a: Pushed"}, said); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	err := follow(strings.NewReader(`{"errorDetail":{"message":"denied"}}`), task.Output)
	if err == nil || err.Error() != "denied" {
		t.Errorf("%v", err)
	}
}
