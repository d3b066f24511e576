package zstd

import "encoding/binary"

// bitWriter writes numbers, least significant bit first.
type bitWriter struct {
	out  []byte
	acc  uint64
	used uint // bits in acc
}

// add writes the low n bits of v, whose other bits must be 0. At most 57 bits
// may be added between two calls of flush.
func (w *bitWriter) add(v uint64, n uint) {
	w.acc |= v << w.used
	w.used += n
}

// flush moves complete bytes out.
func (w *bitWriter) flush() {
	w.out = binary.LittleEndian.AppendUint64(w.out, w.acc)
	whole := w.used >> 3
	w.out = w.out[:len(w.out)-8+int(whole)]
	w.acc >>= whole * 8
	w.used &= 7
}

// pad fills the last byte with zeros.
func (w *bitWriter) pad() {
	w.flush()
	if w.used > 0 {
		w.out = append(w.out, byte(w.acc))
		w.acc, w.used = 0, 0
	}
}

// end marks the end of a stream that is read backwards: a 1 and zeros.
func (w *bitWriter) end() {
	w.add(1, 1)
	w.pad()
}
