package squashfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
)

// blocks returns contents that are difficult in various ways, the same in every
// run.
func blocks() map[string][]byte {
	random := rand.New(rand.NewPCG(3, 4))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	var words []byte // from a vocabulary, like text
	for len(words) < 100<<10 {
		words = fmt.Appendf(words, "word%d ", int(random.ExpFloat64()*200))
	}
	var records []byte // alike, except for some bytes
	for record := noise(40); len(records) < 64<<10; records = append(records, record...) {
		record[random.IntN(len(record))]++
	}
	far := append([]byte("a phrase that comes again"), noise(31<<10)...)
	far = append(far, far[:25]...)
	return map[string][]byte{
		"one byte": {7}, "zeros": make([]byte, 128<<10), "noise": noise(128 << 10), "a little noise": noise(100),
		"words": words, "records": records, "a phrase far behind": far,
		"mixed": bytes.Join([][]byte{words[:20<<10], noise(20 << 10), records[:30<<10], make([]byte, 5000), words[10<<10 : 50<<10]}, nil),
	}
}

// TestBlocksAreIndependent packs each block with a used and a new compressor:
// the result must not depend on which goroutine packs a block.
func TestBlocksAreIndependent(t *testing.T) {
	for _, c := range []Compression{Gzip, Zstd, XZ} {
		used := newTestCompressor(t, c)
		for range 2 {
			for name, in := range blocks() {
				want := pack(t, newTestCompressor(t, c), in)
				if got := pack(t, used, in); !bytes.Equal(got, want) {
					t.Errorf("%s: a used compressor packs %s into %d bytes, a new one into %d others", c, name, len(got), len(want))
				}
			}
		}
	}
}

// TestCodecs compares packed bytes with those recorded for each codec. If they
// differ on purpose, change the name in Codec and record it here, so that the
// cache does not use content packed under the old name.
func TestCodecs(t *testing.T) {
	recorded := map[string]string{
		"klauspost/compress 1": "2cdcf8e83d2b24cd",
		"hookbuild 2":          "5d786be1a5457650",
		"ulikunitz/xz 1":       "75c9551b59c4ab13",
	}
	for _, c := range []Compression{Gzip, Zstd, XZ} {
		sum := sha256.New()
		all := blocks()
		for _, name := range []string{"words", "records", "mixed", "a phrase far behind"} {
			sum.Write(pack(t, newTestCompressor(t, c), all[name]))
		}
		if got := hex.EncodeToString(sum.Sum(nil)[:8]); got != recorded[c.Codec()] {
			t.Errorf("%s: the blocks packed by codec %q have the hash %s, recorded is %q", c, c.Codec(), got, recorded[c.Codec()])
		}
	}
}

func newTestCompressor(t *testing.T, c Compression) compressor {
	t.Helper()
	comp, err := newCompressor(c, 0, 128<<10)
	if err != nil {
		t.Fatal(err)
	}
	return comp
}

// pack appends in, packed, to other bytes and checks that those are unchanged.
func pack(t *testing.T, comp compressor, in []byte) []byte {
	t.Helper()
	out, err := comp.compress(t.Context(), []byte("before"), in)
	if err != nil {
		t.Fatal(err)
	}
	packed, ok := bytes.CutPrefix(out, []byte("before"))
	if !ok {
		t.Fatal("the bytes in out are gone")
	}
	return packed
}
