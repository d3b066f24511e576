package deflate

import (
	"encoding/binary"
	"math/bits"
)

const (
	minMatch  = 3
	maxMatch  = 258
	window    = 32 << 10
	hashBits  = 15
	hash3Bits = 12
	// A match of three bytes further away costs more bits than three literals.
	far3 = 4096
)

// token is a literal byte, or a match: the top bit, length-3 in 8 bits and
// distance-1 in 15.
type token uint32

const isMatch token = 1 << 31

func newMatch(length, distance int) token {
	return isMatch | token(length-minMatch)<<16 | token(distance-1)
}

// matcher finds what occurred before, within the window.
type matcher struct {
	depth int                  // candidates to try for a match
	nice  int                  // a match of this length is good enough
	head  [1 << hashBits]int32 // the last place of four bytes, plus 1
	head3 [1 << hash3Bits]int32
	prev  [window]uint16 // from a place back to the one before of the same hash, at most window
}

func load32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }
func load64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }

// forget begins a block of which nothing is known.
func (m *matcher) forget() {
	clear(m.head[:])
	clear(m.head3[:])
}

// parse cuts src, from i on, into a piece of literals and matches, counts them
// in h, and tells how far it came. A match is put off by a byte when that makes a
// better one possible.
func (m *matcher) parse(tokens []token, src []byte, i int, h *histogram, s *symbols) ([]token, int) {
	begin, most := i, len(tokens)+piece
	end := len(src) - 8 // find reads eight bytes
	for i < end && len(tokens) < most {
		length, distance := m.find(src, i, minMatch-1, m.depth)
		if length < minMatch || length == minMatch && distance > far3 {
			tokens = append(tokens, token(src[i]))
			h.literals[src[i]]++
			i++
			continue
		}
		known := i + 1
		for length < m.nice && i+1 < end {
			nextLength, nextDistance := m.find(src, i+1, length-1, m.depth/2)
			known = i + 2
			if !better(nextLength, nextDistance, length, distance) {
				break
			}
			tokens = append(tokens, token(src[i]))
			h.literals[src[i]]++
			i, length, distance = i+1, nextLength, nextDistance
		}
		t := newMatch(length, distance)
		tokens = append(tokens, t)
		l, d := s.of(t)
		h.literals[l]++
		h.distances[d]++
		m.enter(src, known, min(i+length, end))
		i += length
	}
	if i >= end {
		for ; i < len(src); i++ {
			tokens = append(tokens, token(src[i]))
			h.literals[src[i]]++
		}
	}
	h.bytes = i - begin
	h.weigh()
	return tokens, i
}

// better reports whether a match that begins a byte later is worth the literal:
// each byte of length counts for four bits of distance.
func better(nextLength, nextDistance, length, distance int) bool {
	return nextLength >= length && 4*(nextLength-length)+bits.Len(uint(distance))-bits.Len(uint(nextDistance)) > 2
}

// enter makes the places from i to end known.
func (m *matcher) enter(src []byte, i, end int) {
	for ; i < end; i++ {
		v := load32(src, i)
		h, h3 := hash4(v), hash3(v)
		m.prev[i&(window-1)] = uint16(min(i+1-int(m.head[h]), window))
		m.head[h], m.head3[h3] = int32(i+1), int32(i+1)
	}
}

func hash4(v uint32) uint32 { return v * 0x9e3779b1 >> (32 - hashBits) }
func hash3(v uint32) uint32 { return v << 8 * 0x9e3779b1 >> (32 - hash3Bits) }

// find looks for the longest match at i that is longer than best, and makes the
// place known. It gives best or less when there is none.
func (m *matcher) find(src []byte, i, best, depth int) (length, distance int) {
	v := load32(src, i)
	h, h3 := hash4(v), hash3(v)
	at, at3 := int(m.head[h])-1, int(m.head3[h3])-1
	m.prev[i&(window-1)] = uint16(min(i-at, window))
	m.head[h], m.head3[h3] = int32(i+1), int32(i+1)

	most := min(maxMatch, len(src)-i)
	oldest := max(i-window+1, 0)
	nice := min(m.nice, most)
	if best >= most {
		return best, 0
	}
	tail := max(best-3, 0) // what would make it longer is most likely to differ
	want := load32(src, i+tail)
	for ; at >= oldest && depth > 0; depth-- {
		if load32(src, at+tail) == want && load32(src, at) == v {
			if n := extend(src, at, i, most); n > best {
				best, distance = n, i-at
				if n >= nice {
					break
				}
				tail = best - 3
				want = load32(src, i+tail)
			}
		}
		at -= int(m.prev[at&(window-1)])
	}
	if best < minMatch && at3 >= oldest && (load32(src, at3)^v)<<8 == 0 {
		return minMatch, i - at3
	}
	return best, distance
}

// extend counts the equal bytes at a and b, to most; four are known to be.
func extend(src []byte, a, b, most int) int {
	n := 4
	for n+8 <= most {
		if x := load64(src, a+n) ^ load64(src, b+n); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < most && src[a+n] == src[b+n] {
		n++
	}
	return n
}
