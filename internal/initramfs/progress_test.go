package initramfs

import (
	"io"
	"testing"

	"hookbuild/internal/progress"
)

// lastEvent keeps the last event.
type lastEvent struct{ progress.Event }

func (l *lastEvent) Report(e progress.Event) { l.Event = e }

// TestWriteSegmentCounts writes files and compares what the task was told.
func TestWriteSegmentCounts(t *testing.T) {
	var seen lastEvent
	tree := bigTree(t, 100)
	task := progress.Start(&seen, 0, "write")
	if err := WriteSegment(t.Context(), io.Discard, tree, SegmentOptions{Task: task}); err != nil {
		t.Fatal(err)
	}
	_ = task.End(nil, "")
	if seen.Total == 0 || seen.Done != seen.Total || seen.Total != tree.contentSize() {
		t.Errorf("%d of %d bytes, want %d", seen.Done, seen.Total, tree.contentSize())
	}
}
