package deflate

import (
	"math/bits"
	"slices"
)

// code is a symbol's Huffman code: its bits in the order of writing, and their
// number, 0 for a symbol that does not occur.
type code struct {
	bits   uint16
	length uint8
}

// assign gives the symbols codes of at most longest bits that make the counted
// content short.
func assign(out []code, counts []uint32, longest int) {
	clear(out)
	used := make([]uint64, 0, litSymbols) // counts, and the symbols below them
	for symbol, n := range counts {
		if n > 0 {
			used = append(used, uint64(n)<<16|uint64(symbol))
		}
	}
	switch len(used) {
	case 0:
		return
	case 1:
		out[used[0]&0xffff].length = 1
		return
	}
	slices.Sort(used) // rare ones first
	perLength := limit(depths(used), longest)
	next := used
	for length := longest; length > 0; length-- {
		for range perLength[length] {
			out[next[0]&0xffff].length = uint8(length)
			next = next[1:]
		}
	}
	number(out)
}

// depths gives how many leaves the optimal tree has at each depth. Used is sorted
// by count; inner nodes come into being sorted, too, so that two queues do.
func depths(used []uint64) []int {
	var room struct { // off the heap
		weights        [2 * litSymbols]uint64
		parents, depth [2 * litSymbols]int
	}
	n := len(used)
	weights := room.weights[:0] // of the leaves, then the inner nodes
	for _, leaf := range used {
		weights = append(weights, leaf>>16)
	}
	parents := room.parents[:]
	leaf, inner := 0, n
	take := func() int {
		if leaf < n && (inner >= len(weights) || weights[leaf] <= weights[inner]) {
			leaf++
			return leaf - 1
		}
		inner++
		return inner - 1
	}
	for range n - 1 {
		a, b := take(), take()
		parents[a], parents[b] = len(weights), len(weights)
		weights = append(weights, weights[a]+weights[b])
	}
	root := len(weights) - 1
	depth := room.depth[:]
	perDepth := make([]int, n+1)
	for node := root - 1; node >= 0; node-- {
		depth[node] = depth[parents[node]] + 1
		if node < n {
			perDepth[depth[node]]++
		}
	}
	return perDepth
}

// limit makes the numbers of leaves by depth those of a tree that is no deeper
// than longest: leaves from below move up to it, and where that overfills the
// tree, others move down.
func limit(perDepth []int, longest int) []int {
	out := make([]int, longest+1)
	overfull := 0 // in units of a leaf at the greatest depth
	for depth, n := range perDepth {
		out[min(depth, longest)] += n
	}
	for depth := 1; depth <= longest; depth++ {
		overfull += out[depth] << (longest - depth)
	}
	for overfull -= 1 << longest; overfull > 0; overfull-- {
		depth := longest - 1
		for out[depth] == 0 {
			depth--
		}
		// A leaf becomes two, one of which takes in a leaf of the last level.
		out[depth]--
		out[depth+1] += 2
		out[longest]--
	}
	return out
}

// number gives the codes their bits: those of one length count up in the order
// of the symbols (RFC 1951, section 3.2.2).
func number(out []code) {
	var perLength, next [16]uint16
	for _, c := range out {
		perLength[c.length]++
	}
	perLength[0] = 0
	for length := 1; length < len(next); length++ {
		next[length] = (next[length-1] + perLength[length-1]) << 1
	}
	for i, c := range out {
		if c.length > 0 {
			out[i].bits = bits.Reverse16(next[c.length]) >> (16 - c.length)
			next[c.length]++
		}
	}
}
