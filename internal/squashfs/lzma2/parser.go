package lzma2

// parser chooses tokens. A run looks for the cheapest way from a place to one
// that all ways lead to: each place reached so far knows the cheapest way to it,
// and every token that could follow is tried from it.
type parser struct {
	*coder
	finder  finder
	matches []token // at the place looked at
	nodes   []node
	start   int // the place that nodes[0] stands for
	end     int // the last node that is reached
}

// node is a place, by how many bytes it is behind the start. The last step to it
// is a match of first bytes, a literal, and another match, as far as the step
// reaches; a first of 0 is no first match. The distance is that of the first
// match, or else the second.
type node struct {
	price    uint32 // of the way to it
	from     int32
	first    uint32
	distance uint32
	history
}

const (
	longestRun = 4096 // bytes
	// stepRoom is how far behind a run a step may lead.
	stepRoom = 2*niceLength + 1
)

func (p *parser) init(size int, c *coder) {
	p.coder = c
	p.finder.init(size)
	p.nodes = make([]node, min(longestRun, size)+stepRoom+1)
}

func (p *parser) begin(block []byte) {
	p.finder.begin(block)
}

// run appends tokens for what begins at a place, the last first.
func (p *parser) run(tokens []token, at int) []token {
	p.matches = p.finder.matches(at)
	if t, ok := p.obvious(at); ok {
		return append(tokens, t)
	}
	p.start, p.end = at, 0
	p.nodes[0] = node{history: p.last}
	p.expand(0)
	cur := 1
	for ; cur < p.end && cur < longestRun; cur++ {
		if p.unpromising(cur) {
			continue
		}
		p.matches = p.finder.matches(at + cur)
		if p.longest().length >= niceLength {
			break
		}
		p.arrive(cur)
		p.expand(cur)
	}
	return p.wayTo(tokens, cur)
}

// unpromising tells a place that costs nearly as much to get to as one behind it:
// it lies inside of a match. Going on from those, too, saves 0.1 % of the size and
// takes a third more time.
func (p *parser) unpromising(cur int) bool {
	price := p.nodes[cur].price
	return p.nodes[cur+1].price <= price+oneBit ||
		cur+2 <= p.end && p.nodes[cur+2].price <= price+oneBit*3/2
}

// longest gives the longest match at the place looked at.
func (p *parser) longest() token {
	if n := len(p.matches); n > 0 {
		return p.matches[n-1]
	}
	return token{}
}

// obvious gives a token that nothing else is weighed against.
func (p *parser) obvious(at int) (token, bool) {
	var best token
	most := min(p.finder.size-at, maxMatch)
	for _, d := range p.last.distances {
		if int(d) <= at {
			if n := p.finder.extend(at-int(d), at, 0, most); n > int(best.length) {
				best = token{uint32(n), d}
			}
		}
	}
	if best.length >= niceLength {
		return best, true
	}
	t := p.longest()
	if t.length >= niceLength {
		t.length = uint32(p.finder.extend(at-int(t.distance), at, niceLength, most))
		return t, true
	}
	return token{length: 1}, t.length == 0 && best.length == 0
}

// wayTo appends the tokens of the way to a node, the last first.
func (p *parser) wayTo(tokens []token, cur int) []token {
	for cur > 0 {
		n := &p.nodes[cur]
		from := int(n.from)
		var step [3]token
		for i := n.step(&step, cur, &p.nodes[from]) - 1; i >= 0; i-- {
			tokens = append(tokens, step[i])
		}
		cur = from
	}
	return tokens
}

// step gives the tokens of the last step to n, and how many they are.
func (n *node) step(tokens *[3]token, at int, from *node) int {
	length := uint32(at) - uint32(n.from)
	i := 0
	if n.first > 0 {
		tokens[i] = token{n.first, n.distance}
		i++
	}
	if length > n.first {
		tokens[i] = token{length: 1}
		i++
	}
	if length > n.first+1 {
		tokens[i] = token{length - n.first - 1, n.distance}
		i++
	}
	return i
}

// arrive computes the history of a node, once the way to it is known.
func (p *parser) arrive(cur int) {
	n := &p.nodes[cur]
	from := &p.nodes[n.from]
	n.history = from.history
	var step [3]token
	for _, t := range step[:n.step(&step, cur, from)] {
		n.add(t)
	}
}
