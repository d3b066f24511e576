package initramfs

import (
	"context"
	"io"
	"runtime"
	"testing"
)

// heapReader returns endless bytes and records the largest heap seen meanwhile.
type heapReader struct {
	read int64
	most uint64
}

func (h *heapReader) Read(p []byte) (int, error) {
	before := h.read >> 23
	for i := range p {
		p[i] = byte(h.read>>3) ^ byte(i&7)
	}
	h.read += int64(len(p))
	if h.read>>23 != before {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		h.most = max(h.most, stats.HeapInuse)
	}
	return len(p), nil
}

func (h *heapReader) Close() error { return nil }

func TestMemoryDoesNotGrowWithContent(t *testing.T) {
	const size, limit = 300 << 20, 160 << 20
	for _, c := range []Compression{None, Gzip, Zstd} {
		content := &heapReader{}
		tree := &Tree{}
		if err := tree.Add(Entry{Path: "big", Size: size, Open: func() (io.ReadCloser, error) { return &limited{content, size}, nil }}); err != nil {
			t.Fatal(err)
		}
		if err := WriteSegment(context.Background(), io.Discard, tree, SegmentOptions{Compression: c, Jobs: 4, Level: 1}); err != nil {
			t.Fatal(err)
		}
		if content.most > limit {
			t.Errorf("%s: the heap grows to %d MiB", c, content.most>>20)
		}
		t.Logf("%s: %d MiB", c, content.most>>20)
	}
}

// limited is io.LimitReader with a Close.
type limited struct {
	*heapReader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.heapReader.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
