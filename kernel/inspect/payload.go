package inspect

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// mostKernel limits the size of an unpacked kernel. A distribution's is about
// 60 MB, one with every debugging option a few hundred.
const mostKernel = 1 << 30

// mostDict limits the decoders' windows; the kernel's build uses at most 128
// MiB (zstd -22 --ultra).
const mostDict = 128 << 20

var errTooLarge = errors.New("it unpacks to more than 1 GiB, which no kernel does")

// compressionOf returns the method that the first bytes show, or "none" if they
// show none that is known.
func compressionOf(head []byte) string {
	for _, m := range []struct{ magic, name string }{
		{"\x1f\x8b\x08", "gzip"},
		{"\xfd7zXZ\x00", "xz"},
		{"\x28\xb5\x2f\xfd", "zstd"},
		{"\x02\x21\x4c\x18", "lz4"},
		{"BZh", "bzip2"},
		{"\x5d\x00\x00", "lzma"},
		{"\x89LZO", "lzo"},
	} {
		if hasPrefix(head, m.magic) {
			return m.name
		}
	}
	return "none"
}

// openPayload unpacks r with the named method, up to [mostKernel] bytes.
func openPayload(compression string, r io.Reader) (io.ReadCloser, error) {
	plain, err := openDecoder(compression, bufio.NewReaderSize(r, 1<<18))
	if err != nil {
		return nil, fmt.Errorf("starting its %s payload: %w", compression, err)
	}
	return &bounded{ReadCloser: plain, left: mostKernel}, nil
}

func openDecoder(compression string, r *bufio.Reader) (io.ReadCloser, error) {
	switch compression {
	case "none":
		return io.NopCloser(r), nil
	case "gzip":
		plain, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		plain.Multistream(false)
		return plain, nil
	case "zstd":
		plain, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(mostDict))
		if err != nil {
			return nil, err
		}
		return plain.IOReadCloser(), nil
	case "bzip2":
		return io.NopCloser(bzip2.NewReader(r)), nil
	}
	plain, err := openRareDecoder(compression, r)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(plain), nil
}

// openRareDecoder opens the methods whose readers do not have to be closed.
func openRareDecoder(compression string, r *bufio.Reader) (io.Reader, error) {
	switch compression {
	case "xz":
		return xz.NewReader(r, mostDict)
	case "lzma":
		return lzma.ReaderConfig{DictCap: mostDict}.NewReader(r)
	case "lz4":
		return lz4.NewReader(r), nil
	case "lzo":
		return newLzopReader(r)
	}
	return nil, fmt.Errorf("the compression %q is not known", compression)
}

// bounded is a reader that fails if there are more than left bytes.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
