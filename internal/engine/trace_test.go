package engine

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"hookbuild/internal/progress"

	"github.com/google/go-cmp/cmp"
	control "github.com/moby/buildkit/api/services/control"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type lines []string

func (l *lines) Report(e progress.Event) {
	if e.Kind == progress.Output {
		*l = append(*l, e.Text)
	}
}

// stream is what an Engine would send for the statuses and what follows.
func stream(t *testing.T, rest string, statuses ...*control.StatusResponse) string {
	t.Helper()
	var b strings.Builder
	for _, s := range statuses {
		raw, err := proto.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "{\"id\":%q,\"aux\":%q}\n", traceID, base64.StdEncoding.EncodeToString(raw))
	}
	return b.String() + rest
}

func TestTrace(t *testing.T) {
	now := timestamppb.Now()
	begin := &control.StatusResponse{Vertexes: []*control.Vertex{
		{Digest: "a", Name: "[internal] load", Started: now},
		{Digest: "b", Name: "[1/2] FROM x", Started: now, Cached: true},
		{Digest: "c", Name: "[2/2] RUN make", Started: now},
		{Digest: "d", Name: "[3/3] COPY"}, // not begun yet
	}}
	output := &control.StatusResponse{
		Vertexes: []*control.Vertex{{Digest: "c", Name: "[2/2] RUN make", Started: now}},
		Logs:     []*control.VertexLog{{Vertex: "c", Msg: []byte("one\ntwo\n")}},
	}
	failed := &control.StatusResponse{Vertexes: []*control.Vertex{{Digest: "c", Name: "[2/2] RUN make", Started: now, Error: "exit code: 2"}}}
	wantLines := lines{"[1/2] FROM x (cached)", "[2/2] RUN make", "one", "two"}

	var said lines
	tr := &trace{task: progress.Start(&said, 0, "build")}
	if err := tr.read(strings.NewReader(stream(t, `{"id":"moby.image.id","aux":{"ID":"x"}}`, begin, output))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantLines, said); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}

	tr = &trace{task: progress.Start(nil, 0, "build")}
	err := tr.read(strings.NewReader(stream(t, `{"errorDetail":{"message":"it did not work"},"error":"it did not work"}`, begin, output, failed)))
	if want := "step \"[2/2] RUN make\": it did not work; its last output:\none\ntwo"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
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
	if err := followPush(strings.NewReader(text), task); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines{"The push refers to x", "a: Pushed"}, said); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	err := followPush(strings.NewReader(`{"errorDetail":{"message":"denied"}}`), task)
	if err == nil || err.Error() != "denied" {
		t.Errorf("%v", err)
	}
}
