package squashfs

import (
	"context"
	"io"
	"runtime"
	"testing"

	"hookbuild/internal/initramfs"
)

// nowhere discards an image.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// watched is content that records the largest heap seen while it is read.
type watched struct {
	io.Reader
	read int64
	most *uint64
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	before := w.read >> 22
	if w.read += int64(n); w.read>>22 != before {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		*w.most = max(*w.most, stats.HeapInuse)
	}
	return n, err
}

func TestMemoryDoesNotGrowWithContent(t *testing.T) {
	const limit = 48 << 20
	var most uint64
	tree := &initramfs.Tree{}
	for _, name := range []string{"a", "a twin"} {
		e := file(name, 64<<20, "some text, ")
		open := e.Open
		e.Open = func() (io.ReadCloser, error) {
			r, err := open()
			return io.NopCloser(&watched{Reader: r, most: &most}), err
		}
		add(t, tree, e)
	}
	runtime.GC()
	if _, err := Write(context.Background(), nowhere{}, tree, Options{Jobs: 4, Level: 1}); err != nil {
		t.Fatal(err)
	}
	if most > limit {
		t.Errorf("the heap grows to %d MiB", most>>20)
	}
	t.Logf("%d MiB", most>>20)
}
