package initramfs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz"

	"hookbuild/internal/fault"
)

// newXZReader returns a reader of the one xz stream at the beginning of r.
func newXZReader(r *bufio.Reader) (io.Reader, error) {
	if err := checkXZDictionary(r); err != nil {
		return nil, err
	}
	return xz.ReaderConfig{SingleStream: true}.NewReader(&xzStream{r: r})
}

// checkXZDictionary rejects a stream for which the library would allocate more
// than mostWindow. It peeks at the first block: one filter, LZMA2, and the size
// of its dictionary (xz file format 1.2.1, sections 3.1 and 5.3.1).
func checkXZDictionary(r *bufio.Reader) error {
	const streamHeader, longestHeader, lzma2, otherFlags, mostBits = 12, 1024, 0x21, 0x3f, 2 * (27 - 12)
	in, err := r.Peek(streamHeader + longestHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(in) < streamHeader+2 {
		return io.ErrUnexpectedEOF
	}
	header := in[streamHeader:]
	if header[0] == 0 {
		return nil // an index: the stream has no blocks
	}
	flags, filter := header[1], header[2:]
	for sizes := flags >> 6; sizes != 0; sizes &= sizes - 1 { // the block's packed and unpacked sizes
		_, n := binary.Uvarint(filter)
		filter = filter[max(n, 0):]
	}
	if flags&otherFlags != 0 || len(filter) < 3 || !bytes.HasPrefix(filter, []byte{lzma2, 1}) {
		return fault.Invalidf("it uses an xz filter other than LZMA2; recompress it with gzip or zstd")
	}
	if filter[2] > mostBits {
		return fault.Invalidf("its xz dictionary is larger than %d MiB; recompress it with gzip or zstd", mostWindow>>20)
	}
	return nil
}

// xzStream returns the bytes of one xz stream. The library, configured for a
// single stream, reports a further byte after it as an error.
type xzStream struct {
	r     *bufio.Reader
	ended bool
}

func (x *xzStream) Read(p []byte) (int, error) {
	if x.ended {
		return 0, io.EOF
	}
	if len(p) != xzFooterSize {
		return x.r.Read(p)
	}
	n, err := io.ReadFull(x.r, p)
	x.ended = err == nil && isXZFooter(p)
	return n, err
}

const xzFooterSize = 12

// isXZFooter reports whether b is a stream's footer (xz file format 1.2.1,
// section 2.1.2): a checksum of the rest, except the magic bytes at the end.
func isXZFooter(b []byte) bool {
	return string(b[10:]) == "YZ" && binary.LittleEndian.Uint32(b) == crc32.ChecksumIEEE(b[4:10])
}
