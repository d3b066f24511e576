package initramfs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"
)

// The legacy frame of LZ4, which "lz4 -l" writes and the kernel reads
// (lib/decompress_unlz4.c): a magic number, then blocks, each preceded by its
// length in four bytes. It has no end mark.
const (
	lz4Magic    = 0x184c2102
	lz4Unpacked = 8 << 20                            // content of every block but the last
	lz4Packed   = lz4Unpacked + lz4Unpacked/255 + 16 // its greatest packed size
)

// lz4Legacy reads one legacy frame. Anything that cannot be a block's length
// ends it.
type lz4Legacy struct {
	r     *bufio.Reader
	in    []byte
	block []byte
	left  []byte // of block
}

func (l *lz4Legacy) Read(p []byte) (int, error) {
	for len(l.left) == 0 {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.left)
	l.left = l.left[n:]
	return n, nil
}

func (l *lz4Legacy) next() error {
	size, err := l.length()
	if err != nil {
		return err
	}
	if cap(l.in) < size {
		l.in = make([]byte, size)
	}
	if l.block == nil {
		l.block = make([]byte, lz4Unpacked)
	}
	if _, err := io.ReadFull(l.r, l.in[:size]); err != nil {
		return unexpected(err)
	}
	n, err := lz4.UncompressBlock(l.in[:size], l.block)
	if err != nil {
		return fmt.Errorf("reading an lz4 block: %w", err)
	}
	l.left = l.block[:n]
	return nil
}

// length reads the length of the next block, or returns io.EOF after the last.
func (l *lz4Legacy) length() (int, error) {
	for {
		start, err := l.r.Peek(4)
		if errors.Is(err, io.EOF) && len(start) < 4 {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		size := binary.LittleEndian.Uint32(start)
		if size != lz4Magic && (size == 0 || size > lz4Packed) {
			return 0, io.EOF
		}
		if _, err := l.r.Discard(4); err != nil {
			return 0, err
		}
		if size != lz4Magic {
			return int(size), nil
		}
	}
}
