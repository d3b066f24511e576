package zstd

import "encoding/binary"

// Encoder compresses contents that lie in memory, each into a frame that says
// its size. It is not safe for concurrent use.
type Encoder struct{ w *worker }

// NewEncoder makes an encoder of contents of at most size bytes. The level is as
// in [Options].
func NewEncoder(level, size int) *Encoder {
	return &Encoder{newWorker(Options{Level: level, Window: max(size, 1)})}
}

// Encode appends the frame of src to dst. Whoever decompresses needs no more
// memory than src takes.
func (e *Encoder) Encode(dst, src []byte) []byte {
	return e.w.compress(appendSizedHeader(dst, len(src)), job{data: src, first: true, last: true})
}

// appendSizedHeader begins a frame the window of which is its content (RFC 8878,
// 3.1.1.1.1).
func appendSizedHeader(out []byte, size int) []byte {
	const single = 1 << 5
	out = binary.LittleEndian.AppendUint32(out, magic)
	switch {
	case size < 1<<8:
		return append(out, single, byte(size))
	case size < 1<<16+1<<8:
		return binary.LittleEndian.AppendUint16(append(out, single|1<<6), uint16(size-1<<8))
	}
	return binary.LittleEndian.AppendUint32(append(out, single|2<<6), uint32(size))
}
