package initramfs

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// xzStream gives the bytes of one xz stream: the library, told that there is
// but one, takes a further byte behind it for an error.
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

// isXZFooter knows a stream's footer (xz file format 1.2.1, section 2.1.2): a
// checksum of what follows but for the magic bytes at the end.
func isXZFooter(b []byte) bool {
	return string(b[10:]) == "YZ" && binary.LittleEndian.Uint32(b) == crc32.ChecksumIEEE(b[4:10])
}
