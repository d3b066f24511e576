// Package deflate compresses single blocks of up to a few MiB into raw deflate
// streams (RFC 1951).
//
// It exists because an image of programs must not become larger than what
// mksquashfs makes with zlib: the encoders of Go's library and of
// klauspost/compress look for no matches of three bytes and cut their blocks at
// fixed lengths, which costs 2 to 3 % there. Knowing a block whole, [Encoder]
// does both, in less time than zlib. It writes no streams; those are what the
// libraries are for.
package deflate

// Encoder compresses blocks one after the other. It is not safe for concurrent
// use.
type Encoder struct {
	matcher matcher
	tokens  []token
	blocks  []span
	bits    bitWriter
	codes   codes
	writers writers
	symbols *symbols
}

// MaxLevel is the level that takes the longest.
const MaxLevel = 9

// NewEncoder makes an encoder. Level, from 1 to MaxLevel, is how long it looks
// for matches; 4 packs about as well as zlib's 6.
func NewEncoder(level int) *Encoder {
	efforts := [...]struct{ depth, nice int }{{2, 8}, {4, 16}, {8, 16}, {8, 32}, {16, 48}, {28, 64}, {64, 128}, {200, maxMatch}, {1000, maxMatch}}
	e := efforts[min(max(level, 1), MaxLevel)-1]
	return &Encoder{matcher: matcher{depth: e.depth, nice: e.nice}, symbols: newSymbols()}
}

// Encode appends the stream that src compresses to, to dst.
func (e *Encoder) Encode(dst, src []byte) []byte {
	e.cut(src)
	e.bits = bitWriter{out: dst}
	for i := range e.blocks {
		b := &e.blocks[i]
		e.writeBlock(b, src, i == len(e.blocks)-1)
		src = src[b.counts.bytes:]
	}
	return e.bits.end()
}
