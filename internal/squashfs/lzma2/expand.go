package lzma2

// expand tries every token that could follow a node. What is longer than
// niceLength is weighed as that, and in the node after it, again.
func (p *parser) expand(cur int) {
	n := &p.nodes[cur]
	at := p.start + cur
	m, b := &p.model, p.prices.bits
	avail := min(p.finder.size-at, longestRun+stepRoom-cur)
	isMatch, isRepeat := m.isMatch[n.state][at%positions], m.isRepeat[n.state]

	p.reach(cur + 1)
	p.expandLiteral(cur, n.price+b.zero(isMatch), n.price+b.one(isMatch)+b.one(isRepeat), avail)
	if avail >= minMatch {
		least := p.expandRepeats(cur, n.price+b.one(isMatch)+b.one(isRepeat), avail)
		p.expandMatches(cur, n.price+b.one(isMatch)+b.zero(isRepeat), least, avail)
	}
}

// expandLiteral tries a literal, alone and before a repeat, and a short repeat.
func (p *parser) expandLiteral(cur int, price, repeatPrice uint32, avail int) {
	n := &p.nodes[cur]
	at := p.start + cur
	data, m, b := p.finder.data, &p.model, p.prices.bits
	price += p.prices.literal(m, data, at, &n.history)
	p.offer(cur, cur+1, price, 0, 0)
	last := int(n.distances[0])
	switch {
	case last > at:
	case data[at] == data[at-last]:
		repeatPrice += b.zero(m.isNotFirst[n.state]) + b.zero(m.isLong[n.state][at%positions])
		p.offer(cur, cur+1, repeatPrice, 1, uint32(last))
	default:
		p.literalThenRepeat(cur, cur+1, price, nextState(n.state, literal), 0, uint32(last), avail-1)
	}
}

// expandRepeats tries matches at the last distances, and gives the least length
// that pays at another: the very last distance is cheaper than any.
func (p *parser) expandRepeats(cur int, price uint32, avail int) (least int) {
	n := &p.nodes[cur]
	at := p.start + cur
	data, position := p.finder.data, at%positions
	prices := &p.prices.repeat.of[position]
	here := load16(data, at)
	least = minMatch
	for i, d := range n.distances {
		if int(d) > at || load16(data, at-int(d)) != here {
			continue
		}
		length := p.finder.extend(at-int(d), at, minMatch, min(avail, niceLength))
		price := price + p.indexPrice(i, n.state, position)
		p.reach(cur + length)
		p.offerLengths(cur, prices[:length+1], minMatch, price, d)
		if i == 0 {
			least = length + 1
		}
		p.thenLiteral(cur, length, price+prices[length], nextState(n.state, repeated), d, avail)
	}
	return least
}

// expandMatches tries matches at new distances, each in the lengths that the
// nearer ones do not have.
func (p *parser) expandMatches(cur int, price uint32, least, avail int) {
	position, state := (p.start+cur)%positions, p.nodes[cur].state
	prices := &p.prices.length.of[position]
	for _, t := range p.matches {
		length := min(int(t.length), avail)
		if length < least {
			continue
		}
		p.reach(cur + length)
		for ; least < minMatch+lengthKinds-1 && least <= length; least++ {
			distance := p.prices.distance(t.distance, lengthKind(uint32(least)))
			p.offer(cur, cur+least, price+prices[least]+distance, uint32(least), t.distance)
		}
		price := price + p.prices.distance(t.distance, lengthKind(uint32(length)))
		p.offerLengths(cur, prices[:length+1], least, price, t.distance)
		least = max(least, length+1)
		p.thenLiteral(cur, length, price+prices[length], nextState(state, match), t.distance, avail)
	}
}

// offerLengths offers a match at a distance in all lengths from least on that
// there are prices for.
func (p *parser) offerLengths(cur int, prices []uint32, least int, price, distance uint32) {
	nodes := p.nodes[cur : cur+len(prices)]
	for l := least; l < len(prices); l++ {
		n := &nodes[l]
		if sum := price + prices[l]; sum < n.price {
			n.price, n.from, n.first, n.distance = sum, int32(cur), uint32(l), distance
		}
	}
}

// reach makes the nodes to the given one reachable.
func (p *parser) reach(to int) {
	for p.end < to {
		p.end++
		p.nodes[p.end].price = endless
	}
}

// offer takes a step if it is the cheapest yet.
func (p *parser) offer(from, to int, price, first, distance uint32) {
	if n := &p.nodes[to]; price < n.price {
		n.price, n.from, n.first, n.distance = price, int32(from), first, distance
	}
}

func (p *parser) indexPrice(index int, state uint32, position int) uint32 {
	m, b := &p.model, p.prices.bits
	if index == 0 {
		return b.zero(m.isNotFirst[state]) + b.one(m.isLong[state][position])
	}
	price := b.one(m.isNotFirst[state])
	if index == 1 {
		return price + b.zero(m.isNotSecond[state])
	}
	return price + b.one(m.isNotSecond[state]) + b.of(m.isFourth[state], uint32(index-2))
}

// thenLiteral tries a literal behind a match, and behind that a match at the same
// distance: what changed by a byte.
func (p *parser) thenLiteral(cur, length int, price, state, distance uint32, avail int) {
	avail -= length + 1
	if avail < minMatch {
		return
	}
	at := p.start + cur + length
	if load16(p.finder.data, at+1) != load16(p.finder.data, at+1-int(distance)) {
		return
	}
	m, b := &p.model, p.prices.bits
	h := history{state: state, distances: [4]uint32{distance}}
	price += b.zero(m.isMatch[state][at%positions]) + p.prices.literal(m, p.finder.data, at, &h)
	p.literalThenRepeat(cur, cur+length+1, price, nextState(state, literal), uint32(length), distance, avail)
}

// literalThenRepeat tries a match at the last distance, which begins at a node
// behind a literal.
func (p *parser) literalThenRepeat(cur, begin int, price, state, first, distance uint32, avail int) {
	at := p.start + begin
	length := p.finder.extend(at-int(distance), at, 0, min(avail, niceLength))
	if length < minMatch {
		return
	}
	m, b := &p.model, p.prices.bits
	position := at % positions
	price += b.one(m.isMatch[state][position]) + b.one(m.isRepeat[state]) + p.indexPrice(0, state, position)
	p.reach(begin + length)
	p.offer(cur, begin+length, price+p.prices.repeat.of[position][length], first, distance)
}

func load16(b []byte, at int) uint16 { return uint16(b[at]) | uint16(b[at+1])<<8 }
