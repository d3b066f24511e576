package zstd

import (
	"context"
	"encoding/binary"
)

// Encoder compresses contents in memory, each into a frame that states its
// size. It is not safe for concurrent use.
type Encoder struct{ w *worker }

// NewEncoder returns an encoder of contents of up to size bytes. The level is
// that of [Options].
func NewEncoder(level, size int) *Encoder {
	return &Encoder{newWorker(Options{Level: level, Window: max(size, 1)})}
}

// Encode appends the frame of src to dst. Decompressing it needs no more memory
// than src takes. When ctx ends, the frame is incomplete.
func (e *Encoder) Encode(ctx context.Context, dst, src []byte) []byte {
	return e.w.compress(ctx, appendSizedHeader(dst, len(src)), job{data: src, first: true, last: true})
}

// appendSizedHeader begins a frame whose window is its content (RFC 8878,
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
