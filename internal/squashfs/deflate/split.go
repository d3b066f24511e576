package deflate

import "math/bits"

// span is a run of tokens that are written with codes of their own.
type span struct {
	tokens []token
	counts histogram
}

// piece is how many tokens, at least, are looked at together when blocks are cut.
const piece = 2048

// headerCost is what a block's codes take, in bits, by and large.
const headerCost = 90 * 8

// cut makes src tokens and cuts them where codes of their own pay: a piece is
// joined to the block before it unless the two would be shorter apart.
func (e *Encoder) cut(src []byte) {
	e.matcher.forget()
	tokens, blocks := e.tokens[:0], e.blocks[:0]
	var block, next histogram
	var start, at int
	for at < len(src) {
		begin := len(tokens)
		next = histogram{}
		tokens, at = e.matcher.parse(tokens, src, at, &next, e.symbols)
		joined := block
		joined.add(&next)
		if begin > start && block.cost()+next.cost()+headerCost < joined.cost() {
			blocks = append(blocks, span{tokens[start:begin], block})
			start, block = begin, next
			continue
		}
		block = joined
	}
	e.tokens, e.blocks = tokens, append(blocks, span{tokens[start:], block})
}

const (
	endOfBlock = 256
	litSymbols = 286 // literals, the end, and lengths
	distances  = 30
)

// histogram counts the symbols of a block.
type histogram struct {
	literals  [litSymbols]uint32
	distances [distances]uint32
	bytes     int // of content
	extra     int // bits behind the symbols
}

// weigh counts the bits behind the symbols.
func (h *histogram) weigh() {
	h.extra = 0
	for l := endOfBlock + 1; l < litSymbols; l++ {
		h.extra += int(h.literals[l]) * int(lengthExtra(l))
	}
	for d, n := range h.distances {
		h.extra += int(n) * int(distanceExtra(d))
	}
}

func (h *histogram) add(o *histogram) {
	for i, n := range o.literals {
		h.literals[i] += n
	}
	for i, n := range o.distances {
		h.distances[i] += n
	}
	h.bytes += o.bytes
	h.extra += o.extra
}

// cost estimates the block's size in bits, without its codes.
func (h *histogram) cost() int {
	return h.extra + entropy(h.literals[:]) + entropy(h.distances[:])
}

// entropy is the least number of bits that the symbols take.
func entropy(counts []uint32) int {
	var total uint32
	var sum uint64
	for _, n := range counts {
		total += n
		sum += uint64(n) * log2(n)
	}
	return int((uint64(total)*log2(total) - sum) >> logBits)
}

const logBits = 12

// log2 is a logarithm with logBits bits behind the point, 0 for 0. Between powers
// of two it is a parabola, which is within 1 % of a bit.
func log2(n uint32) uint64 {
	if n == 0 {
		return 0
	}
	whole := bits.Len32(n) - 1
	x := uint64(n) << (32 - whole) >> (32 - logBits) & (1<<logBits - 1) // the rest, from 0 to 1
	const bow = 1410                                                    // 0.344: log2(1+x) - x is about bow*x*(1-x)
	return uint64(whole)<<logBits + x + bow*x>>logBits*((1<<logBits)-x)>>logBits
}
