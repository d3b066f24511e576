package zstd

import (
	"encoding/binary"
	"math/bits"
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
	window int
	rolls  [256]uint64
	hash   uint64
	shift  uint
	places []place // buckets, the latest place first
	last   copied
}

// place is a chosen position in the buffer and more of its hash; at 0 there is
// none, since no choice can be made there.
type place struct{ end, check uint32 }

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
	f.places = make([]place, buckets*bucket)
	return f
}

// find gives the repetitions in data[from:], which follows what was seen
// before, in order.
func (f *longFinder) find(data []byte, from int) []copied {
	var found []copied
	done := from // up to here repetitions are known
	if f.last.end == from && from > 0 {
		if end := from + common(data[from-f.last.distance:], data[from:]); end > from {
			f.last = copied{from, end, f.last.distance}
			found = append(found, f.last)
			done = end
		}
	}
	hash := f.hash
	for i, b := range data[from:] {
		hash = hash<<1 + f.rolls[b]
		if hash>>(64-chosenBits) != 0 {
			continue
		}
		end := from + i + 1
		if end < leastLong {
			continue
		}
		places, check := f.bucket(hash)
		if end-leastLong >= done {
			if c := f.longest(data, places, check, end, done); c.end > 0 {
				found = append(found, c)
				f.last, done = c, c.end
			}
		}
		copy(places[1:], places)
		places[0] = place{uint32(end), check}
	}
	f.hash = hash
	return found
}

func (f *longFinder) bucket(hash uint64) (places []place, check uint32) {
	mixed := hash * 0x9e3779b185ebca87
	at := int(mixed>>f.shift) * bucket
	return f.places[at : at+bucket], uint32(mixed >> 8)
}

// longest gives the longest repetition around the bytes before end.
func (f *longFinder) longest(data []byte, places []place, check uint32, end, done int) copied {
	var best copied
	start := end - leastLong
	for _, p := range places {
		earlier := int(p.end) - leastLong
		if p.check != check || p.end == 0 || start-earlier > f.window {
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
	for i, p := range f.places {
		if int(p.end) < n+leastLong {
			f.places[i] = place{}
		} else {
			f.places[i].end -= uint32(n)
		}
	}
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
