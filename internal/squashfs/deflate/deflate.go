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

// Level is how long [Encoder] looks for matches, in the sense of zlib's levels.
type Level struct {
	depth int // candidates to try for a match
	nice  int // a match of this length is good enough
}

// Levels gives the efforts by zlib's numbers from 1 to 9, which they resemble
// in size.
func Levels() []Level {
	return []Level{1: {2, 8}, 2: {4, 16}, 3: {8, 16}, 4: {12, 32}, 5: {16, 48}, 6: {28, 64}, 7: {64, 128}, 8: {200, 258}, 9: {1000, 258}}
}

// Encoder compresses blocks one after the other. It is not safe for concurrent
// use.
type Encoder struct {
	matcher matcher
	tokens  []token
	blocks  []span
	bits    bitWriter
	codes   codes
}

// NewEncoder makes an encoder of the level.
func NewEncoder(l Level) *Encoder {
	return &Encoder{matcher: matcher{depth: l.depth, nice: l.nice}}
}

// Encode appends the stream that src compresses to, to dst.
func (e *Encoder) Encode(dst, src []byte) []byte {
	e.tokens = e.matcher.parse(e.tokens[:0], src)
	e.blocks = split(e.blocks[:0], e.tokens)
	e.bits = bitWriter{out: dst}
	for i := range e.blocks {
		b := &e.blocks[i]
		e.writeBlock(b, src, i == len(e.blocks)-1)
		src = src[b.counts.bytes:]
	}
	return e.bits.end()
}
