package lzma2

import "math/bits"

// A price is a number of bits, in units of 1/16.
const (
	priceBits   = 4
	oneBit      = 1 << priceBits
	endless     = 1 << 30
	coarse      = 4 // bits of a probability that its price does not depend on
	priceSteps  = 1 << (probBits - coarse)
	longestPlan = niceLength // of the lengths that the parser weighs
)

// bitPrices is the price of a 0, by its probability.
type bitPrices [priceSteps]uint32

func newBitPrices() *bitPrices {
	b := &bitPrices{}
	for i := range b {
		middle := uint64(i<<coarse + 1<<coarse/2)
		b[i] = probBits<<priceBits - log2(middle)
	}
	return b
}

// log2 is a logarithm in 1/16, rounded. No floating point: every machine has to
// make the same.
func log2(v uint64) uint32 {
	whole := bits.Len64(v) - 1
	x := v << (31 - whole) // from 1 to 2, in 1/2^31
	log := uint32(whole)
	for range priceBits + 1 {
		x = x * x >> 31
		log <<= 1
		if x >= 1<<32 {
			x >>= 1
			log |= 1
		}
	}
	return (log + 1) / 2
}

func (b *bitPrices) zero(p prob) uint32 { return b[p>>coarse&(priceSteps-1)] }
func (b *bitPrices) one(p prob) uint32  { return b[(p>>coarse^(priceSteps-1))&(priceSteps-1)] }

// of is the price of a bit, which is 0 or 1.
func (b *bitPrices) of(p prob, bit uint32) uint32 {
	return b[(uint32(p>>coarse)^-bit)&(priceSteps-1)]
}

// tree is what [bitWriter.tree] writes.
func (b *bitPrices) tree(probs []prob, v uint32) uint32 {
	sum := uint32(0)
	v |= uint32(len(probs))
	for v > 1 {
		bit := v & 1
		v >>= 1
		sum += b.of(probs[v], bit)
	}
	return sum
}

// reversed is what [bitWriter.reversed] writes.
func (b *bitPrices) reversed(probs []prob, v uint32, n uint) uint32 {
	sum, node := uint32(0), uint32(1)
	for range n {
		bit := v & 1
		v >>= 1
		sum += b.of(probs[node], bit)
		node = node<<1 | bit
	}
	return sum
}

// prices are those of whole values, as they were a while ago: a model changes with
// every token.
type prices struct {
	bits           *bitPrices
	length, repeat lengthPrices
	slots          uint32 // that occur in a block
	slot           [lengthKinds][slots]uint32
	near           [lengthKinds][nearest]uint32 // distances less 1, with their slots
	align          [1 << alignBits]uint32
	distancesAge   int
}

// lengthPrices are by the position and length.
type lengthPrices struct {
	of  [positions][longestPlan + 1]uint32
	age [positions]int
}

const (
	lengthsLast   = 32 // lengths until prices are computed again
	distancesLast = 64
)

func (p *prices) reset(m *model) {
	for i := range positions {
		p.length.update(&m.length, i, p.bits)
		p.repeat.update(&m.repeat, i, p.bits)
	}
	p.updateDistances(m)
}

// used counts a length that was written.
func (l *lengthPrices) used(m *lengthModel, position int, b *bitPrices) {
	l.age[position]++
	if l.age[position] >= lengthsLast {
		l.update(m, position, b)
	}
}

func (l *lengthPrices) update(m *lengthModel, position int, b *bitPrices) {
	l.age[position] = 0
	of := &l.of[position]
	low := b.zero(m.notLow)
	mid := b.one(m.notLow) + b.zero(m.high)
	rest := b.one(m.notLow) + b.one(m.high)
	for i := range uint32(lowLengths) {
		of[minMatch+i] = low + b.tree(m.low[position][:], i)
		of[minMatch+lowLengths+i] = mid + b.tree(m.mid[position][:], i)
	}
	for length := uint32(minMatch + 2*lowLengths); length <= longestPlan; length++ {
		of[length] = rest + b.tree(m.rest[:], length-minMatch-2*lowLengths)
	}
}

func (p *prices) usedDistance(m *model) {
	p.distancesAge++
	if p.distancesAge >= distancesLast {
		p.updateDistances(m)
	}
}

func (p *prices) updateDistances(m *model) {
	p.distancesAge = 0
	for i := range p.align {
		p.align[i] = p.bits.reversed(m.align[:], uint32(i), alignBits)
	}
	for kind := range p.slot {
		of := &p.slot[kind]
		for slot := range p.slots {
			of[slot] = p.bits.tree(m.slot[kind][:], slot)
			if slot >= firstAligned {
				of[slot] += uint32(slotExtra(slot)-alignBits) * oneBit
			}
		}
	}
	for d := range uint32(nearest) {
		slot, extra := slotOf(d), uint32(0)
		if slot >= firstSpecial {
			extra = p.bits.reversed(m.special[slotStart(slot)-slot:], d, slotExtra(slot))
		}
		for kind := range p.near {
			p.near[kind][d] = p.slot[kind][slot] + extra
		}
	}
}

// distance is the price of a distance behind a length of a kind.
func (p *prices) distance(distance, kind uint32) uint32 {
	d := distance - 1
	if d < nearest {
		return p.near[kind][d]
	}
	return p.slot[kind][slotOf(d)&(slots-1)] + p.align[d%(1<<alignBits)]
}

// literal is the price of the literal at a place, behind h.
func (p *prices) literal(m *model, data []byte, at int, h *history) uint32 {
	probs, b := m.literals(data, at), p.bits
	v := uint32(data[at])
	if h.state < afterMatch {
		return b.tree(probs[:1<<8], v)
	}
	guess := uint32(data[at-int(h.distances[0])])
	node, agrees, sum := uint32(1), uint32(1<<8), uint32(0)
	for i := 7; i >= 0; i-- {
		bit, guessed := v>>i&1, guess>>i&1
		sum += b.of(probs[agrees+agrees*guessed+node], bit)
		node = node<<1 | bit
		agrees &= (bit ^ guessed) - 1
	}
	return sum
}
