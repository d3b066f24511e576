package initramfs

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/pgzip"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs/zstd"
)

// Compression is the name of a segment's compression.
type Compression string

// The compressions that [WriteSegment] can write. Kernels since 5.9 read Zstd
// if built with RD_ZSTD; nearly every kernel reads Gzip.
const (
	Zstd Compression = "zstd"
	Gzip Compression = "gzip"
	None Compression = "none"
)

// Further compressions that a [Reader] understands.
const (
	XZ   Compression = "xz"
	LZMA Compression = "lzma"
	LZ4  Compression = "lz4"
)

// ParseCompression parses the name of a compression that [WriteSegment] can
// write.
func ParseCompression(name string) (Compression, error) {
	switch c := Compression(name); c {
	case Zstd, Gzip, None:
		return c, nil
	}
	return "", fault.Usagef("reading compression %q: choose %s, %s or %s", name, Zstd, Gzip, None)
}

// gzipBlock is the number of bytes that a goroutine compresses at a time. It is
// fixed, because the output depends on it.
const gzipBlock = 1 << 20

// These limits bound the memory on machines with many cores.
const (
	mostJobs     = 16
	mostZstdJobs = 8
)

// newCompressor returns a compressor that writes to w exactly one zstd frame or
// gzip member, because the kernel takes the end of either for the end of an
// archive. The output does not depend on jobs. The window applies to zstd, which
// stops early when ctx ends.
func newCompressor(ctx context.Context, w io.Writer, c Compression, level, window, jobs int) (io.WriteCloser, error) {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	jobs = min(jobs, mostJobs)
	switch c {
	case Zstd:
		return newZstd(ctx, w, level, window, jobs)
	case Gzip, "":
		return newGzip(w, level, jobs)
	case None:
		return nopCloser{w}, nil
	}
	return nil, fmt.Errorf("compressing with %q: choose %s, %s or %s", c, Zstd, Gzip, None)
}

func newZstd(ctx context.Context, w io.Writer, level, window, jobs int) (io.WriteCloser, error) {
	if level < 0 || level > 22 {
		return nil, fault.Usagef("compressing with zstd level %d: choose 1 to 22", level)
	}
	return zstd.NewWriter(ctx, w, zstd.Options{Level: level, Window: window, Jobs: min(jobs, mostZstdJobs)}), nil
}

func newGzip(w io.Writer, level, jobs int) (io.WriteCloser, error) {
	if level < 0 || level > 9 {
		return nil, fault.Usagef("compressing with gzip level %d: choose 1 to 9", level)
	}
	if level == 0 {
		level = 6
	}
	zw, err := pgzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	return zw, zw.SetConcurrency(gzipBlock, jobs)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
