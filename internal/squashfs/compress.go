package squashfs

import (
	"encoding/binary"
	"hash/adler32"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs/zstd"
	"hookbuild/internal/squashfs/deflate"
	"hookbuild/internal/squashfs/lzma2"
)

// Compression names how the blocks of an image are compressed. A kernel reads
// it if it was built with SQUASHFS_ZLIB, _ZSTD or _XZ.
type Compression string

// The compressions that [Write] can write.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
	XZ   Compression = "xz"
)

// Those that are known besides; LZ4 can be read.
const (
	LZ4  Compression = "lz4"
	LZMA Compression = "lzma"
	LZO  Compression = "lzo"
)

// id is the compression's number in the superblock.
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

// The levels that are used when none is asked for. Gzip's makes images as small,
// within 1 %, as zlib's 6 does, in less time; zstd's makes them 3 % smaller and
// takes twice as long, and higher ones gain next to nothing.
const (
	gzipLevel = 4
	zstdLevel = 11
)

// compressor packs single blocks. Each goroutine has its own.
type compressor interface {
	// compress appends the packed form of in to out.
	compress(out, in []byte) ([]byte, error)
}

// newCompressor makes a compressor of blocks of at most blockSize bytes.
func newCompressor(c Compression, level, blockSize int) (compressor, error) {
	most := map[Compression]int{Gzip: deflate.MaxLevel, Zstd: 22, XZ: 0}
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
		return xzCompressor{lzma2.NewEncoder(blockSize)}, nil
	}
	return newGzip(level), nil
}

// gzipCompressor writes zlib streams (RFC 1950): that is what squashfs calls
// gzip.
type gzipCompressor struct{ enc *deflate.Encoder }

func newGzip(level int) compressor {
	if level == 0 {
		level = gzipLevel
	}
	return gzipCompressor{deflate.NewEncoder(level)}
}

func (g gzipCompressor) compress(out, in []byte) ([]byte, error) {
	const method, check = 0x78, 0x9c // deflate, 32 KiB window, default level
	out = g.enc.Encode(append(out, method, check), in)
	return binary.BigEndian.AppendUint32(out, adler32.Checksum(in)), nil
}

type zstdCompressor struct{ enc *zstd.Encoder }

// newZstd makes frames that need the memory of a block, which is all that the
// kernel has for them.
func newZstd(level, blockSize int) compressor {
	if level == 0 {
		level = zstdLevel
	}
	return zstdCompressor{zstd.NewEncoder(level, max(blockSize, metadataSize))}
}

func (z zstdCompressor) compress(out, in []byte) ([]byte, error) {
	return z.enc.Encode(out, in), nil
}

// xzCompressor keeps to what the kernel's decoder takes: CRC32 as the check, and
// a dictionary no larger than a block.
type xzCompressor struct{ enc *lzma2.Encoder }

func (x xzCompressor) compress(out, in []byte) ([]byte, error) {
	return x.enc.Encode(out, in), nil
}
