package deflate

import "math/bits"

// Lengths and distances are written as a symbol and extra bits (RFC 1951,
// section 3.2.5). Both tables go on in the same way: groups of four, or two,
// symbols that share a number of extra bits, which grows by one with every
// group.

// lengthSymbol is the symbol of a match's length.
func lengthSymbol(length int) int {
	switch l := length - minMatch; {
	case length == maxMatch:
		return 285
	case l < 8:
		return 257 + l
	default:
		extra := bits.Len(uint(l)) - 3
		return 257 + extra*4 + l>>extra
	}
}

// lengthExtra is the number of bits behind a length's symbol, 0 for others.
func lengthExtra(symbol int) uint {
	if symbol < 265 || symbol == 285 {
		return 0
	}
	return uint(symbol-261) / 4
}

// distanceSymbol is the symbol of a match's distance.
func distanceSymbol(distance int) int {
	d := distance - 1
	if d < 4 {
		return d
	}
	extra := bits.Len(uint(d)) - 2
	return extra*2 + d>>extra
}

func distanceExtra(symbol int) uint {
	if symbol < 4 {
		return 0
	}
	return uint(symbol-2) / 2
}

// symbols looks up what the functions above compute.
type symbols struct {
	lengths   [maxMatch - minMatch + 1]uint16 // by length - minMatch
	distances [distanceSlots]uint8            // by distanceSlot
}

// distanceSlots are the distances up to 256, and 256 runs of 128 greater ones
// that share a symbol.
const distanceSlots = 512

// distanceSlot is the slot of a match's distance. Which kind it is cannot be
// foreseen, so there is no branch.
func distanceSlot(t token) uint32 {
	d := uint32(t & 0x7fff)
	far := uint32(int32(255-d) >> 31) // all bits, or none
	return d&^far | (256+d>>7)&far
}

func newSymbols() *symbols {
	s := &symbols{}
	for i := range s.lengths {
		s.lengths[i] = uint16(lengthSymbol(i + minMatch))
	}
	for i := range 256 {
		s.distances[i] = uint8(distanceSymbol(i + 1))
		s.distances[256+i] = uint8(distanceSymbol(i<<7 + 1))
	}
	return s
}

// of gives the symbols of a match.
func (s *symbols) of(t token) (length, distance int) {
	return int(s.lengths[t>>16&0xff]), int(s.distances[distanceSlot(t)])
}
