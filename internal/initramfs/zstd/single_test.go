package zstd_test

import (
	"bytes"
	"os/exec"
	"testing"

	library "github.com/klauspost/compress/zstd"

	"hookbuild/internal/initramfs/zstd"
	"hookbuild/test/testneed"
)

// checkSized decompresses a frame with no more memory than its content takes.
func checkSized(t *testing.T, frame, content []byte) {
	t.Helper()
	var h library.Header
	if err := h.Decode(frame); err != nil {
		t.Fatal(err)
	}
	if !h.SingleSegment || h.FrameContentSize != uint64(len(content)) {
		t.Errorf("of %d bytes: the header is %+v", len(content), h)
	}
	if back := decompress(t, frame, max(uint64(len(content)), 1<<10)); !bytes.Equal(back, content) {
		t.Errorf("of %d bytes: the content differs", len(content))
	}
}

func TestEncoderMakesFramesOfTheirOwn(t *testing.T) {
	tool := testneed.Tool(t, "zstd")
	mixed := contents()["mixed"]
	for _, level := range []int{1, 3, 9, zstd.MaxLevel} {
		e := zstd.NewEncoder(level, 1<<20)
		for _, size := range []int{0, 1, 15, 255, 256, 65791, 65792, 1 << 17, 1<<17 + 1, 1 << 20} {
			frame := e.Encode(t.Context(), []byte("before"), mixed[size:][:size])[len("before"):]
			checkSized(t, frame, mixed[size:][:size])
			if other := zstd.NewEncoder(level, 1<<20).Encode(t.Context(), nil, mixed[size:][:size]); !bytes.Equal(other, frame) {
				t.Errorf("level %d, %d bytes: the output depends on what was encoded before", level, size)
			}
			cmd := exec.Command(tool, "-d", "-c")
			cmd.Stdin = bytes.NewReader(frame)
			if back, err := cmd.Output(); err != nil || !bytes.Equal(back, mixed[size:][:size]) {
				t.Errorf("level %d, %d bytes: the tool says %v", level, size, err)
			}
		}
	}
}

func FuzzEncoder(f *testing.F) {
	f.Add([]byte("abcabcabcabcabcabcabcabcabcabcabcabc"), byte(3))
	f.Add(words(3000, 1), byte(9))
	f.Add(noise(500, 1), byte(12))
	f.Fuzz(func(t *testing.T, content []byte, level byte) {
		e := zstd.NewEncoder(int(level%zstd.MaxLevel), len(content))
		for range 2 {
			checkSized(t, e.Encode(t.Context(), nil, content), content)
		}
	})
}
