package zstd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"

	library "github.com/klauspost/compress/zstd"

	"hookbuild/internal/initramfs/zstd"
	"hookbuild/test/testneed"
)

// contents returns contents that compress in different ways.
func contents() map[string][]byte {
	all := map[string][]byte{
		"empty":     nil,
		"a byte":    {7},
		"few bytes": []byte("initramfs"),
		"zeros":     make([]byte, 9<<20),
		"noise":     noise(3<<20, 1),
		"words":     words(5<<20, 2),
		"one job":   words(4<<20, 3),
	}
	// Matches that only a large window reaches.
	all["far"] = bytes.Join([][]byte{noise(3<<20, 4), words(1<<20, 5), noise(3<<20, 4)}, nil)
	// Blocks of every kind in sequence, cut at odd positions.
	var mixed []byte
	for i := range 60 {
		mixed = append(mixed, noise(1000+i*1777, uint64(i%5))...)
		mixed = append(mixed, words(50000+i*3001, uint64(i))...)
		mixed = append(mixed, make([]byte, i*911)...)
	}
	all["mixed"] = mixed
	return all
}

func noise(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func words(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, "%x of %s;", r.ExpFloat64(), []string{"kernel", "module", "firmware", "image"}[r.IntN(4)])
	}
	return b.Bytes()[:size]
}

func compress(t testing.TB, content []byte, o zstd.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zstd.NewWriter(t.Context(), &out, o)
	// In pieces of odd sizes.
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 77777)
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func decompress(t testing.TB, frame []byte, window uint64) []byte {
	t.Helper()
	r, err := library.NewReader(bytes.NewReader(frame), library.WithDecoderMaxWindow(window))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestLibraryReadsEveryLevel(t *testing.T) {
	for name, content := range contents() {
		t.Run(name, func(t *testing.T) {
			for _, level := range []int{0, 1, 3, 4, 9, 12, zstd.MaxLevel, 22} {
				if level > 9 && len(content) > 4<<20 {
					continue // takes too long
				}
				frame := compress(t, content, zstd.Options{Level: level, Window: 1 << 20, Jobs: 2})
				if back := decompress(t, frame, 1<<20); !bytes.Equal(back, content) {
					t.Errorf("level %d: the content differs", level)
				}
			}
		})
	}
}

func TestToolReadsEveryWindow(t *testing.T) {
	testneed.Tool(t, "zstd")
	content := contents()["mixed"]
	for _, window := range []int{0, 1 << 17, 1<<20 + 1, 3 << 20, 7<<20 - 5, zstd.MaxWindow, 1 << 30} {
		frame := compress(t, content, zstd.Options{Window: window, Jobs: 3})
		cmd := exec.Command("zstd", "-d", "-c", "--long=27")
		cmd.Stdin = bytes.NewReader(frame)
		back, err := cmd.Output()
		if err != nil || !bytes.Equal(back, content) {
			t.Errorf("window %d: %v, the content equals: %t", window, err, bytes.Equal(back, content))
		}
	}
}

func TestWindowIsKept(t *testing.T) {
	// The content is several times the window and the jobs' buffers.
	content := bytes.Join([][]byte{noise(3<<20, 1), words(20<<20, 2), noise(3<<20, 1), words(20<<20, 2)}, nil)
	small := compress(t, content, zstd.Options{Window: 1 << 20, Jobs: 1})
	if back := decompress(t, small, 1<<20); !bytes.Equal(back, content) {
		t.Error("the content differs with a small window")
	}
	large := compress(t, content, zstd.Options{Window: 64 << 20, Jobs: 1})
	if back := decompress(t, large, 64<<20); !bytes.Equal(back, content) {
		t.Error("the content differs with a large window")
	}
	if len(large) > len(small)*6/10 {
		t.Errorf("%d bytes with a window over everything, %d with a small one", len(large), len(small))
	}
}

func TestJobsDoNotDecideTheBytes(t *testing.T) {
	content := contents()["mixed"]
	for _, window := range []int{1 << 18, 32 << 20} {
		one := compress(t, content, zstd.Options{Window: window, Jobs: 1})
		for _, jobs := range []int{2, 7} {
			if !bytes.Equal(one, compress(t, content, zstd.Options{Window: window, Jobs: jobs})) {
				t.Errorf("window %d: the output of %d jobs differs from that of one", window, jobs)
			}
		}
	}
}

func TestSmallerThanTheLibrary(t *testing.T) {
	content := contents()["far"]
	var theirs bytes.Buffer
	w, err := library.NewWriter(&theirs, library.WithEncoderLevel(library.SpeedBetterCompression), library.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if ours := compress(t, content, zstd.Options{Window: 8 << 20, Jobs: 1}); len(ours) > theirs.Len()*102/100 {
		t.Errorf("%d bytes, the library's %d", len(ours), theirs.Len())
	}
}

// fullDisk accepts a number of bytes and no more.
type fullDisk struct{ left int }

var errFull = errors.New("no space left")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrorsComeBack(t *testing.T) {
	for _, left := range []int{0, 6, 1 << 20} {
		w := zstd.NewWriter(t.Context(), &fullDisk{left}, zstd.Options{Jobs: 2})
		_, err := w.Write(noise(40<<20, 1))
		if cerr := w.Close(); !errors.Is(cerr, errFull) {
			t.Errorf("%d bytes of room: closing returned %v", left, cerr)
		}
		if err != nil && !errors.Is(err, errFull) {
			t.Errorf("%d bytes of room: writing returned %v", left, err)
		}
	}
}

// TestCancelledWriterStops checks that a writer whose context ended compresses
// nothing more of what it has, even what was to be a job of its own.
func TestCancelledWriterStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	w := zstd.NewWriter(ctx, &out, zstd.Options{Level: zstd.MaxLevel, Jobs: 2})
	if _, err := w.Write(noise(3<<20, 1)); err != nil { // less than a job
		t.Fatal(err)
	}
	cancel()
	if err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("closing returned %v", err)
	}
	if out.Len() > 1<<10 {
		t.Errorf("%d bytes were written after the end", out.Len())
	}
	content := noise(1<<20, 1)
	if frame := zstd.NewEncoder(zstd.MaxLevel, len(content)).Encode(ctx, nil, content); len(frame) > 1<<10 {
		t.Errorf("an encoder whose context ended wrote %d bytes", len(frame))
	}
}

