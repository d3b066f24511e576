package deflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"hookbuild/test/testneed"
)

// roundTrip packs src, has Go's library unpack it, and gives the packed size.
func roundTrip(t testing.TB, e *Encoder, src []byte) int {
	t.Helper()
	packed := e.Encode([]byte("before"), src)
	packed, ok := bytes.CutPrefix(packed, []byte("before"))
	if !ok {
		t.Fatal("what stood in dst is gone")
	}
	r := bytes.NewReader(packed)
	got, err := io.ReadAll(flate.NewReader(r))
	if err != nil {
		t.Fatalf("unpacking %d of %d bytes: %v", len(packed), len(src), err)
	}
	if !bytes.Equal(got, src) {
		t.Fatalf("%d bytes come back as %d others", len(src), len(got))
	}
	if r.Len() > 0 {
		t.Fatalf("%d bytes follow the stream", r.Len())
	}
	return len(packed)
}

// inputs are blocks that are hard in one way or another.
func inputs() map[string][]byte {
	rnd := rand.New(rand.NewPCG(3, 4))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	all := map[string][]byte{
		"nothing": nil, "one byte": {7}, "eight": []byte("abcabcab"), "nine": []byte("abcabcabc"),
		"zeros": make([]byte, 1<<20), "noise": noise(300 << 10), "short noise": noise(100), "64 KiB of noise": noise(1<<16 - 1), "a byte more": noise(1 << 16),
		"text": []byte(strings.Repeat("the quick brown fox jumps over the lazy dog, ", 5000)),
	}
	var fibonacci []byte // counts that make the deepest tree
	for i, a, b := 0, 1, 1; i < 25; i, a, b = i+1, b, a+b {
		fibonacci = append(fibonacci, bytes.Repeat([]byte{byte(i)}, a)...)
	}
	rnd.Shuffle(len(fibonacci), func(i, j int) { fibonacci[i], fibonacci[j] = fibonacci[j], fibonacci[i] })
	all["fibonacci"] = fibonacci
	var lengths []byte // every length of a match, at many distances
	phrase := noise(300)
	for n := 3; n <= 259; n++ {
		lengths = append(append(lengths, phrase[:n]...), noise(n%7+1)...)
	}
	all["lengths"] = lengths
	for _, distance := range []int{window - 2, window - 1, window, window + 1} {
		far := append([]byte("a phrase that comes again"), noise(distance)...)
		copy(far[distance:], "a phrase that comes again")
		all[fmt.Sprintf("distance %d", distance)] = far
	}
	all["changes"] = bytes.Join([][]byte{all["text"], all["noise"], fibonacci, all["text"], make([]byte, 5000), noise(20)}, nil)
	return all
}

func TestRoundTrip(t *testing.T) {
	for name, src := range inputs() {
		t.Run(name, func(t *testing.T) {
			for level := 1; level <= MaxLevel; level++ {
				e := NewEncoder(level)
				if n := roundTrip(t, e, src); n > len(src)+len(src)/1000+12 {
					t.Errorf("level %d makes %d bytes of %d", level, n, len(src))
				}
			}
		})
	}
}

// TestEncoderForgets uses one encoder for many blocks: none shows in another.
func TestEncoderForgets(t *testing.T) {
	used := NewEncoder(5)
	for name, src := range inputs() {
		if got, want := used.Encode(nil, src), NewEncoder(5).Encode(nil, src); !bytes.Equal(got, want) {
			t.Errorf("%s is packed otherwise by a used encoder", name)
		}
	}
}

