package squashfs

import (
	"bytes"
	"context"
	"encoding/binary"
)

// metadataWriter writes a sequence of metadata blocks: each 8 KiB of content
// become one, after two bytes with its packed size.
type metadataWriter struct {
	comp   compressor
	filled []byte // the unfinished block
	packed []byte // the finished ones
	starts []uint64
}

// position returns the position of the next byte: the block's offset among the
// packed ones, and the offset in the block.
func (m *metadataWriter) position() (block uint64, offset int) {
	return uint64(len(m.packed)), len(m.filled)
}

func (m *metadataWriter) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), metadataSize-len(m.filled))
		m.filled = append(m.filled, b[:n]...)
		b = b[n:]
		if len(m.filled) == metadataSize {
			if err := m.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// append appends fixed-size values in little-endian order.
func (m *metadataWriter) append(values ...any) error {
	for _, v := range values {
		b, err := binary.Append(nil, binary.LittleEndian, v)
		if err != nil {
			return err
		}
		if err := m.write(b); err != nil {
			return err
		}
	}
	return nil
}

// flush finishes the current block.
func (m *metadataWriter) flush() error {
	if len(m.filled) == 0 {
		return nil
	}
	m.starts = append(m.starts, uint64(len(m.packed)))
	head := len(m.packed)
	// A block of metadata is too small to be interrupted.
	packed, err := m.comp.compress(context.Background(), append(m.packed, 0, 0), m.filled)
	if err != nil {
		return err
	}
	size := len(packed) - head - 2
	if size >= len(m.filled) {
		packed = append(packed[:head+2], m.filled...)
		size = len(m.filled) | metadataRaw
	}
	binary.LittleEndian.PutUint16(packed[head:], uint16(size))
	m.packed, m.filled = packed, m.filled[:0]
	return nil
}

// table returns a lookup table that will be at offset at: metadata blocks with
// content, then the offset of each. The second result is the position of those
// offsets, which goes into the superblock.
func table(comp compressor, content []byte, at uint64) (all []byte, index uint64, err error) {
	m := &metadataWriter{comp: comp}
	if err := m.write(content); err != nil {
		return nil, 0, err
	}
	if err := m.flush(); err != nil {
		return nil, 0, err
	}
	all = bytes.Clone(m.packed)
	for _, start := range m.starts {
		all = binary.LittleEndian.AppendUint64(all, at+start)
	}
	return all, at + uint64(len(m.packed)), nil
}
