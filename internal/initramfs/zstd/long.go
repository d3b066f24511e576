package zstd

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"
)

// copied is a match in the buffer: [start, end) equals the bytes at the given
// distance before it.
type copied struct{ start, end, distance int }

const (
	// leastLong is the shortest long match in bytes, and also the number of
	// bytes whose hash decides whether a position is sampled.
	leastLong = 64
	// chosenBits makes one in 64 positions a sampled one.
	chosenBits = 6
	// bucket is the number of positions remembered for one hash.
	bucket = 4
)

// longFinder finds long matches over the whole window. It remembers only
// sampled positions: those where a rolling hash of the preceding bytes has
// certain bits set. So equal bytes lead to the same samples wherever they are.
type longFinder struct {
	window  int
	rolls   [256]uint64
	hash    uint64
	shift   uint
	memory  buffer  // of places
	places  []place // buckets, latest place first
	last    copied
	dropped int // bytes of the frame before the buffer
	chosen  []choice
	found   []copied
	// touched keeps the compiler from removing reads whose value is not needed.
	touched place
}

// place is a sampled position, counted from the beginning of the frame, in its
// low placeBits, with more of its hash above them.
type place uint32

const placeBits = 28 // exceeds any window

func newLongFinder(window int) *longFinder {
	f := &longFinder{window: window}
	// Any random-looking numbers do (splitmix64).
	seed := uint64(0)
	for i := range f.rolls {
		seed += 0x9e3779b97f4a7c15
		z := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		f.rolls[i] = z ^ z>>31
	}
	buckets := 1
	for f.shift = 64; buckets < window>>(chosenBits+1); f.shift-- {
		buckets <<= 1
	}
	f.memory = newBuffer(buckets * bucket * int(unsafe.Sizeof(place(0))))
	f.places = unsafe.Slice((*place)(unsafe.Pointer(&f.memory.all[0])), buckets*bucket) //nolint:gosec // the memory has that size
	return f
}

// find returns the long matches in data[from:]. It must be called in order.
func (f *longFinder) find(data []byte, from int) []copied {
	f.found = nil
	done := from // matches are known up to here
	if f.last.end == from && from > 0 {
		if end := from + common(data[from-f.last.distance:], data[from:]); end > from {
			f.last = copied{from, end, f.last.distance}
			f.found = append(f.found, f.last)
			done = end
		}
	}
	f.choose(data, from)
	for group := range slices.Chunk(f.chosen, together) {
		// The buckets are not in the processor's cache. Reading them one right
		// after the other lets it fetch all of them at once.
		var sum place
		for _, c := range group {
			sum += f.places[c.at]
		}
		f.touched = sum
		for _, c := range group {
			done = f.look(data, c, done)
		}
	}
	return f.found
}

// together is how many buckets are read at once.
const together = 16

// look finds the longest match at a sampled position, unless that is before
// done, and remembers the position. It returns the end of the matches so far.
func (f *longFinder) look(data []byte, c choice, done int) int {
	places, end := f.places[c.at:c.at+bucket], int(c.end)
	self := place(c.end+uint32(f.dropped))&(1<<placeBits-1) | place(c.check)<<placeBits
	if end-leastLong >= done {
		if r := f.longest(data, places, self, end, done); r.end > 0 {
			f.found = append(f.found, r)
			f.last, done = r, r.end
		}
	}
	copy(places[1:], places)
	places[0] = self
	return done
}

// choose lists the sampled positions after from.
func (f *longFinder) choose(data []byte, from int) {
	f.chosen = f.chosen[:0]
	hash := f.hash
	for i, b := range data[from:] {
		hash = hash<<1 + f.rolls[b]
		if hash>>(64-chosenBits) != 0 {
			continue
		}
		if end := from + i + 1; end >= leastLong {
			mixed := hash * 0x9e3779b185ebca87
			f.chosen = append(f.chosen, choice{uint32(end), uint32(mixed>>f.shift) * bucket, uint32(mixed >> 8)})
		}
	}
	f.hash = hash
}

// choice is a sampled position, the index of its bucket, and more of its hash.
type choice struct{ end, at, check uint32 }

// longest returns the longest match around the bytes before end.
func (f *longFinder) longest(data []byte, places []place, self place, end, done int) copied {
	var best copied
	start := end - leastLong
	for _, p := range places {
		if (p^self)>>placeBits != 0 {
			continue
		}
		distance := int((self - p) & (1<<placeBits - 1))
		earlier := start - distance
		if distance == 0 || distance > f.window || earlier < 0 {
			continue
		}
		n := common(data[earlier:], data[start:])
		if n < leastLong {
			continue
		}
		before := 0
		for before < min(start-done, earlier) && data[start-before-1] == data[earlier-before-1] {
			before++
		}
		if n+before > best.end-best.start {
			best = copied{start - before, start + n, start - earlier}
		}
	}
	return best
}

// slide adjusts f after the first n bytes of the buffer are dropped.
func (f *longFinder) slide(n int) {
	f.dropped += n
	f.last.start -= n
	f.last.end -= n
}

// common returns the length of the common prefix of a and b, at most len(b).
func common(a, b []byte) int {
	n := 0
	a = a[:len(b)]
	for len(b)-n >= 8 {
		if diff := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); diff != 0 {
			return n + bits.TrailingZeros64(diff)>>3
		}
		n += 8
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// free releases the finder's memory.
func (f *longFinder) free() {
	f.places = nil
	f.memory.free()
}
