package initramfs

import (
	"errors"
	"fmt"
	"io"

	"github.com/cavaliergopher/cpio"
)

// The fields of a newc header, in bytes from its start: eight hexadecimal digits
// each. See Documentation/driver-api/early-userspace/buffer-format.rst in the
// kernel's sources.
const (
	newcHeaderSize = 110
	newcRdevMajor  = 78
	newcRdevMinor  = 86
)

const (
	newcTrailer = "TRAILER!!!"
	newcMax32   = 1<<32 - 1
	// The kernel skips entries whose name, with its NUL, is longer (PATH_MAX).
	newcMaxName = 4096
)

// newcWriter is cpio.Writer plus device numbers, which that one writes as
// zeros. It never sets Checksum: that would change a variable of the library's
// package.
type newcWriter struct {
	cpio  *cpio.Writer
	patch *devicePatch
}

func newNewcWriter(w io.Writer) *newcWriter {
	patch := &devicePatch{w: w}
	return &newcWriter{cpio.NewWriter(patch), patch}
}

func (w *newcWriter) header(h *cpio.Header, major, minor uint32) error {
	w.patch.armed, w.patch.major, w.patch.minor = true, major, minor
	if err := w.cpio.WriteHeader(h); err != nil {
		return err
	}
	if w.patch.armed {
		return errors.New("the cpio library wrote no header in one piece")
	}
	return nil
}

// devicePatch puts device numbers into the next header that passes.
type devicePatch struct {
	w            io.Writer
	armed        bool
	major, minor uint32
}

func (d *devicePatch) Write(p []byte) (int, error) {
	if d.armed && len(p) == newcHeaderSize {
		d.armed = false
		copy(p[newcRdevMajor:], fmt.Sprintf("%08X", d.major))
		copy(p[newcRdevMinor:], fmt.Sprintf("%08X", d.minor))
	}
	return d.w.Write(p)
}
