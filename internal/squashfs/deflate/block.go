package deflate

import "encoding/binary"

// bitWriter puts bits together, the lowest first.
type bitWriter struct {
	out  []byte
	bits uint64
	n    uint
}

// write appends the lowest n bits of v, at most 32; the others must be 0.
func (w *bitWriter) write(v uint64, n uint) {
	w.bits |= v << w.n
	w.n += n
	if w.n >= 32 {
		w.out = binary.LittleEndian.AppendUint32(w.out, uint32(w.bits))
		w.bits >>= 32
		w.n -= 32
	}
}

// align goes on to the next whole byte.
func (w *bitWriter) align() {
	for ; w.n > 0; w.n -= min(w.n, 8) {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}

func (w *bitWriter) end() []byte {
	w.align()
	return w.out
}

// codes are what a block is written with.
type codes struct {
	literals  [litSymbols]code
	distances [distances]code
	lengths   [19]code // for the lengths of the others
	runs      []lengthRun
}

// The kinds of blocks. The third, with codes that need no description, is better
// for some of less than 100 bytes only.
const (
	storedBlock  = 0
	dynamicBlock = 2
)

// writeBlock writes a block that stands for the first bytes of src.
func (e *Encoder) writeBlock(b *span, src []byte, last bool) {
	c := &e.codes
	b.counts.literals[endOfBlock]++
	assign(c.literals[:], b.counts.literals[:], 15)
	assign(c.distances[:], b.counts.distances[:], 15)
	literals, distances := c.describe()
	final := uint64(0)
	if last {
		final = 1
	}
	if (c.headerSize()+c.size(&b.counts))/8 >= b.counts.bytes {
		e.writeStored(src[:b.counts.bytes], final)
		return
	}
	e.bits.write(final|dynamicBlock<<1, 3)
	c.writeHeader(&e.bits, literals, distances)
	e.writeTokens(b.tokens)
	end := c.literals[endOfBlock]
	e.bits.write(uint64(end.bits), uint(end.length))
}

// size is the length of what was counted in bits, without the codes.
func (c *codes) size(h *histogram) int {
	size := h.extra
	for symbol, n := range h.literals {
		size += int(n) * int(c.literals[symbol].length)
	}
	for symbol, n := range h.distances {
		size += int(n) * int(c.distances[symbol].length)
	}
	return size
}

func (e *Encoder) writeTokens(tokens []token) {
	w := e.bits // a copy, to be in registers
	for _, t := range tokens {
		if t&isMatch == 0 {
			c := e.codes.literals[t]
			w.write(uint64(c.bits), uint(c.length))
			continue
		}
		l, d := e.symbols.of(t)
		c, extra := e.codes.literals[l], lengthExtra(l)
		w.write(uint64(c.bits)|uint64(t.length()-minMatch)&(1<<extra-1)<<c.length, uint(c.length)+extra)
		c, extra = e.codes.distances[d], distanceExtra(d)
		w.write(uint64(c.bits)|uint64(t.distance()-1)&(1<<extra-1)<<c.length, uint(c.length)+extra)
	}
	e.bits = w
}

// writeStored writes content as it is, in pieces that a length of 16 bits can
// tell.
func (e *Encoder) writeStored(src []byte, final uint64) {
	const most = 1<<16 - 1
	for {
		part := src[:min(len(src), most)]
		src = src[len(part):]
		flag := final
		if len(src) > 0 {
			flag = 0
		}
		e.bits.write(flag|storedBlock<<1, 3)
		e.bits.align()
		e.bits.out = binary.LittleEndian.AppendUint16(e.bits.out, uint16(len(part)))
		e.bits.out = binary.LittleEndian.AppendUint16(e.bits.out, ^uint16(len(part)))
		e.bits.out = append(e.bits.out, part...)
		if len(src) == 0 {
			return
		}
	}
}
