package squashfs

import (
	"bytes"
	"context"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/ulikunitz/xz"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs/zstd"
)

// Compression is the name of the compression of an image's blocks. A kernel
// needs SQUASHFS_ZLIB, _ZSTD or _XZ to read it.
type Compression string

// The compressions that [Write] can write.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
	XZ   Compression = "xz"
)

// Further known compressions; LZ4 can be read.
const (
	LZ4  Compression = "lz4"
	LZMA Compression = "lzma"
	LZO  Compression = "lzo"
)

// id returns the compression's number in the superblock.
func (c Compression) id() uint16 {
	for id, name := range compressions() {
		if name == c {
			return uint16(id)
		}
	}
	return 0
}

func compressions() []Compression {
	return []Compression{1: Gzip, 2: LZMA, 3: LZO, 4: XZ, 5: LZ4, 6: Zstd}
}

// The default levels. For an image of programs, gzip's produces 2 % more than
// zlib's level 6, in less time; 9 takes four times as long and saves 0.3 %.
// Zstd's produces as much as gzip's in a third of the time; level 11 produces 5 %
// less in four times the time.
const (
	gzipLevel = 8
	zstdLevel = 3
)

// Codec identifies the code that compresses blocks as c. While it is unchanged,
// equal content is packed into equal bytes, so it belongs in the key of
// whatever caches them. Change it together with a compressor, its default level
// or its version: TestCodecs records the bytes.
func (c Compression) Codec() string {
	switch c {
	case Gzip:
		return "klauspost/compress 1"
	case Zstd:
		return "hookbuild 2"
	case XZ:
		return "ulikunitz/xz 1"
	}
	return ""
}

// compressor compresses single blocks. Each goroutine has its own.
type compressor interface {
	// compress appends the compressed form of in to out. The result depends
	// only on in, not on earlier blocks. It is incomplete if ctx ends meanwhile.
	compress(ctx context.Context, out, in []byte) ([]byte, error)
}

// newCompressor returns a compressor of blocks of up to blockSize bytes.
func newCompressor(c Compression, level, blockSize int) (compressor, error) {
	most := map[Compression]int{Gzip: zlib.BestCompression, Zstd: 22, XZ: 0}
	top, ok := most[c]
	if !ok {
		return nil, fault.Usagef("compressing with %q: choose %s, %s or %s", c, Gzip, Zstd, XZ)
	}
	if level < 0 || level > top {
		return nil, fault.Usagef("compressing with %s level %d: choose 0 (the default) to %d", c, level, top)
	}
	switch c {
	case Zstd:
		return newZstd(level, blockSize), nil
	case XZ:
		return newXZ(blockSize), nil
	}
	return newGzip(level)
}

// gzipCompressor writes zlib streams (RFC 1950), which squashfs calls gzip.
type gzipCompressor struct{ w *zlib.Writer }

func newGzip(level int) (compressor, error) {
	if level == 0 {
		level = gzipLevel
	}
	w, err := zlib.NewWriterLevel(io.Discard, level)
	return gzipCompressor{w}, err
}

func (g gzipCompressor) compress(_ context.Context, out, in []byte) ([]byte, error) {
	buffer := bytes.NewBuffer(out)
	g.w.Reset(buffer)
	if _, err := g.w.Write(in); err != nil {
		return nil, err
	}
	err := g.w.Close()
	return buffer.Bytes(), err
}

type zstdCompressor struct{ enc *zstd.Encoder }

// newZstd returns a compressor whose frames need no more memory than a block,
// which is all the kernel provides.
func newZstd(level, blockSize int) compressor {
	if level == 0 {
		level = zstdLevel
	}
	return zstdCompressor{zstd.NewEncoder(level, max(blockSize, metadataSize))}
}

func (z zstdCompressor) compress(ctx context.Context, out, in []byte) ([]byte, error) {
	return z.enc.Encode(ctx, out, in), ctx.Err()
}

// xzCompressor writes .xz streams that the kernel's decoder accepts: the check
// is a CRC32, and the dictionary is no larger than a block.
type xzCompressor struct{ config xz.WriterConfig }

func newXZ(blockSize int) compressor {
	dictionary := max(blockSize, metadataSize)
	return xzCompressor{xz.WriterConfig{CheckSum: xz.CRC32, DictCap: dictionary}}
}

func (x xzCompressor) compress(_ context.Context, out, in []byte) ([]byte, error) {
	buffer := bytes.NewBuffer(out)
	w, err := x.config.NewWriter(buffer)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(in); err != nil {
		return nil, err
	}
	err = w.Close()
	return buffer.Bytes(), err
}
