package initramfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
)

// mostWindow is the largest window of a decompressor: the kernel's own limit
// for zstd.
const mostWindow = 128 << 20

// detect identifies the compression of a stream by its first bytes, as the
// kernel's decompress_method does (lib/decompress.c).
func detect(start []byte) (Compression, error) {
	magics := []struct {
		magic string
		name  Compression
	}{
		{"\x1f\x8b", Gzip}, {"\x1f\x9e", Gzip}, {"\x28\xb5\x2f\xfd", Zstd}, {"\xfd7zXZ\x00", XZ},
		{"\x5d\x00\x00", LZMA}, {"\x02\x21\x4c\x18", LZ4}, {"BZh", "bzip2"}, {"\x89LZO", "lzo"},
	}
	for _, m := range magics {
		if bytes.HasPrefix(start, []byte(m.magic)) {
			return m.name, nil
		}
	}
	return "", errNoSegment
}

// errNoSegment is the error about bytes that no segment begins with.
var errNoSegment = errors.New("neither a newc archive nor a compressed one begins like this")

// newDecompressor reads one compressed stream from r and nothing after it.
func newDecompressor(r *bufio.Reader, c Compression) (io.ReadCloser, error) {
	switch c {
	case Gzip:
		zr, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		zr.Multistream(false)
		return zr, nil
	case Zstd:
		// With a single goroutine the decoder does not read ahead of its
		// caller.
		zr, err := zstd.NewReader(&zstdFrame{r: r}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(mostWindow))
		if err != nil {
			return nil, err
		}
		return zr.IOReadCloser(), nil
	case XZ:
		zr, err := newXZReader(r)
		return io.NopCloser(zr), err
	case LZMA:
		zr, err := lzma.ReaderConfig{DictCap: mostWindow}.NewReader(r)
		return io.NopCloser(zr), err
	case LZ4:
		return io.NopCloser(&lz4Legacy{r: r}), nil
	}
	return nil, fmt.Errorf("%s is not supported; recompress it with gzip or zstd", c)
}

// zstdFrame reads the bytes of one zstd frame (RFC 8878, section 3.1.1), so
// that a decoder stops where the kernel's does.
type zstdFrame struct {
	r        *bufio.Reader
	pending  []byte // bytes of the framing not yet returned
	block    int64  // bytes of the block not yet returned
	checksum int
	state    func(*zstdFrame) error
	begun    bool
}

func (f *zstdFrame) Read(p []byte) (int, error) {
	for len(f.pending) == 0 && f.block == 0 {
		if err := f.advance(); err != nil {
			return 0, err
		}
	}
	if len(f.pending) > 0 {
		n := copy(p, f.pending)
		f.pending = f.pending[n:]
		return n, nil
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.block)])
	f.block -= int64(n)
	return n, unexpected(err)
}

func (f *zstdFrame) advance() error {
	if !f.begun {
		f.begun, f.state = true, (*zstdFrame).blockHeader
		return f.frameHeader()
	}
	return f.state(f)
}

// take moves n bytes of the input to pending.
func (f *zstdFrame) take(n int) error {
	b := make([]byte, n)
	if _, err := io.ReadFull(f.r, b); err != nil {
		return unexpected(err)
	}
	f.pending = append(f.pending, b...)
	return nil
}

func (f *zstdFrame) frameHeader() error {
	const magic = 4
	if err := f.take(magic + 1); err != nil {
		return err
	}
	descriptor := f.pending[magic]
	single := descriptor>>5&1 == 1
	size := [...]int{0, 1, 2, 4}[descriptor&3] // dictionary ID
	size += [...]int{0, 2, 4, 8}[descriptor>>6]
	if !single || descriptor>>6 == 0 {
		size++ // either the window, or a content size of one byte
	}
	if descriptor>>2&1 == 1 {
		f.checksum = 4
	}
	return f.take(size)
}

func (f *zstdFrame) blockHeader() error {
	const rle = 1
	if err := f.take(3); err != nil {
		return err
	}
	header := int64(f.pending[0]) | int64(f.pending[1])<<8 | int64(f.pending[2])<<16
	f.block = header >> 3
	if header>>1&3 == rle {
		f.block = 1
	}
	if header&1 == 1 {
		f.state = (*zstdFrame).end
	}
	return nil
}

func (f *zstdFrame) end() error {
	if f.checksum == 0 {
		return io.EOF
	}
	n := f.checksum
	f.checksum = 0
	return f.take(n)
}

// unexpected turns the end of the input into an error if it occurs inside a
// stream.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
