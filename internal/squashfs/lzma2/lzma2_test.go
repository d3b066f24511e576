package lzma2

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	kernels "github.com/mikelolasagasti/xz" // a port of the kernel's decoder
	"github.com/ulikunitz/xz"

	"hookbuild/test/testneed"
)

// overhead is what a stream takes beside its chunks, and incompressible content
// adds three bytes for each chunk.
const overhead = 64

// unpackers are those of others.
func unpackers() map[string]func(stream []byte, dictionary int) (io.Reader, error) {
	return map[string]func(stream []byte, dictionary int) (io.Reader, error){
		"ulikunitz": func(stream []byte, _ int) (io.Reader, error) {
			return xz.ReaderConfig{SingleStream: true, DictCap: 4096}.NewReader(bytes.NewReader(stream))
		},
		"kernel": func(stream []byte, dictionary int) (io.Reader, error) {
			return kernels.NewReader(bytes.NewReader(stream), uint32(dictionary))
		},
	}
}

// roundTrip packs in, has others unpack it with no more of a dictionary than a
// block has, and gives the packed form.
func roundTrip(t testing.TB, e *Encoder, in []byte) []byte {
	t.Helper()
	packed, ok := bytes.CutPrefix(e.Encode([]byte("before"), in), []byte("before"))
	if !ok {
		t.Fatal("what stood in out is gone")
	}
	for name, unpack := range unpackers() {
		r, err := unpack(packed, e.size)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s: unpacking %d of %d bytes: %v", name, len(packed), len(in), err)
		}
		if !bytes.Equal(got, in) {
			t.Fatalf("%s: %d bytes come back as %d others", name, len(in), len(got))
		}
	}
	return packed
}

