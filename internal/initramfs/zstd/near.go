package zstd

import (
	"encoding/binary"
	"math/bits"
)

func newChainFinder(e effort, window, within, reach int) *chainFinder {
	length := uint(5)
	if window <= smallWindow {
		length = 4
	}
	return &chainFinder{effort: e, reach: reach, hashed: length, heads: make([]uint32, 1<<chainBits), chain: make([]uint32, within)}
}

const (
	// nearby is the largest distance of a match.
	nearby = 1 << 21
	// smallWindow is a window in which all matches are so near that four bytes
	// pay, too.
	smallWindow = 1 << 20
	// leastNear is the shortest match that is worth a sequence.
	leastNear = 4
	// wide is the number of bytes read at once.
	wide = 8
)

// copyOf is a possible match; length 0 means none.
type copyOf struct{ length, distance int }

// worth weighs a match against the cost of encoding it.
func (m copyOf) worth() int { return m.length*4 - bits.Len(uint(m.distance)) }

func load64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

func load32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }

// hashOf hashes the first length bytes of v.
func hashOf(v uint64, length, width uint) uint32 {
	return uint32(v << (64 - 8*length) * 889523592379 >> (64 - width))
}

// chainFinder finds nearby matches for the levels that compare several
// positions. For each hash it keeps the chain of all positions with that hash.
type chainFinder struct {
	effort
	reach  int
	hashed uint // number of bytes hashed
	data   []byte
	heads  []uint32
	chain  []uint32 // by position modulo length: the previous position; 0 ends it
	next   int      // the first position not yet inserted
}

const chainBits = 18

// reset starts over with data; matches may reach back before from.
func (f *chainFinder) reset(data []byte, from int) {
	clear(f.heads)
	f.data = data
	f.next = max(1, from-f.reach)
	f.insert(from)
}

// insert inserts the positions before to.
func (f *chainFinder) insert(to int) {
	to = min(to, len(f.data)-wide)
	for ; f.next < to; f.next++ {
		hash := hashOf(load64(f.data, f.next), f.hashed, chainBits)
		f.chain[f.next&(len(f.chain)-1)] = f.heads[hash]
		f.heads[hash] = uint32(f.next)
	}
}

// skip tells the finder that the bytes before to are long matches.
func (f *chainFinder) skip(to int) {
	const few = 256 // the end is the likeliest to match
	f.next = max(f.next, to-few)
}

// find returns a match at pos that ends before end, if there is one. Calls come
// with growing positions, at least 2*wide before end.
func (f *chainFinder) find(pos, end int) copyOf {
	f.insert(pos + 1)
	data, here := f.data, f.data[pos:end]
	best := copyOf{length: leastNear - 1}
	at := int(f.chain[pos&(len(f.chain)-1)])
	low := max(pos-f.reach, 1)
	for tries := f.depth; tries > 0 && at >= low; tries-- {
		// Comparing the last bytes excludes most positions that do not beat the
		// best.
		if tail := best.length - 3; load32(data, at+tail) == load32(here, tail) {
			if n := common(data[at:], here); n > best.length {
				best = copyOf{n, pos - at}
				if n >= f.nice || n == len(here) {
					return best
				}
			}
		}
		at = int(f.chain[at&(len(f.chain)-1)])
	}
	if best.distance == 0 || best.worth() <= 0 {
		return copyOf{}
	}
	return best
}
