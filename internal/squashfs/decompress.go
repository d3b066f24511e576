package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"
)

// decompressor unpacks single blocks. It is safe for concurrent use.
type decompressor interface {
	// decompress returns the unpacked content of in, at most limit bytes.
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
		return &xzDecompressor{}, nil
	case LZ4:
		return lz4Decompressor{}, nil
	default:
		return nil, fmt.Errorf("its compression %s is not supported; make it again with gzip, zstd or xz", c)
	}
}

// gzipDecompressor reuses readers, which hold 40 KiB each.
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

// xzDecompressor reuses readers, which hold a dictionary each. A stream with a
// dictionary larger than a block is an error.
type xzDecompressor struct{ readers sync.Pool }

func (x *xzDecompressor) decompress(in []byte, limit int) ([]byte, error) {
	r, err := x.reader(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	defer x.readers.Put(r)
	return readLimited(r, limit)
}

func (x *xzDecompressor) reader(in io.Reader) (*xz.Reader, error) {
	if r, ok := x.readers.Get().(*xz.Reader); ok {
		return r, r.Reset(in)
	}
	return xz.NewReader(in, maxBlock)
}

type lz4Decompressor struct{}

func (lz4Decompressor) decompress(in []byte, limit int) ([]byte, error) {
	out := make([]byte, limit)
	n, err := lz4.UncompressBlock(in, out)
	return out[:max(n, 0)], err
}
