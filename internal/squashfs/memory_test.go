package squashfs

import (
	"context"
	"io"
	"runtime"
	"sync"
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
	heap *peak
}

// peak is the largest heap that concurrent readers saw.
type peak struct {
	mu   sync.Mutex
	most uint64
}

func (p *peak) note() {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = max(p.most, stats.HeapInuse)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	before := w.read >> 22
	if w.read += int64(n); w.read>>22 != before {
		w.heap.note()
	}
	return n, err
}

func TestMemoryDoesNotGrowWithContent(t *testing.T) {
	const limit = 48 << 20
	heap := &peak{}
	tree := &initramfs.Tree{}
	for _, name := range []string{"a", "a twin"} {
		e := file(name, 64<<20, "some text, ")
		open := e.Open
		e.Open = func() (io.ReadCloser, error) {
			r, err := open()
			return io.NopCloser(&watched{Reader: r, heap: heap}), err
		}
		add(t, tree, e)
	}
	runtime.GC()
	if _, err := Write(context.Background(), nowhere{}, tree, Options{Jobs: 4, Level: 1}); err != nil {
		t.Fatal(err)
	}
	if heap.most > limit {
		t.Errorf("the heap grows to %d MiB", heap.most>>20)
	}
	t.Logf("%d MiB", heap.most>>20)
}
