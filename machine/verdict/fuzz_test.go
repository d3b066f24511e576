package verdict

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The verdict does not depend on how the console's bytes arrive, and what is kept of
// the console is bounded and harmless on a terminal.
func FuzzReader(f *testing.F) {
	for _, name := range []string{"testdata/hookos.txt", "testdata/little-memory.txt"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text[:min(len(text), 2<<10)], uint16(7))
	}
	f.Add([]byte("[    4.6] Run /init as init process\n\x1b[1\x1b[0m;2Hx\xff\x00\r\nlogin: "), uint16(1))
	f.Fuzz(func(t *testing.T, text []byte, size uint16) {
		whole := console(t, string(text))
		r := newReader(func() time.Duration { return time.Second })
		for part := range slices.Chunk(text, max(1, int(size))) {
			if _, err := r.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		r.Flush()
		judge := func(c *Console) []Check { return judge(c, network{}, found{}, 0, embedded, nil) }
		if diff := cmp.Diff(judge(whole), judge(&r.Console)); diff != "" {
			t.Error(diff)
		}
		last := whole.lastLines()
		if len(last) > keptLines {
			t.Errorf("%d lines are kept", len(last))
		}
		for _, line := range last {
			if len(line) > longestLine || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				t.Errorf("%d bytes are kept: %q", len(line), line)
			}
		}
	})
}

// Whatever a machine writes, the conversation ends or goes on, and what is kept of an
// answer is bounded.
func FuzzShell(f *testing.F) {
	f.Add("hookbuild-begin-1\nhookbuild-end-1 0\nhookbuild-begin-2\ndriver /sys/block/sda sd\nhookbuild-end-2 0\n")
	f.Add(strings.Repeat("hookbuild-begin-1\nhookbuild-end-1 0\n", 9))
	f.Add("hookbuild-begin-1\nhookbuild-end-1 99999999999999999999\nhookos login: ")
	f.Fuzz(func(t *testing.T, text string) {
		s := newShell([]Image{{"sha256:aa", []string{"a:1"}}})
		s.in = io.Discard
		now := time.Unix(0, 0)
		for line := range strings.Lines(text) {
			now = now.Add(probePeriod)
			s.step(now, line)
			s.line(time.Second, strings.TrimRight(line, "\n"))
			if len(s.lines) > mostLines+1 || (s.state == done) != (len(s.asks) == 0) {
				t.Fatalf("%d lines, %d questions in the state %d", len(s.lines), len(s.asks), s.state)
			}
		}
	})
}

// A capture has the machine's frame only if it has its address.
func FuzzSentBy(f *testing.F) {
	frame := make([]byte, 24+16+60)
	frame[24+8] = 60
	copy(frame[24+16+6:], address())
	f.Add(frame, int64(0))
	f.Add(frame[:50], int64(0))
	f.Add([]byte(strings.Repeat("\xff", 60)), int64(-1))
	f.Fuzz(func(t *testing.T, capture []byte, offset int64) {
		if sentBy(capture, offset, address()) && !strings.Contains(string(capture), string(address())) {
			t.Error("a frame without the address is taken for the machine's")
		}
	})
}
