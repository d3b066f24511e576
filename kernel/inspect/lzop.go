package inspect

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"

	"github.com/anchore/go-lzo"
)

// lzopReader reads the file format of the lzop program, which the kernel's
// build uses for CONFIG_KERNEL_LZO: a header, then blocks of at most 64 MiB,
// each with its unpacked and packed size and checksums, then a zero size.
// The fields are those that the kernel's lib/decompress_unlzo.c reads.
type lzopReader struct {
	r     *bufio.Reader
	flags uint32
	block []byte // the unread rest of the unpacked block
}

// The flags of an lzop header that change the layout or the checks.
const (
	lzopAdlerPlain  = 1 << 0
	lzopAdlerPacked = 1 << 1
	lzopExtraField  = 1 << 6
	lzopCRCPlain    = 1 << 8
	lzopCRCPacked   = 1 << 9
	lzopFilter      = 1 << 11

	lzopMostBlock = 64 << 20
)

var errLzop = errors.New("the lzop data is damaged")

func newLzopReader(r *bufio.Reader) (*lzopReader, error) {
	if _, err := r.Discard(9); err != nil { // the magic
		return nil, err
	}
	l := &lzopReader{r: r}
	version, err := l.u16()
	if err != nil {
		return nil, err
	}
	skip := 2 + 1 // library version, method
	if version >= 0x0940 {
		skip += 2 + 1 // version needed to extract, level
	}
	if _, err := r.Discard(skip); err != nil {
		return nil, err
	}
	if l.flags, err = l.u32(); err != nil {
		return nil, err
	}
	return l, l.skipRest(version)
}

// skipRest skips the filter, mode, times, name, header checksum and extra
// field.
func (l *lzopReader) skipRest(version uint16) error {
	rest := 4 + 4 // mode, mtime
	if version >= 0x0940 {
		rest += 4 // high half of mtime
	}
	if l.flags&lzopFilter != 0 {
		rest += 4
	}
	if _, err := l.r.Discard(rest); err != nil {
		return err
	}
	name, err := l.r.ReadByte()
	if err != nil {
		return err
	}
	if _, err := l.r.Discard(int(name) + 4); err != nil {
		return err
	}
	if l.flags&lzopExtraField == 0 {
		return nil
	}
	length, err := l.u32()
	if err != nil || length > lzopMostBlock {
		return errors.Join(errLzop, err)
	}
	_, err = l.r.Discard(int(length) + 4)
	return err
}

// Read implements [io.Reader].
func (l *lzopReader) Read(p []byte) (int, error) {
	for len(l.block) == 0 {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.block)
	l.block = l.block[n:]
	return n, nil
}

// next unpacks one block. A size of zero ends the stream.
func (l *lzopReader) next() error {
	plainSize, err := l.u32()
	if err != nil {
		return err
	}
	if plainSize == 0 {
		return io.EOF
	}
	packedSize, err := l.u32()
	if err != nil {
		return err
	}
	if plainSize > lzopMostBlock || packedSize > plainSize || packedSize == 0 {
		return fmt.Errorf("a block of %d bytes packed in %d: %w", plainSize, packedSize, errLzop)
	}
	adler, err := l.checksums(packedSize < plainSize)
	if err != nil {
		return err
	}
	packed := make([]byte, packedSize)
	if _, err := io.ReadFull(l.r, packed); err != nil {
		return noEOF(err)
	}
	l.block, err = unpackBlock(packed, int(plainSize))
	if err == nil && l.flags&lzopAdlerPlain != 0 && adler32.Checksum(l.block) != adler {
		return fmt.Errorf("a block's checksum is wrong: %w", errLzop)
	}
	return err
}

// checksums reads the checksums before a block and returns the Adler-32 of its
// plain content. The packed content has a checksum only if the block is packed.
func (l *lzopReader) checksums(packed bool) (adler uint32, err error) {
	for _, flag := range []uint32{lzopAdlerPlain, lzopCRCPlain, lzopAdlerPacked, lzopCRCPacked} {
		if l.flags&flag == 0 || !packed && flag&(lzopAdlerPacked|lzopCRCPacked) != 0 {
			continue
		}
		sum, err := l.u32()
		if err != nil {
			return 0, err
		}
		if flag == lzopAdlerPlain {
			adler = sum
		}
	}
	return adler, nil
}

func unpackBlock(packed []byte, plainSize int) ([]byte, error) {
	if len(packed) == plainSize {
		return packed, nil
	}
	plain := make([]byte, plainSize)
	n, err := lzo.Decompress(packed, plain)
	if err != nil || n != plainSize {
		return nil, errors.Join(errLzop, err)
	}
	return plain, nil
}

func (l *lzopReader) u16() (uint16, error) {
	var b [2]byte
	_, err := io.ReadFull(l.r, b[:])
	return binary.BigEndian.Uint16(b[:]), noEOF(err)
}

func (l *lzopReader) u32() (uint32, error) {
	var b [4]byte
	_, err := io.ReadFull(l.r, b[:])
	return binary.BigEndian.Uint32(b[:]), noEOF(err)
}

// noEOF keeps a cut file from looking like one that ends.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
