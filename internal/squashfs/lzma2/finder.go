package lzma2

import (
	"encoding/binary"
	"math/bits"
)

const (
	niceLength = 64 // a match of this length is good enough
	finderWide = 8  // bytes that are read at once, which may lie behind the end
	// treeDepth is how many places are compared with one. With three times as many,
	// blocks of 128 KiB become no smaller, and those of 1 MiB by 0.2 %.
	treeDepth = 16
	leastTree = 4 // bytes that places in a tree should have in common
	// Matches of two and three bytes pay only nearby, where few others fall on the
	// same hash.
	hash2Bits = 13
	hash3Bits = 13
	batch     = 512 // places
	lastBase  = 1 << 31
)

// finder finds what occurred before, the nearest of each length. The places where
// four bytes hash alike are in a binary tree, sorted by what follows them, with
// the latest place at the root: then no node is nearer than its parent, and a
// search down the tree meets ever longer matches. All places have to be entered,
// also those that nobody asks for, which is done in batches ahead.
type finder struct {
	data  []byte // of the block, and finderWide more
	size  int
	base  uint32 // what a place's number is more than the place; lower ones are of earlier blocks
	head2 []uint32
	head3 []uint32
	head4 []uint32
	shift uint         // that makes a hash an index of head4
	tree  []uint32     // two for each place: what sorts before it and behind it
	first int          // place of the batch
	next  int          // place behind it
	found []token      // at the places of the batch
	ends  [batch]int32 // in found, by place
}

func (f *finder) init(size int) {
	width := uint(max(bits.Len(uint(size-1))-1, 12))
	f.data = make([]byte, size+finderWide)
	f.head2 = make([]uint32, 1<<hash2Bits)
	f.head3 = make([]uint32, 1<<hash3Bits)
	f.head4 = make([]uint32, 1<<width)
	f.shift = 32 - width
	f.tree = make([]uint32, 2*size)
	f.base = 1
}

// begin turns to the next block.
func (f *finder) begin(block []byte) {
	f.base += uint32(f.size)
	if f.base > lastBase {
		clear(f.head2)
		clear(f.head3)
		clear(f.head4)
		f.base = 1
	}
	f.size = copy(f.data, block)
	clear(f.data[f.size : f.size+finderWide])
	f.first, f.next = 0, 0
}

func load32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func load64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

// matches tells what matches at a place, in the order of growing lengths, up to
// niceLength, and distances. Who asks must not turn back.
func (f *finder) matches(at int) []token {
	for at >= f.next {
		f.first = f.next
		f.found = f.found[:0]
		for i := range min(batch, f.size-f.first) {
			f.enter(f.first + i)
			f.ends[i] = int32(len(f.found))
		}
		f.next = min(f.first+batch, f.size)
	}
	i, begin := at-f.first, int32(0)
	if i > 0 {
		begin = f.ends[i-1]
	}
	return f.found[begin:f.ends[i]]
}

// enter makes a place known, and notes what matches there.
func (f *finder) enter(at int) {
	most := min(f.size-at, niceLength)
	if most < leastTree {
		return
	}
	v := load32(f.data, at)
	here := f.base + uint32(at)
	head2, head3, head4 := &f.head2[hash(v<<16, 32-hash2Bits)], &f.head3[hash(v<<8, 32-hash3Bits)], &f.head4[hash(v, f.shift)]
	at2, at3, at4 := *head2, *head3, *head4
	*head2, *head3, *head4 = here, here, here
	best := minMatch - 1
	if at2 >= f.base {
		best = f.compare(at, int(at2-f.base), best, most)
	}
	if at3 >= f.base && at3 != at2 {
		best = f.compare(at, int(at3-f.base), best, most)
	}
	f.search(at, at4, best, most)
}

func hash(v uint32, shift uint) uint32 { return v * 0x9e3779b1 >> shift }

// compare notes a match that is longer than best, and gives the length of the
// best then.
func (f *finder) compare(at, place, best, most int) int {
	n := f.extend(place, at, 0, most)
	if n <= best {
		return best
	}
	f.found = append(f.found, token{uint32(n), uint32(at - place)})
	return n
}

// search makes at the root of a tree that cand is the root of so far, and notes
// matches that are longer than best. On the way down, what sorts before at goes to
// its one side and what sorts behind to the other; a place that matches as far as
// is looked at drops out.
func (f *finder) search(at int, cand uint32, best, most int) {
	data, tree, base := f.data, f.tree, f.base
	before, behind := 2*at, 2*at+1 // where the next that sorts so goes
	common, commonBehind := 0, 0   // bytes that all nodes further down share with at
	here := data[at : at+most+finderWide]
	for range treeDepth {
		if cand < base {
			break
		}
		place := int(cand - base)
		children := tree[2*place : 2*place+2]
		n := min(common, commonBehind)
		there := data[place : place+most+finderWide]
		a, b := load64(there, n), load64(here, n)
		for a == b && n+8 < most {
			n += 8
			a, b = load64(there, n), load64(here, n)
		}
		n += bits.TrailingZeros64(a^b) >> 3
		if n > best {
			n = min(n, most)
			if n > best {
				best = n
				f.found = append(f.found, token{uint32(n), uint32(at - place)})
			}
		}
		if n >= most {
			tree[before], tree[behind] = children[0], children[1]
			return
		}
		// Which way to go cannot be foreseen: it is computed without branches.
		_, less := bits.Sub64(bits.ReverseBytes64(a), bits.ReverseBytes64(b), 0)
		mask := -int(less)
		child := 2*place + int(less)
		tree[behind^(behind^before)&mask] = cand
		before ^= (before ^ child) & mask
		behind ^= (behind ^ child) &^ mask
		common ^= (common ^ n) & mask
		commonBehind ^= (commonBehind ^ n) &^ mask
		cand = children[0] ^ (children[0]^children[1])&uint32(mask)
	}
	tree[before], tree[behind] = 0, 0
}

// extend counts the equal bytes at a and b, to most; n are known to be.
func (f *finder) extend(a, b, n, most int) int {
	data := f.data
	for n < most {
		if x := load64(data, a+n) ^ load64(data, b+n); x != 0 {
			return min(n+bits.TrailingZeros64(x)>>3, most)
		}
		n += 8
	}
	return most
}
