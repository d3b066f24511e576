package tarball

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"hookbuild/internal/fault"
)

// errBomb is wrapped by the errors about compressed data that grows beyond all
// measure.
var errBomb = errors.New("it looks like a decompression bomb")

// Data may grow by any factor up to bombFloor, and by bombRatio beyond. Layers
// of programs grow 2 to 5 times; only long runs of zeros exceed bombRatio.
const (
	bombFloor = 1 << 30
	bombRatio = 250
)

// The windows bound the memory of a decoder: 8 MiB is what zstd's own levels
// up to 19 use, 64 MiB what xz -9 does.
const (
	zstdWindow = 64 << 20
	xzWindow   = 64 << 20
)

// Decompress reads gzip, zstd or xz data, of one or more members, frames or
// streams, told by its first bytes; anything else is passed on as it is. Data
// that grows without measure is an error that wraps [errBomb]. Closing the
// result does not close r.
func Decompress(r io.Reader) (io.ReadCloser, error) { return Decompressor{}.Open(r) }

// Decompressor decompresses as [Decompress] does, with options. The zero value
// is good for most.
type Decompressor struct {
	// Most is how many bytes the data may grow to; 0 is 1 GiB, or 250 times its
	// compressed size where that is more.
	Most int64
	// Trailing is called where a gzip stream is followed by bytes that begin no
	// other, which are then ignored, as gzip and dockerd do; nil makes them an
	// error.
	Trailing func()
}

// IsCompressed reports whether data that starts with start, of at least 6 bytes
// if there are as many, is in a format that [Decompress] undoes.
func IsCompressed(start []byte) bool { return formatOf(start) != nil }

// Open starts decompressing r.
func (d Decompressor) Open(r io.Reader) (io.ReadCloser, error) {
	in := &meter{r: r}
	buffered := bufio.NewReaderSize(in, 64<<10)
	magic, err := buffered.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	format := formatOf(magic)
	if format == nil {
		return io.NopCloser(buffered), nil
	}
	out, err := format.open(buffered, d.Trailing)
	if err != nil {
		return nil, in.blame(format.name, err)
	}
	return &decoder{ReadCloser: out, format: format.name, in: in, most: d.Most}, nil
}

// format is one compression.
type format struct {
	name  string
	magic []string
	open  func(r *bufio.Reader, trailing func()) (io.ReadCloser, error)
}

func formatOf(start []byte) *format {
	formats := []format{
		{"gzip", []string{"\x1f\x8b"}, openGzip},
		{"zstd", zstdMagics(), openZstd},
		{"xz", []string{"\xfd7zXZ\x00"}, openXZ},
	}
	for _, f := range formats {
		for _, magic := range f.magic {
			if bytes.HasPrefix(start, []byte(magic)) {
				return &f
			}
		}
	}
	return nil
}

// zstdMagics lists the start of a frame and those of the 16 skippable frames
// (RFC 8878, 3.1).
func zstdMagics() []string {
	magics := []string{"\x28\xb5\x2f\xfd"}
	for i := range 16 {
		magics = append(magics, string([]byte{0x50 + byte(i), 0x2a, 0x4d, 0x18}))
	}
	return magics
}

func openGzip(r *bufio.Reader, trailing func()) (io.ReadCloser, error) {
	z, err := gzip.NewReader(r)
	if err != nil || trailing == nil {
		return z, err
	}
	return &members{Reader: z, r: r, trailing: trailing}, nil
}

// members reads one gzip member after the other, up to bytes that begin none.
type members struct {
	*gzip.Reader
	r        *bufio.Reader
	trailing func()
	ended    bool
}

func (m *members) Read(p []byte) (int, error) {
	for !m.ended {
		m.Multistream(false)
		n, err := m.Reader.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		m.next()
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

// next begins the next member, if there is one.
func (m *members) next() {
	if _, err := m.r.Peek(1); err != nil {
		m.ended = true // an error of the source is kept by its meter
		return
	}
	if err := m.Reset(m.r); err != nil {
		m.ended = true
		m.trailing()
	}
}

func openZstd(r *bufio.Reader, _ func()) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func openXZ(r *bufio.Reader, _ func()) (io.ReadCloser, error) {
	d, err := xz.NewReader(r, xzWindow)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(d), nil
}

// decoder watches how much a compressed stream grows.
type decoder struct {
	io.ReadCloser
	format string
	in     *meter
	most   int64 // 0: by bombFloor and bombRatio
	out    int64
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	d.out += int64(n)
	if d.out > d.allowed() {
		return n, fault.Invalidf("decompressing %s data: %d bytes grew to %d: %w; if that is right, raise the limit with --max-layer", d.format, d.in.n, d.out, errBomb)
	}
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, d.in.blame(d.format, err)
	}
	if err != nil && d.in.err != nil { // what looks like the end is a broken source
		return n, d.in.err
	}
	return n, err
}

// allowed is how many bytes may have come of what was read so far.
func (d *decoder) allowed() int64 {
	if d.most > 0 {
		return d.most
	}
	return max(bombFloor, min(d.in.n, math.MaxInt64/bombRatio)*bombRatio)
}

// meter counts what is read from r and keeps its error apart from those of the
// decoder that reads from it.
type meter struct {
	r   io.Reader
	n   int64
	err error
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}

// blame returns the source's error if it had one; otherwise the data is wrong.
func (m *meter) blame(format string, err error) error {
	if m.err != nil {
		return m.err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fault.Invalidf("decompressing %s data: %w", format, err)
}
