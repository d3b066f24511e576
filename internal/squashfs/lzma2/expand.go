package lzma2

// expand tries every token that could follow a node.
func (p *parser) expand(cur int) {
	n := &p.nodes[cur]
	at := p.start + cur
	data, m, b := p.finder.data, &p.model, p.prices.bits
	avail := min(p.finder.size-at, longestRun+stepRoom-cur)
	position, state := at%positions, n.state

	isMatch := m.isMatch[state][position]
	matchPrice := n.price + b.one(isMatch)
	repeatPrice := matchPrice + b.one(m.isRepeat[state])
	matchPrice += b.zero(m.isRepeat[state])
	literalPrice := n.price + b.zero(isMatch) + p.prices.literal(m, data, at, &n.history)

	p.reach(cur + 1)
	p.offer(cur, cur+1, literalPrice, 0, 0)
	last := int(n.distances[0])
	if last <= at {
		if data[at] == data[at-last] {
			short := repeatPrice + b.zero(m.isNotFirst[state]) + b.zero(m.isLong[state][position])
			p.offer(cur, cur+1, short, 1, uint32(last))
		} else {
			p.literalThenRepeat(cur, cur+1, literalPrice, nextState(state, literal), 0, uint32(last), avail-1)
		}
	}

	most := min(avail, niceLength)
	least := minMatch
	for i, d := range n.distances {
		if int(d) > at {
			continue
		}
		length := p.finder.extend(at-int(d), at, 0, most)
		if length < minMatch {
			continue
		}
		price := repeatPrice + p.indexPrice(i, state, position)
		p.reach(cur + length)
		prices := &p.prices.repeat.of[position]
		for l := minMatch; l <= length; l++ {
			p.offer(cur, cur+l, price+prices[l], uint32(l), d)
		}
		if i == 0 {
			least = length + 1
		}
		p.thenLiteral(cur, length, price+prices[length], nextState(state, repeated), d, avail)
	}

	prices := &p.prices.length.of[position]
	l := least
	for _, t := range p.matches {
		length := min(int(t.length), most)
		if length < l {
			continue
		}
		p.reach(cur + length)
		for ; l <= length; l++ {
			price := matchPrice + prices[l] + p.prices.distance(t.distance, uint32(l))
			p.offer(cur, cur+l, price, uint32(l), t.distance)
		}
		price := matchPrice + prices[length] + p.prices.distance(t.distance, uint32(length))
		p.thenLiteral(cur, length, price, nextState(state, match), t.distance, avail)
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
