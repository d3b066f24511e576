package zstd

// fastFinder finds nearby matches for the levels that look at no more than two
// earlier positions: the last one with the same eight bytes, and the last one
// with the same five.
type fastFinder struct {
	reach  int
	stride uint
	long   *[1 << longBits]uint32 // positions by the hash of eight bytes; 0 means none
	short  *[1 << shortBits]uint32
}

const (
	// The tables of a worker fit in a core's own cache.
	longBits  = 17
	shortBits = 17
)

func newFastFinder(e effort, reach int) *fastFinder {
	return &fastFinder{reach: reach, stride: e.stride, long: new([1 << longBits]uint32), short: new([1 << shortBits]uint32)}
}

func hashLong(v uint64) uint32  { return uint32(v * 0xcf1bbcdcb7a56463 >> (64 - longBits)) }
func hashShort(v uint64) uint32 { return uint32(v << 24 * 889523592379 >> (64 - shortBits)) }

// reset starts over with data. Matches may reach back before from.
func (f *fastFinder) reset(data []byte, from int) {
	clear(f.long[:])
	clear(f.short[:])
	for at := max(1, from-f.reach/primed); at < from-wide; at += 2 {
		v := load64(data, at)
		f.long[hashLong(v)] = uint32(at)
		f.short[hashShort(v)] = uint32(at)
	}
}

const primed = 4

// parseFast divides data[pos:end], where no long match begins.
func (p *parser) parseFast(pos, end int) {
	data, f := p.data[:end], p.fast
	long, short := f.long, f.short
	for last := end - 2*wide; pos < last; {
		here := load64(data, pos)
		l, s := hashLong(here), hashShort(here)
		atLong, atShort := int(long[l]), int(short[s])
		long[l], short[s] = uint32(pos), uint32(pos)
		at := pos
		var m copyOf
		switch rep := p.recent[0]; {
		case rep > 0 && rep <= pos && load32(data, pos+1-rep) == uint32(here>>8):
			// A recent distance costs next to nothing to encode.
			at, m = pos+1, copyOf{4 + common(data[pos+5-rep:], data[pos+5:]), rep}
			p.literals = append(p.literals, data[p.anchor:at]...)
			p.sequences = append(p.sequences, sequence{uint32(at - p.anchor), uint32(m.length), 1})
			p.anchor = at + m.length
			f.note(data, pos, p.anchor, last)
			pos = p.repeat(p.anchor, last)
			continue
		case f.reaches(atLong, pos) && load64(data, atLong) == here:
			m = copyOf{8 + common(data[atLong+8:], data[pos+8:]), pos - atLong}
		case f.reaches(atShort, pos) && load32(data, atShort) == uint32(here):
			at, m = f.longer(data, pos, atShort)
		default:
			pos += 1 + (pos-p.anchor)>>f.stride
			continue
		}
		at, m = p.extend(at, m)
		p.emit(at, m)
		f.note(data, pos, p.anchor, last)
		pos = p.repeat(p.anchor, last)
	}
}

// reaches reports whether a match at pos may refer to at, where 0 means no
// position.
func (f *fastFinder) reaches(at, pos int) bool { return at > 0 && pos-at <= f.reach }

// longer returns a match of eight bytes at the position after pos, if there is
// one, and otherwise the match at pos with at.
func (f *fastFinder) longer(data []byte, pos, at int) (int, copyOf) {
	next := load64(data, pos+1)
	l := hashLong(next)
	atNext := int(f.long[l])
	f.long[l] = uint32(pos + 1)
	if f.reaches(atNext, pos+1) && load64(data, atNext) == next {
		return pos + 1, copyOf{8 + common(data[atNext+8:], data[pos+9:]), pos + 1 - atNext}
	}
	return pos, copyOf{4 + common(data[at+4:], data[pos+4:]), pos - at}
}

// note records positions near both ends of a match that was found at pos: they
// are likely to match again.
func (f *fastFinder) note(data []byte, pos, end, last int) {
	if end >= last {
		return
	}
	v := load64(data, pos+2)
	f.long[hashLong(v)], f.short[hashShort(v)] = uint32(pos+2), uint32(pos+2)
	f.long[hashLong(load64(data, end-2))] = uint32(end - 2)
	f.short[hashShort(load64(data, end-1))] = uint32(end - 1)
}

// repeat matches at the distance before last, as long as such matches follow
// directly, and returns where they end.
func (p *parser) repeat(pos, last int) int {
	data, f := p.data, p.fast
	for pos < last {
		distance := p.recent[1]
		here := load64(data, pos)
		if distance <= 0 || distance > pos || load32(data, pos-distance) != uint32(here) {
			break
		}
		f.long[hashLong(here)], f.short[hashShort(here)] = uint32(pos), uint32(pos)
		n := 4 + common(data[pos+4-distance:], data[pos+4:last+2*wide])
		p.recent[0], p.recent[1] = distance, p.recent[0]
		p.sequences = append(p.sequences, sequence{0, uint32(n), 1})
		pos += n
		p.anchor = pos
	}
	return pos
}
