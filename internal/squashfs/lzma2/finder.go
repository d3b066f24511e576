package lzma2

import (
	"encoding/binary"
	"math/bits"
)

const (
	niceLength = 64 // a match of this length is good enough
	finderWide = 8  // bytes that are read at once, which may lie behind the end
	treeDepth  = 48 // places to compare with
	hash2Bits  = 16
	hash3Bits  = 15
	leastTree  = 4 // bytes that places in a tree have in common
	lastBase   = 1 << 31
)

// finder finds what occurred before, the nearest of each length. The places where
// four bytes hash alike are in a binary tree, sorted by what follows them, with
// the latest place at the root: then no node is nearer than its parent, and a
// search down the tree meets ever longer matches.
type finder struct {
	data  []byte // of the block, and finderWide more
	size  int
	next  int    // the first place that is not entered yet
	base  uint32 // what a place's number is more than the place; lower ones are of earlier blocks
	head2 []uint32
	head3 []uint32
	head4 []uint32
	tree  []uint32 // two for each place: what sorts before it and behind it
	shift uint     // that makes a hash an index of head4
	found []token
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
	f.next = 0
}

func load32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func load64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

const multiplier = 0x9e3779b1

// find enters the next place and tells what matches there, in the order of
// growing lengths and distances. It is valid until the next call.
func (f *finder) find() []token {
	at := f.next
	f.next++
	f.found = f.found[:0]
	most := min(f.size-at, niceLength)
	if most < leastTree {
		return nil
	}
	v := load32(f.data, at)
	here := f.base + uint32(at)
	head2, head3, head4 := &f.head2[v&0xffff], &f.head3[v<<8*multiplier>>(32-hash3Bits)], &f.head4[v*multiplier>>f.shift]
	at2, at3, at4 := *head2, *head3, *head4
	*head2, *head3, *head4 = here, here, here
	best := minMatch - 1
	if at2 >= f.base {
		best = f.try(at, int(at2-f.base), most)
	}
	if at3 >= f.base && at3 != at2 && (load32(f.data, int(at3-f.base))^v)<<8 == 0 {
		best = max(best, f.tryLonger(at, int(at3-f.base), most, best))
	}
	f.search(at, at4, most, best)
	if n := len(f.found); n > 0 && f.found[n-1].length == niceLength {
		m := &f.found[n-1]
		m.length = uint32(f.extend(at-int(m.distance), at, niceLength, min(f.size-at, maxMatch)))
	}
	return f.found
}

func (f *finder) try(at, before, most int) int {
	n := f.extend(before, at, minMatch, most)
	f.found = append(f.found, token{uint32(n), uint32(at - before)})
	return n
}

func (f *finder) tryLonger(at, before, most, best int) int {
	n := f.extend(before, at, 3, most)
	if n > best {
		f.found = append(f.found, token{uint32(n), uint32(at - before)})
	}
	return n
}

// skip enters the next n places.
func (f *finder) skip(n int) {
	for range n {
		at := f.next
		f.next++
		most := min(f.size-at, niceLength)
		if most < leastTree {
			continue
		}
		v := load32(f.data, at)
		here := f.base + uint32(at)
		f.head2[v&0xffff] = here
		f.head3[v<<8*multiplier>>(32-hash3Bits)] = here
		head4 := &f.head4[v*multiplier>>f.shift]
		at4 := *head4
		*head4 = here
		f.search(at, at4, most, most)
	}
}

// search makes at the root of a tree that cand is the root of so far, and notes
// matches that are longer than best. On the way down, what sorts before at goes to
// its one side and what sorts behind to the other; a place that matches as far as
// is looked at drops out.
func (f *finder) search(at int, cand uint32, most, best int) {
	data, tree, base := f.data, f.tree, f.base
	before, behind := 2*at, 2*at+1 // where the next that sorts so goes
	common, commonBehind := 0, 0   // bytes that all nodes further down share with at
	here := data[at : at+most+finderWide]
	for range treeDepth {
		if cand < base {
			break
		}
		place := int(cand - base)
		n := min(common, commonBehind)
		there := data[place : place+most+finderWide]
		for {
			if x := load64(there, n) ^ load64(here, n); x != 0 {
				n += bits.TrailingZeros64(x) >> 3
				break
			}
			n += 8
			if n >= most {
				break
			}
		}
		if n > best {
			n = min(n, most)
			if n > best {
				best = n
				f.found = append(f.found, token{uint32(n), uint32(at - place)})
			}
		}
		if n >= most {
			tree[before], tree[behind] = tree[2*place], tree[2*place+1]
			return
		}
		if there[n] < here[n] {
			tree[before] = cand
			before = 2*place + 1
			cand = tree[before]
			common = n
		} else {
			tree[behind] = cand
			behind = 2 * place
			cand = tree[behind]
			commonBehind = n
		}
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
