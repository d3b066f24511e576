package zstd

import "math/bits"

// codec collects the codes of one kind in a block and chooses the table for
// them.
type codec struct {
	most  uint // the largest accuracy log of a table
	usual table
	table table // the table of the last block
	known bool  // the decoder has table too
	codes []byte
	often [mostCodes]uint32
}

// The compression modes, which say which table is used (RFC 8878, 3.1.1.3.2.1).
const (
	usualTable = iota
	oneCode
	ownTable
	sameTable
)

func newCodec(most uint, usual []int16) *codec {
	c := &codec{most: most}
	states := 0
	for _, share := range usual {
		states += max(int(share), -int(share))
	}
	c.usual.set(usual, uint(bits.Len(uint(states))-1))
	return c
}

func (c *codec) reset() {
	c.codes = c.codes[:0]
	clear(c.often[:])
}

func (c *codec) note(code byte) {
	c.codes = append(c.codes, code)
	c.often[code]++
}

// choose selects the table that makes the block shortest, appends its
// description and returns the mode.
func (c *codec) choose(out []byte) ([]byte, byte) {
	kinds, highest := 0, 0
	for code, n := range c.often {
		if n > 0 {
			kinds++
			highest = code
		}
	}
	if kinds == 1 {
		var one [mostCodes]int16
		one[highest] = 1
		c.table.set(one[:highest+1], 0)
		c.known = true
		return append(out, byte(highest)), oneCode
	}
	log := logFor(kinds, len(c.codes), c.most)
	counts := shares(c.often[:highest+1], len(c.codes), log)
	own := bitWriter{out: out}
	writeCounts(&own, counts, log)
	ownCost := c.cost(counts, log) + (len(own.out)-len(out))*8<<8
	usualCost := c.cost(c.usual.counts, c.usual.log)
	sameCost := tooMuch
	if c.known {
		sameCost = c.cost(c.table.counts, c.table.log)
	}
	c.known = true
	switch {
	case sameCost <= min(ownCost, usualCost):
		return out, sameTable
	case usualCost <= ownCost:
		c.table.set(c.usual.counts, c.usual.log)
		return out, usualTable
	}
	c.table.set(counts, log)
	return own.out, ownTable
}

const tooMuch = 1 << 60

// cost estimates the size of the codes with a table of these shares, in 1/256
// bit. It uses integers only: the result decides what is written, and must be
// the same on every machine.
func (c *codec) cost(counts []int16, log uint) int {
	sum := 0
	for code, n := range c.often {
		if n == 0 {
			continue
		}
		if code >= len(counts) || counts[code] == 0 {
			return tooMuch
		}
		share := uint(max(counts[code], 1))
		sum += int(n) * (int(log)<<8 - log256(share))
	}
	return sum
}

// log256 returns about 256 times the binary logarithm of n.
func log256(n uint) int {
	whole := bits.Len(n) - 1
	return whole<<8 + int(n<<8>>whole) - 256
}

// The shares of the predefined tables (RFC 8878, 3.1.1.3.2.2).

func usualLiterals() []int16 {
	return []int16{4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1}
}

func usualCopies() []int16 {
	return []int16{
		1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
	}
}

func usualOffsets() []int16 {
	return []int16{1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1}
}
