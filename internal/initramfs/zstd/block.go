package zstd

import (
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/huff0"
)

// blockWriter writes blocks (RFC 8878, 3.1.1.2). Each reuses the tables of the
// previous one if that is shorter.
type blockWriter struct {
	huff      *huff0.Scratch
	huffKnown bool // the decoder has huff's table
	lengths   *codec
	offsets   *codec
	copies    *codec
	llCodes   *lengthCodes
	mlCodes   *lengthCodes
}

func newBlockWriter() *blockWriter {
	return &blockWriter{
		huff:    &huff0.Scratch{},
		lengths: newCodec(9, usualLiterals()), offsets: newCodec(8, usualOffsets()), copies: newCodec(9, usualCopies()),
		llCodes: newLiteralsCodes(), mlCodes: newCopyCodes(),
	}
}

// forget is called when the decoder's tables are not known.
func (b *blockWriter) forget() {
	b.huffKnown = false
	for _, c := range []*codec{b.lengths, b.offsets, b.copies} {
		c.known = false
	}
}

// The types of blocks, in the header after the bit for the last one.
const (
	rawBlock        = 0
	compressedBlock = 2
)

func appendHeader(out []byte, last bool, kind, size int) []byte {
	header := uint32(size)<<3 | uint32(kind)<<1
	if last {
		header |= 1
	}
	return append(out, byte(header), byte(header>>8), byte(header>>16))
}

// write appends src as a block of literals and sequences. It reports whether it
// did; if that is not shorter, it appends src as a raw block.
func (b *blockWriter) write(out, src, literals []byte, sequences []sequence, last bool) ([]byte, bool) {
	begin := len(out)
	out = appendHeader(out, last, compressedBlock, 0)
	out = b.appendLiterals(out, literals)
	out = b.appendSequences(out, sequences)
	size := len(out) - begin - 3
	if size < len(src) {
		appendHeader(out[:begin], last, compressedBlock, size)
		return out, true
	}
	b.forget()
	return append(appendHeader(out[:begin], last, rawBlock, len(src)), src...), false
}

// The types of literals.
const (
	rawLiterals        = 0
	equalLiterals      = 1
	compressedLiterals = 2
	treelessLiterals   = 3
)

func (b *blockWriter) appendLiterals(out, literals []byte) []byte {
	const few, oneStream = 32, 256
	if len(literals) < few {
		return append(appendPlainHeader(out, rawLiterals, len(literals)), literals...)
	}
	b.huff.Reuse = huff0.ReusePolicyNone
	if b.huffKnown {
		b.huff.Reuse = huff0.ReusePolicyAllow
	}
	compress := huff0.Compress4X
	if len(literals) < oneStream {
		compress = huff0.Compress1X
	}
	data, again, err := compress(literals, b.huff)
	b.huffKnown = err == nil
	switch {
	case errors.Is(err, huff0.ErrUseRLE):
		return append(appendPlainHeader(out, equalLiterals, len(literals)), literals[0])
	case err != nil: // not compressible
		return append(appendPlainHeader(out, rawLiterals, len(literals)), literals...)
	}
	kind := compressedLiterals
	if again {
		kind = treelessLiterals
	}
	return append(appendHuffHeader(out, kind, len(literals), len(data), len(literals) < oneStream), data...)
}

func appendPlainHeader(out []byte, kind, size int) []byte {
	switch {
	case size < 1<<5:
		return append(out, byte(kind|size<<3))
	case size < 1<<12:
		return binary.LittleEndian.AppendUint16(out, uint16(kind|1<<2|size<<4))
	}
	header := kind | 3<<2 | size<<4
	return append(out, byte(header), byte(header>>8), byte(header>>16))
}

func appendHuffHeader(out []byte, kind, size, compressed int, oneStream bool) []byte {
	// format encodes the number of streams and the width of the sizes.
	format, width := 3, 18
	switch {
	case oneStream:
		format, width = 0, 10
	case size < 1<<10:
		format, width = 1, 10
	case size < 1<<14:
		format, width = 2, 14
	}
	header := uint64(kind) | uint64(format)<<2 | uint64(size)<<4 | uint64(compressed)<<(4+width)
	for n := 4 + 2*width; n > 0; n -= 8 {
		out = append(out, byte(header))
		header >>= 8
	}
	return out
}

func (b *blockWriter) appendSequences(out []byte, sequences []sequence) []byte {
	switch n := len(sequences); {
	case n == 0:
		return append(out, 0)
	case n < 128:
		out = append(out, byte(n))
	case n < 0x7f00:
		out = append(out, byte(n>>8)+128, byte(n))
	default:
		out = append(out, 255, byte(n-0x7f00), byte((n-0x7f00)>>8))
	}
	b.encodeLengths(sequences)
	modes := len(out)
	out = append(out, 0)
	for i, c := range []*codec{b.lengths, b.offsets, b.copies} {
		var mode byte
		out, mode = c.choose(out)
		out[modes] |= mode << (6 - 2*i)
	}
	return b.appendStream(out, sequences)
}

// encodeLengths records the codes of each sequence.
func (b *blockWriter) encodeLengths(sequences []sequence) {
	b.lengths.reset()
	b.offsets.reset()
	b.copies.reset()
	for _, s := range sequences {
		b.lengths.note(b.llCodes.code(s.literals))
		b.offsets.note(offsetCode(s.offset))
		b.copies.note(b.mlCodes.code(s.length - leastCopy))
	}
}

// appendStream writes the sequences from last to first, because they are read
// backwards.
func (b *blockWriter) appendStream(out []byte, sequences []sequence) []byte {
	w := bitWriter{out: out}
	i := len(sequences) - 1
	ll, of, ml := &b.lengths.table, &b.offsets.table, &b.copies.table
	mlState := ml.begin(b.copies.codes[i])
	ofState := of.begin(b.offsets.codes[i])
	llState := ll.begin(b.lengths.codes[i])
	b.addExtra(&w, sequences[i], i)
	for i--; i >= 0; i-- {
		ofState = of.encode(&w, ofState, b.offsets.codes[i])
		mlState = ml.encode(&w, mlState, b.copies.codes[i])
		llState = ll.encode(&w, llState, b.lengths.codes[i])
		w.flush()
		b.addExtra(&w, sequences[i], i)
	}
	ml.finish(&w, mlState)
	of.finish(&w, ofState)
	ll.finish(&w, llState)
	w.flush()
	w.end()
	return w.out
}

// addExtra writes the extra bits of a sequence's codes.
func (b *blockWriter) addExtra(w *bitWriter, s sequence, i int) {
	b.llCodes.add(w, b.lengths.codes[i], s.literals)
	b.mlCodes.add(w, b.copies.codes[i], s.length-leastCopy)
	w.flush()
	code := b.offsets.codes[i]
	w.add(uint64(s.offset)-1<<code, uint(code))
	w.flush()
}
