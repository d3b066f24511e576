package lzma2

// coder writes tokens and learns from them.
type coder struct {
	model  model
	prices prices
	bits   bitWriter
	last   history
}

// reset forgets all that was learned.
func (c *coder) reset() {
	c.model.reset()
	c.last = history{distances: [4]uint32{1, 1, 1, 1}}
	c.prices.reset(&c.model)
}

// write writes the token at a place in data.
func (c *coder) write(data []byte, at int, t token) {
	kind, index := c.last.kind(t)
	m, state, position := &c.model, c.last.state, at%positions
	if kind == literal {
		c.bits.bit(&m.isMatch[state][position], 0)
		c.writeLiteral(data, at)
	} else {
		c.bits.bit(&m.isMatch[state][position], 1)
		c.bits.bit(&m.isRepeat[state], min(uint32(kind-match), 1))
	}
	switch kind {
	case match:
		c.writeLength(&m.length, &c.prices.length, t.length, position)
		c.writeDistance(t)
	case repeated:
		c.writeIndex(index, position)
		c.writeLength(&m.repeat, &c.prices.repeat, t.length, position)
	case shortRepeat:
		c.bits.bit(&m.isNotFirst[state], 0)
		c.bits.bit(&m.isLong[state][position], 0)
	}
	c.last.add(t)
}

func (c *coder) writeLiteral(data []byte, at int) {
	probs := c.model.literals(data, at)
	b := uint32(data[at])
	if c.last.state < afterMatch {
		c.bits.tree(probs[:1<<8], b)
		return
	}
	guess := uint32(data[at-int(c.last.distances[0])])
	node, agrees := uint32(1), uint32(1<<8)
	for i := 7; i >= 0; i-- {
		bit, guessed := b>>i&1, guess>>i&1
		c.bits.bit(&probs[agrees+agrees*guessed+node], bit)
		node = node<<1 | bit
		if bit != guessed {
			agrees = 0
		}
	}
}

// literals gives the probabilities of the literal at a place.
func (m *model) literals(data []byte, at int) *literalModel {
	if at == 0 {
		return &m.literal[0]
	}
	return &m.literal[data[at-1]>>(8-literalBits)]
}

// writeIndex tells which of the last distances it is.
func (c *coder) writeIndex(index, position int) {
	m, state := &c.model, c.last.state
	c.bits.bit(&m.isNotFirst[state], min(uint32(index), 1))
	if index == 0 {
		c.bits.bit(&m.isLong[state][position], 1)
		return
	}
	c.bits.bit(&m.isNotSecond[state], min(uint32(index-1), 1))
	if index > 1 {
		c.bits.bit(&m.isFourth[state], uint32(index-2))
	}
}

func (c *coder) writeLength(m *lengthModel, prices *lengthPrices, length uint32, position int) {
	l := length - minMatch
	switch {
	case l < lowLengths:
		c.bits.bit(&m.notLow, 0)
		c.bits.tree(m.low[position][:], l)
	case l < 2*lowLengths:
		c.bits.bit(&m.notLow, 1)
		c.bits.bit(&m.high, 0)
		c.bits.tree(m.mid[position][:], l-lowLengths)
	default:
		c.bits.bit(&m.notLow, 1)
		c.bits.bit(&m.high, 1)
		c.bits.tree(m.rest[:], l-2*lowLengths)
	}
	prices.used(m, position, c.prices.bits)
}

func (c *coder) writeDistance(t token) {
	m, d := &c.model, t.distance-1
	slot := slotOf(d)
	c.bits.tree(m.slot[lengthKind(t.length)][:], slot)
	extra := slotExtra(slot)
	switch {
	case slot >= firstAligned:
		c.bits.even(d>>alignBits, extra-alignBits)
		c.bits.reversed(m.align[:], d, alignBits)
	case slot >= firstSpecial:
		c.bits.reversed(m.special[slotStart(slot)-slot:], d, extra)
	}
	c.prices.usedDistance(m)
}
