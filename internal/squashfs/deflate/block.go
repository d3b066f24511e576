package deflate

import (
	"encoding/binary"
	"slices"
)

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

// flush leaves less than a byte to be put together.
func (w *bitWriter) flush() {
	for ; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
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
	size := c.size(&b.counts)
	if (c.headerSize()+size)/8 >= b.counts.bytes {
		e.writeStored(src[:b.counts.bytes], final)
		return
	}
	e.bits.write(final|dynamicBlock<<1, 3)
	c.writeHeader(&e.bits, literals, distances)
	e.writeTokens(b.tokens, size)
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

// writers is how the tokens of a block are written: by symbol and extra bits.
type writers struct {
	// lengths are those of the 256 literals and the lengths from minMatch on:
	// code and extra bits, and above them their number.
	lengths [512]uint32
	// distances are by slot: the code, and above it its length and the number of
	// extra bits.
	distances [distanceSlots]uint32
}

func (w *writers) set(c *codes, s *symbols) {
	for i := range 256 {
		literal := c.literals[i]
		w.lengths[i] = uint32(literal.bits) | uint32(literal.length)<<24
		l := s.lengths[i]
		length, extra := c.literals[l], lengthExtra(int(l))
		w.lengths[256+i] = uint32(length.bits) | uint32(i)&(1<<extra-1)<<length.length | (uint32(length.length)+uint32(extra))<<24
	}
	for slot, d := range s.distances {
		distance := c.distances[d]
		w.distances[slot] = uint32(distance.bits) | uint32(distance.length)<<16 | uint32(distanceExtra(int(d)))<<24
	}
}

// writeTokens writes tokens of so many bits together. Whether the next is a
// literal cannot be foreseen, so that both are written in the same way: a literal
// as a length with a distance of no bits.
func (e *Encoder) writeTokens(tokens []token, size int) {
	e.writers.set(&e.codes, e.symbols)
	e.bits.flush() // what is left and a token fit in 64 bits
	w, bits, n := &e.writers, e.bits.bits, e.bits.n
	at := len(e.bits.out)
	out := slices.Grow(e.bits.out, size/8+16)
	out = out[:cap(out)]
	for _, t := range tokens {
		match := uint32(t) >> 31
		length := w.lengths[match<<8|uint32(t)>>(match<<4)&0xff]
		d := w.distances[distanceSlot(t)] & -match
		codeLength, extra := d>>16&0xff, d>>24
		distance := uint64(d&0xffff) | uint64(t&0x7fff)&(1<<(extra&31)-1)<<(codeLength&31)
		bits |= uint64(length&0xffffff) << (n & 63)
		n += uint(length >> 24)
		bits |= distance << (n & 63)
		n += uint(codeLength + extra)
		binary.LittleEndian.PutUint64(out[at:], bits)
		whole := n >> 3
		at += int(whole)
		bits >>= whole << 3 & 63
		n &= 7
	}
	e.bits = bitWriter{out[:at], bits, n}
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
