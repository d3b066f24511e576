package zstd

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"
)

// copied is a stretch that stands earlier in the buffer too: [start, end)
// equals what lies distance bytes before.
type copied struct{ start, end, distance int }

const (
	// leastLong is what a long repetition has, in bytes, and also how many
	// bytes decide whether a position is chosen.
	leastLong = 64
	// chosenBits make one in 64 positions a chosen one.
	chosenBits = 6
	// bucket is how many places with one hash are remembered.
	bucket = 4
)

// longFinder finds long repetitions over the whole window. It remembers chosen
// positions only: those where a hash of the bytes before, that is carried along,
// has certain bits. So the same bytes bring the same positions wherever they
// are.
type longFinder struct {
	window  int
	rolls   [256]uint64
	hash    uint64
	shift   uint
	memory  buffer  // of places
	places  []place // buckets, the latest place first
	last    copied
	dropped int // bytes of the frame before the buffer
	chosen  []choice
	found   []copied
	// touched keeps reads whose value does not matter from being left out.
	touched place
}

// place is a chosen position, counted from the frame's beginning, in its low
// placeBits, and more of its hash above them.
type place uint32

const placeBits = 28 // more than a window has

func newLongFinder(window int) *longFinder {
	f := &longFinder{window: window}
	// Any numbers that look random (splitmix64).
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

// find gives the repetitions in data[from:], which follows what was seen
// before, in order.
func (f *longFinder) find(data []byte, from int) []copied {
	f.found = nil
	done := from // up to here repetitions are known
	if f.last.end == from && from > 0 {
		if end := from + common(data[from-f.last.distance:], data[from:]); end > from {
			f.last = copied{from, end, f.last.distance}
			f.found = append(f.found, f.last)
			done = end
		}
	}
	f.choose(data, from)
	for group := range slices.Chunk(f.chosen, together) {
		// The buckets lie far from all that was used before. Reading them one right
		// after the other lets the processor fetch all of them at once.
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

// look finds the longest repetition at a chosen position, unless that lies before
// done, and remembers the position. It returns the end of what is found so far.
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

// choose lists the chosen positions behind from.
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

// choice is a chosen position, where its bucket begins, and more of its hash.
type choice struct{ end, at, check uint32 }

// longest gives the longest repetition around the bytes before end.
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

// slide follows when the first n bytes of the buffer are dropped.
func (f *longFinder) slide(n int) {
	f.dropped += n
	f.last.start -= n
	f.last.end -= n
}

// common counts the bytes with which both begin, at most those of b.
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

// free ends the finder's use.
func (f *longFinder) free() {
	f.places = nil
	f.memory.free()
}