// TestZlibUnpacks has gzip, which is what the kernel's zlib comes from, unpack
// streams.
func TestZlibUnpacks(t *testing.T) {
	gzip := testneed.Tool(t, "gzip")
	for name, src := range inputs() {
		// A gzip header and no trailer: gzip complains of that only, at the end.
		cmd := exec.Command(gzip, "-dc")
		cmd.Stdin = bytes.NewReader(NewEncoder(5).Encode([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, src))
		out, err := cmd.Output()
		if err == nil || !bytes.Equal(out, src) {
			t.Errorf("%s: gzip unpacks %d of %d bytes, and says %v", name, len(out), len(src), err)
		}
	}
}

// TestSizes compares with Go's library on what is at hand: its own sources.
func TestSizes(t *testing.T) {
	src, err := os.ReadFile("match.go")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(src); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	last := len(src)
	for level := 1; level <= MaxLevel; level++ {
		n := roundTrip(t, NewEncoder(level), src)
		if n > last+last/100 {
			t.Errorf("level %d makes %d bytes, the one below %d", level, n, last)
		}
		last = n
	}
	if last > b.Len() {
		t.Errorf("level 9 makes %d bytes, Go's %d", last, b.Len())
	}
}

func TestSymbols(t *testing.T) {
	// By RFC 1951, section 3.2.5: the first length or distance of each symbol.
	lengths := []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	for i, first := range lengths {
		if got := lengthSymbol(first); got != 257+i {
			t.Errorf("length %d has symbol %d, want %d", first, got, 257+i)
		}
		if i+1 < len(lengths)-1 && 1<<lengthExtra(257+i) != lengths[i+1]-first {
			t.Errorf("symbol %d has %d extra bits", 257+i, lengthExtra(257+i))
		}
	}
	distances := []int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	for i, first := range distances {
		if got := distanceSymbol(first); got != i {
			t.Errorf("distance %d has symbol %d, want %d", first, got, i)
		}
		if i+1 < len(distances) && 1<<distanceExtra(i) != distances[i+1]-first {
			t.Errorf("symbol %d has %d extra bits", i, distanceExtra(i))
		}
	}
	if lengthSymbol(257) != 284 || lengthExtra(285) != 0 || distanceSymbol(32768) != 29 {
		t.Error("the last symbols are wrong")
	}
}

func TestLog2(t *testing.T) {
	for n := uint32(1); n < 1<<20; n = n*17/16 + 1 {
		got, want := float64(log2(n))/(1<<logBits), math.Log2(float64(n))
		if math.Abs(got-want) > 0.01 {
			t.Errorf("log2 of %d is %f, want %f", n, got, want)
		}
	}
}

// TestCodesFill proves that a code leaves no bits unused (but for one symbol)
// and is no longer than allowed.
func TestCodesFill(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		counts := make([]uint32, 2+rnd.IntN(litSymbols-2))
		used := 0
		for i := range counts {
			if rnd.IntN(3) > 0 {
				counts[i] = rnd.Uint32N(1 << rnd.IntN(28))
			}
			if counts[i] > 0 {
				used++
			}
		}
		longest := 15
		if used <= 128 {
			longest = 7 + rnd.IntN(9)
		}
		out := make([]code, len(counts))
		assign(out, counts, longest)
		sum := 0
		for i, c := range out {
			if (counts[i] > 0) != (c.length > 0) || int(c.length) > longest {
				t.Fatalf("%d occurrences have a code of %d bits", counts[i], c.length)
			}
			if c.length > 0 {
				sum += 1 << (15 - c.length)
			}
		}
		if used > 1 && sum != 1<<15 {
			t.Fatalf("the code of %d symbols of at most %d bits fills %d of %d", used, longest, sum, 1<<15)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, src := range inputs() {
		if len(src) < 1000 {
			f.Add(src, uint8(5), uint16(1))
		}
	}
	f.Add([]byte("some text that is repeated"), uint8(9), uint16(3000))
	f.Fuzz(func(t *testing.T, src []byte, level uint8, times uint16) {
		e := NewEncoder(1 + int(level%MaxLevel))
		for i := range src { // not the same again and again
			src[i] ^= byte(times)
		}
		roundTrip(t, e, bytes.Repeat(src, 1+min(int(times), 200000/(len(src)+1))))
	})
}
