package zstd

import "math/bits"

// sequence is a run of literals followed by a match.
type sequence struct {
	literals uint32
	length   uint32 // of the match, at least leastCopy
	// offset is the distance of the match plus 3, or 1 to 3 for a recent
	// distance.
	offset uint32
}

const leastCopy = 3

// recent holds the last three distances, as the decoder keeps them. One that is
// not known is 0.
type recent [3]int

// use returns the encoding of the distance after that many literals, and
// records it. Directly after a match the same distance would be pointless, so
// the meanings differ there (RFC 8878, 3.1.1.5).
func (r *recent) use(distance, literals int) uint32 {
	choices := [3]int{r[0], r[1], r[2]}
	if literals == 0 {
		choices = [3]int{r[1], r[2], r[0] - 1}
	}
	for i, choice := range choices {
		if choice == distance {
			r.promote(distance, i, literals)
			return uint32(i + 1)
		}
	}
	*r = recent{distance, r[0], r[1]}
	return uint32(distance + 3)
}

func (r *recent) promote(distance, choice, literals int) {
	if literals == 0 {
		choice++
	}
	switch choice {
	case 0:
	case 1:
		r[0], r[1] = distance, r[0]
	default:
		*r = recent{distance, r[0], r[1]}
	}
}

// The extra bits of the codes for lengths (RFC 8878, 3.1.1.3.2.1.1).
var (
	literalsBits = [36]byte{16: 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	copyBits     = [53]byte{32: 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
)

// lengthCodes maps lengths to codes.
type lengthCodes struct {
	small []byte // codes of the smallest lengths
	large int    // for larger lengths, code minus logarithm
	extra []byte // extra bits by code
	first []int  // smallest length by code
}

func newLengthCodes(extra []byte, small, large int) *lengthCodes {
	c := &lengthCodes{small: make([]byte, small), large: large, extra: extra, first: make([]int, len(extra))}
	length := 0
	for code, n := range extra {
		c.first[code] = length
		for i := length; i < min(length+1<<n, small); i++ {
			c.small[i] = byte(code)
		}
		length += 1 << n
	}
	return c
}

func (c *lengthCodes) code(length uint32) byte {
	if int(length) < len(c.small) {
		return c.small[length]
	}
	return byte(bits.Len32(length) - 1 + c.large)
}

// add writes the extra bits of a code.
func (c *lengthCodes) add(w *bitWriter, code byte, length uint32) {
	w.add(uint64(length)-uint64(c.first[code]), uint(c.extra[code]))
}

func newLiteralsCodes() *lengthCodes { return newLengthCodes(literalsBits[:], 64, 19) }
func newCopyCodes() *lengthCodes     { return newLengthCodes(copyBits[:], 128, 36) }

func offsetCode(offset uint32) byte { return byte(bits.Len32(offset) - 1) }