func TestClosedWriterRefuses(t *testing.T) {
	w := zstd.NewWriter(t.Context(), io.Discard, zstd.Options{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, zstd.ErrClosed) {
		t.Errorf("writing returned %v", err)
	}
	if err := w.Close(); !errors.Is(err, zstd.ErrClosed) {
		t.Errorf("closing again returned %v", err)
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, level := range []byte{0, 1, 4, 9} {
		f.Add([]byte("abcabcabcabcabcabcabcabcabcabcabcabc"), level, uint16(3))
		f.Add(words(3000, uint64(level)), level, uint16(200))
		f.Add(noise(500, uint64(level)), level, uint16(900))
	}
	f.Fuzz(func(t *testing.T, seed []byte, level byte, times uint16) {
		// Repeated with changes, so that blocks, jobs and matches occur.
		var content []byte
		for i := range int(times) {
			content = append(content, seed...)
			content = append(content, byte(i), byte(i>>8))
			if len(content) > 6<<20 {
				break
			}
		}
		frame := compress(t, content, zstd.Options{Level: int(level % 10), Jobs: 2})
		if !bytes.Equal(decompress(t, frame, zstd.MinWindow), content) {
			t.Error("the content differs")
		}
	})
}

// BenchmarkWriter compares with the library on content like a root file
// system's: programs with shared parts far apart.
func BenchmarkWriter(b *testing.B) {
	content := bytes.Join([][]byte{words(8<<20, 1), noise(8<<20, 2), words(8<<20, 1), noise(8<<20, 2)}, nil)
	b.Run("hookbuild", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			b.ReportMetric(float64(len(compress(b, content, zstd.Options{Window: 32 << 20, Jobs: 2})))/float64(len(content)), "of-content")
		}
	})
	b.Run("library", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			var out bytes.Buffer
			w, err := library.NewWriter(&out, library.WithWindowSize(32<<20), library.WithEncoderConcurrency(2))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := w.Write(content); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(out.Len())/float64(len(content)), "of-content")
		}
	})
}
