package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// decompressor unpacks single blocks. It is safe for concurrent use.
type decompressor interface {
	// decompress gives what in unpacks to, which is at most limit bytes.
	decompress(in []byte, limit int) ([]byte, error)
}

var errTooLong = errors.New("it unpacks to more than a block can hold")

func newDecompressor(id uint16) (decompressor, error) {
	known := compressions()
	if int(id) >= len(known) || known[id] == "" {
		return nil, fmt.Errorf("its compression %d is unknown", id)
	}
	switch c := known[id]; c {
	case Gzip:
		return &gzipDecompressor{}, nil
	case Zstd:
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock), zstd.WithDecoderLowmem(true))
		return zstdDecompressor{dec}, err
	case XZ:
		return xzDecompressor{}, nil
	case LZ4:
		return lz4Decompressor{}, nil
	default:
		return nil, fmt.Errorf("its compression %s is not supported: make it again with gzip, zstd or xz", c)
	}
}

// gzipDecompressor keeps readers to use again: each holds 40 KiB.
type gzipDecompressor struct{ readers sync.Pool }

func (g *gzipDecompressor) decompress(in []byte, limit int) ([]byte, error) {
	r, err := g.reader(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	defer g.readers.Put(r)
	return readLimited(r, limit)
}

func (g *gzipDecompressor) reader(in io.Reader) (io.Reader, error) {
	if r, ok := g.readers.Get().(zlib.Resetter); ok {
		return r.(io.Reader), r.Reset(in, nil)
	}
	return zlib.NewReader(in)
}

func readLimited(r io.Reader, limit int) ([]byte, error) {
	out := bytes.NewBuffer(make([]byte, 0, limit+1))
	if _, err := out.ReadFrom(io.LimitReader(r, int64(limit)+1)); err != nil {
		return nil, err
	}
	if out.Len() > limit {
		return nil, errTooLong
	}
	return out.Bytes(), nil
}

type zstdDecompressor struct{ dec *zstd.Decoder }

func (z zstdDecompressor) decompress(in []byte, limit int) ([]byte, error) {
	out, err := z.dec.DecodeAll(in, make([]byte, 0, limit))
	if err == nil && len(out) > limit {
		return nil, errTooLong
	}
	return out, err
}

type xzDecompressor struct{}

func (xzDecompressor) decompress(in []byte, limit int) ([]byte, error) {
	if err := checkXZDictionary(in); err != nil {
		return nil, err
	}
	r, err := xz.ReaderConfig{DictCap: metadataSize, SingleStream: true}.NewReader(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	return readLimited(r, limit)
}

// checkXZDictionary refuses a stream that would make the library allocate more
// than a block: it has one filter, LZMA2, with a small dictionary (xz file
// format 1.2.1, sections 3.1 and 5.3.1).
func checkXZDictionary(in []byte) error {
	const blockHeader, lzma2, mostBits = 12, 0x21, 2 * (20 - 12) // of a dictionary: 2<<(bits/2+11) bytes
	if len(in) < blockHeader+5 {
		return io.ErrUnexpectedEOF
	}
	header := in[blockHeader:]
	flags, filter := header[1], header[2:]
	if flags&0x3f != 0 {
		return errors.New("it uses an xz filter other than LZMA2, which is not supported")
	}
	for sizes := flags >> 6; sizes != 0; sizes &= sizes - 1 { // packed, unpacked size
		end := bytes.IndexFunc(filter, func(r rune) bool { return r < 0x80 })
		filter = filter[max(end, 0)+1:]
	}
	if len(filter) < 3 || filter[0] != lzma2 || filter[1] != 1 {
		return errors.New("it uses an xz filter other than LZMA2, which is not supported")
	}
	if filter[2] > mostBits {
		return errors.New("its xz dictionary is larger than a block")
	}
	return nil
}

type lz4Decompressor struct{}

func (lz4Decompressor) decompress(in []byte, limit int) ([]byte, error) {
	out := make([]byte, limit)
	n, err := lz4.UncompressBlock(in, out)
	return out[:max(n, 0)], err
}
