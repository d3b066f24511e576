package lzma2

import "math/bits"

// token is a match, or a literal, which has no distance and the length 1. The one
// match that has the length 1 is that at the last distance.
type token struct{ length, distance uint32 }

const (
	minMatch = 2
	maxMatch = 273
)

// history is what the probabilities of a token depend on.
type history struct {
	state     uint32    // the kinds of the last tokens
	distances [4]uint32 // of the last matches that differ, the latest first
}

// States below afterMatch are those where the last token was a literal.
const (
	states     = 12
	afterMatch = 7
)

// The kinds of a token.
const (
	literal     = iota
	match       // at a new distance
	repeated    // at one of the last distances
	shortRepeat // one byte, at the last distance
)

// kind tells what a token is written as, and at which of the last distances. After
// a reset that may be other than was meant.
func (h *history) kind(t token) (kind, index int) {
	if t.distance == 0 {
		return literal, 0
	}
	if t.length == 1 {
		if t.distance == h.distances[0] {
			return shortRepeat, 0
		}
		return literal, 0
	}
	for i, d := range h.distances {
		if d == t.distance {
			return repeated, i
		}
	}
	return match, 0
}

// add goes on to what comes behind a token.
func (h *history) add(t token) {
	kind, index := h.kind(t)
	h.state = nextState(h.state, kind)
	d := &h.distances
	switch {
	case kind == match:
		*d = [4]uint32{t.distance, d[0], d[1], d[2]}
	case kind == repeated && index > 0:
		copy(d[1:index+1], d[:index])
		d[0] = t.distance
	}
}

func nextState(state uint32, kind int) uint32 {
	if kind == literal {
		switch {
		case state < 4:
			return 0
		case state < 10:
			return state - 3
		}
		return state - 6
	}
	if state < afterMatch {
		return afterMatch + uint32(kind-match)
	}
	if kind == match {
		return 10
	}
	return 11
}

// Distances, less 1, are written as a slot, which is their two upper bits and how
// many follow, and those.

func slotOf(d uint32) uint32 {
	if d < 4 {
		return d
	}
	n := uint32(bits.Len32(d)) - 2
	return n<<1 + d>>n
}

// slotExtra is the number of bits behind a slot.
func slotExtra(slot uint32) uint {
	if slot < 4 {
		return 0
	}
	return uint(slot>>1 - 1)
}

// slotStart is the least distance of a slot.
func slotStart(slot uint32) uint32 {
	if slot < 4 {
		return slot
	}
	return (2 | slot&1) << slotExtra(slot)
}

const (
	slots        = 64
	firstSpecial = 4   // the first slot with bits behind it, which have probabilities
	firstAligned = 14  // the first slot where only the last four bits have
	nearest      = 128 // distances in slots before firstAligned
	alignBits    = 4
	lengthKinds  = 4 // slots have other probabilities behind lengths of 2, 3, 4 and more
)

func lengthKind(length uint32) uint32 { return min(length-minMatch, lengthKinds-1) }