func noise(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// program gives executable code: the beginning of this test's own.
func program(t testing.TB, size int) []byte {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b[:min(size, len(b))]
}

// inputs are blocks of at most 1 MiB that are hard in one way or another.
func inputs(t testing.TB) map[string][]byte {
	rnd := rand.New(rand.NewPCG(3, 4))
	text := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog, ", 5000))
	words := sentences(rnd, 200<<10)
	all := map[string][]byte{
		"nothing": nil, "one byte": {7}, "two": {7, 7}, "eight": []byte("abcabcab"), "nine": []byte("abcabcabc"),
		"zeros": make([]byte, 1<<20), "text": text, "words": words, "program": program(t, 300<<10),
		"short noise": noise(rnd, 100), "noise of a chunk": noise(rnd, 64<<10), "and a byte": noise(rnd, 64<<10+1), "noise": noise(rnd, 300<<10),
	}
	var lengths []byte // every length of a match, at many distances
	phrase := noise(rnd, 300)
	for n := minMatch; n <= maxMatch+5; n++ {
		lengths = append(append(lengths, phrase[:n]...), noise(rnd, n%7+1)...)
	}
	all["lengths"] = lengths
	for _, edge := range []int{4, 128, 256, 4096, 64 << 10, 128 << 10, 1<<20 - 30} {
		for distance := max(edge-1, 4); distance <= edge+1; distance++ {
			far := append([]byte("a phrase that comes again"), noise(rnd, distance)...)
			copy(far[distance:], "a phrase that comes again")
			all[fmt.Sprintf("distance %d", distance)] = far
		}
	}
	var records []byte // with matches at several of the last distances, and bytes that changed
	for i := range 4000 {
		r := slices.Clone(phrase[:24+i%4])
		r[i%20], r[5] = byte(i), byte(i>>8)
		records = append(records, r...)
	}
	all["records"] = records
	// Chunks that are stored stand before, between and behind packed ones, and what
	// stands in them comes again.
	all["stored"] = bytes.Join([][]byte{all["noise"], text, all["noise"][1000:2000], words, noise(rnd, 70000), all["noise"][:100000], records, noise(rnd, 20)}, nil)
	all["packed, then stored"] = bytes.Join([][]byte{words, noise(rnd, 150000), make([]byte, 5000)}, nil)
	hardly := noise(rnd, 200<<10) // shrinks so little that chunks become full
	for i := range hardly {
		hardly[i] &= 0x7f
	}
	all["hardly"] = hardly
	return all
}

// sentences makes text of words that are more or less frequent.
func sentences(rnd *rand.Rand, size int) []byte {
	words := make([]string, 2000)
	for i := range words {
		w := noise(rnd, 2+rnd.IntN(8))
		for j := range w {
			w[j] = 'a' + w[j]%26
		}
		words[i] = string(w) + " "
	}
	var b []byte
	for len(b) < size {
		b = append(b, words[int(math.Pow(rnd.Float64(), 3)*float64(len(words)))]...)
	}
	return b[:size]
}

func TestRoundTrip(t *testing.T) {
	for name, in := range inputs(t) {
		t.Run(name, func(t *testing.T) {
			if n := len(roundTrip(t, NewEncoder(1<<20), in)); n > len(in)+len(in)/10000+overhead {
				t.Errorf("%d bytes become %d", len(in), n)
			}
		})
	}
}

// TestBlockSizes cuts programs and more into blocks of every size that squashfs
// has, which takes all dictionaries; the last one is shorter.
func TestBlockSizes(t *testing.T) {
	in := slices.Concat(inputs(t)["stored"], program(t, 600<<10))
	for size := 4 << 10; size <= 1<<20; size *= 2 {
		e := NewEncoder(size)
		part := in[:min(len(in), 5*size+999)]
		for block := range slices.Chunk(part, size) {
			roundTrip(t, e, block)
		}
	}
}

// TestShort packs everything that is shorter than what the finder looks at.
func TestShort(t *testing.T) {
	e := NewEncoder(4 << 10)
	for _, content := range []string{"aaaaaaaaaaaaaaaaaaaa", "abababababababababab", "abcdefghabcdefghabcd", "abcdefghijklmnopqrst"} {
		for n := range len(content) {
			roundTrip(t, e, []byte(content[:n]))
		}
	}
}

// TestEncoderForgets uses one encoder for many blocks: none shows in another.
func TestEncoderForgets(t *testing.T) {
	used := NewEncoder(1 << 20)
	for name, in := range inputs(t) {
		if len(in) > 400<<10 {
			continue // of which there are others
		}
		if got, want := used.Encode(nil, in), NewEncoder(1<<20).Encode(nil, in); !bytes.Equal(got, want) {
			t.Errorf("%s is packed otherwise by a used encoder", name)
		}
	}
}

// TestNumbersEnd goes on to where the numbers of places begin anew.
func TestNumbersEnd(t *testing.T) {
	in := program(t, 100<<10)
	want := NewEncoder(128<<10).Encode(nil, in)
	e := NewEncoder(128 << 10)
	e.Encode(nil, in)
	e.chunks.parser.finder.base = lastBase - 1
	for range 4 {
		if !bytes.Equal(e.Encode(nil, in), want) {
			t.Errorf("from %d on the result differs", e.chunks.parser.finder.base)
		}
	}
	if e.chunks.parser.finder.base > lastBase/2 {
		t.Error("numbers did not begin anew")
	}
}

func TestTooLong(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a block that is too long is taken")
		}
	}()
	NewEncoder(4<<10).Encode(nil, make([]byte, leastDictionary+1))
}

func TestXZUnpacks(t *testing.T) {
	tool := testneed.Tool(t, "xz")
	run := func(stream []byte, args ...string) []byte {
		cmd := exec.Command(tool, args...)
		cmd.Stdin = bytes.NewReader(stream)
		var diagnosis bytes.Buffer
		cmd.Stderr = &diagnosis
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("xz %q: %v: %s", args, err, &diagnosis)
		}
		return out
	}
	for name, in := range inputs(t) {
		if len(in) > 400<<10 {
			continue // of which there are others
		}
		packed := NewEncoder(1<<20).Encode(nil, in)
		if !bytes.Equal(run(packed, "-dc"), in) {
			t.Errorf("%s: xz unpacks something else", name)
		}
		run(packed, "-t")
	}
	for size, want := range map[int]string{4 << 10: "dict=8KiB", 128 << 10: "dict=128KiB", 200 << 10: "dict=256KiB", 1 << 20: "dict=1MiB"} {
		file := t.TempDir() + "/block.xz"
		if err := os.WriteFile(file, NewEncoder(size).Encode(nil, program(t, size)), 0o644); err != nil {
			t.Fatal(err)
		}
		if list := string(run(nil, "-lvv", file)); !strings.Contains(list, want) || !strings.Contains(list, "CRC32") {
			t.Errorf("no %s in %s", want, list)
		}
	}
}

