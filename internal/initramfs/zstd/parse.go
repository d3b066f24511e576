package zstd

// parser divides blocks into sequences.
type parser struct {
	effort
	near   *chainFinder // nil for the levels that use fast
	fast   *fastFinder
	data   []byte // the buffer, up to the end of what is compressed
	recent recent
	// far are the long matches still to come.
	far       []copied
	sequences []sequence
	literals  []byte
	anchor    int // everything before is encoded
}

// blockSize is the largest size of a block.
const blockSize = 1 << 17

// parse divides data[from:to], one block.
func (p *parser) parse(from, to int) {
	p.sequences, p.literals, p.anchor = p.sequences[:0], p.literals[:0], from
	for pos := from; pos < to; {
		end := to
		if len(p.far) > 0 {
			c := p.far[0]
			if c.start <= pos {
				pos = p.takeFar(c, pos, to)
				continue
			}
			end = min(end, c.start)
		}
		if p.fast != nil {
			p.parseFast(pos, end)
			pos = end
			continue
		}
		pos = p.parseNear(pos, end)
	}
	p.literals = append(p.literals, p.data[p.anchor:to]...)
}

// takeFar uses the part of c from pos to the end of the block.
func (p *parser) takeFar(c copied, pos, to int) int {
	end := min(c.end, to)
	if end-pos >= 2*wide {
		p.emit(pos, copyOf{end - pos, c.distance})
		pos = end
		if p.near != nil {
			p.near.skip(pos)
		}
	}
	if end == c.end {
		p.far = p.far[1:]
	} else if pos != end {
		p.far[0].start = end // too short for this block; the next one has the rest
	}
	return pos
}

// parseNear finds one match in data[pos:end], or skips some positions as
// literals.
func (p *parser) parseNear(pos, end int) int {
	if end-pos < 2*wide {
		return end
	}
	best := p.best(pos, end)
	if best.length == 0 {
		return min(end, pos+1+(pos-p.anchor)>>p.stride)
	}
	at := pos
	for ahead := 1; ahead <= p.ahead && best.length < p.nice && at+ahead+2*wide <= end; {
		next := p.best(at+ahead, end)
		if next.length > 0 && next.worth() > best.worth()+3*ahead+1 {
			at, best, ahead = at+ahead, next, 1
			continue
		}
		ahead++
	}
	at, best = p.extend(at, best)
	p.emit(at, best)
	return at + best.length
}

// best returns the most valuable match at pos. A recent distance costs next to
// nothing to encode.
func (p *parser) best(pos, end int) copyOf {
	again := p.again(pos, end)
	if again.length >= p.nice {
		return again
	}
	m := p.near.find(pos, end)
	if again.length > 0 && again.length*4 >= m.worth() {
		return again
	}
	return m
}

// again returns the longest match at a recent distance.
func (p *parser) again(pos, end int) copyOf {
	data := p.data
	choices := p.recent
	if pos == p.anchor {
		choices = recent{p.recent[1], p.recent[2], p.recent[0] - 1}
	}
	here := load32(data, pos)
	var best copyOf
	for _, distance := range choices {
		if distance <= 0 || distance > pos || load32(data, pos-distance) != here {
			continue
		}
		if n := common(data[pos-distance:], data[pos:end]); n > best.length {
			best = copyOf{n, distance}
		}
	}
	return best
}

// extend moves a match's start back over literals that are equal too.
func (p *parser) extend(at int, m copyOf) (int, copyOf) {
	data := p.data
	for at > p.anchor && at > m.distance && data[at-1] == data[at-m.distance-1] {
		at--
		m.length++
	}
	return at, m
}

func (p *parser) emit(at int, m copyOf) {
	literals := at - p.anchor
	p.literals = append(p.literals, p.data[p.anchor:at]...)
	p.sequences = append(p.sequences, sequence{uint32(literals), uint32(m.length), p.recent.use(m.distance, literals)})
	p.anchor = at + m.length
}