func TestDictionaryBits(t *testing.T) {
	for bits, size := range []int{4 << 10, 6 << 10, 8 << 10, 12 << 10, 16 << 10, 24 << 10} { // section 5.3.1
		if got := dictionaryBits(size); int(got) != bits {
			t.Errorf("%d bytes have number %d, want %d", size, got, bits)
		}
		if got := dictionaryBits(size + 1); int(got) != bits+1 {
			t.Errorf("a byte more than %d has number %d, want %d", size, got, bits+1)
		}
	}
	if got := dictionaryBits(1 << 20); got != 16 {
		t.Errorf("1 MiB has number %d", got)
	}
}

// byLibrary packs with the encoder that this one replaced.
func byLibrary(t testing.TB, in []byte) int {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.WriterConfig{CheckSum: xz.CRC32, DictCap: max(len(in), 4096)}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(in); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

func TestSizes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for name, c := range map[string]struct {
		in    []byte
		saved float64
	}{"program": {program(t, 128<<10), 0.05}, "words": {sentences(rnd, 128<<10), 0.01}} {
		ours, library := len(NewEncoder(128<<10).Encode(nil, c.in)), byLibrary(t, c.in)
		t.Logf("%s: %d bytes, the library %d", name, ours, library)
		if float64(ours) > float64(library)*(1-c.saved) {
			t.Errorf("%s: %d bytes are not %.0f %% less than the library's %d", name, ours, 100*c.saved, library)
		}
	}
}

// TestSizeByXZ allows 2 % more than what xz makes: it is 0.4 % with programs.
func TestSizeByXZ(t *testing.T) {
	cmd := exec.Command(testneed.Tool(t, "xz"), "-6", "--check=crc32", "-c")
	in := program(t, 1<<20)
	cmd.Stdin = bytes.NewReader(in)
	theirs, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := NewEncoder(1<<20).Encode(nil, in)
	t.Logf("%d bytes, xz %d", len(ours), len(theirs))
	if len(ours) > len(theirs)*102/100 {
		t.Errorf("%d bytes, and xz makes %d", len(ours), len(theirs))
	}
}

// TestSlots compares with the table of distances that every description of LZMA
// has.
func TestSlots(t *testing.T) {
	starts := []uint32{0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384}
	for slot, start := range starts {
		if got := slotStart(uint32(slot)); got != start {
			t.Errorf("slot %d begins at %d, want %d", slot, got, start)
		}
		if slotOf(start) != uint32(slot) || start > 0 && slotOf(start-1) != uint32(slot)-1 {
			t.Errorf("%d is not the first of slot %d", start, slot)
		}
		if end := start + 1<<slotExtra(uint32(slot)); slot+1 < len(starts) && end != starts[slot+1] {
			t.Errorf("slot %d ends before %d", slot, end)
		}
	}
}

func TestLog2(t *testing.T) {
	for v := uint64(1); v < 1<<20; v = v*17/16 + 1 {
		if got, want := float64(log2(v))/(1<<priceBits), math.Log2(float64(v)); math.Abs(got-want) > 0.5/(1<<priceBits)+0.01 {
			t.Errorf("log2 of %d is %f, want %f", v, got, want)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, in := range inputs(f) {
		if len(in) < 1000 {
			f.Add(in, uint16(1), uint16(0))
		}
	}
	f.Add([]byte("some text that is repeated"), uint16(3000), uint16(100))
	f.Fuzz(func(t *testing.T, in []byte, times, random uint16) {
		in = bytes.Repeat(in, 1+min(int(times), 20000/(len(in)+1)))
		rnd := rand.New(rand.NewPCG(uint64(random), 7))
		for range min(int(random), len(in)) { // not the same again and again
			in[rnd.IntN(len(in))] ^= byte(rnd.Uint32())
		}
		in = append(in, noise(rnd, int(random)/4)...)
		roundTrip(t, NewEncoder(1<<bits.Len(uint(len(in)))), in)
	})
}

func BenchmarkEncode(b *testing.B) {
	rnd := rand.New(rand.NewPCG(8, 9))
	for name, in := range map[string][]byte{"program": program(b, 2<<20), "noise": noise(rnd, 1<<20)} {
		b.Run(name, func(b *testing.B) {
			e := NewEncoder(128 << 10)
			var out []byte
			size := 0
			for b.Loop() {
				size = 0
				for block := range slices.Chunk(in, 128<<10) {
					out = e.Encode(out[:0], block)
					size += len(out)
				}
			}
			b.SetBytes(int64(len(in)))
			b.ReportMetric(float64(size)/float64(len(in)), "ratio")
		})
	}
}
