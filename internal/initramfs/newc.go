package initramfs

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/cavaliergopher/cpio"
)

// The fields of a newc header, by offset in bytes: eight hexadecimal digits
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

// newcWriter is cpio.Writer plus device numbers, which cpio.Writer writes as
// zeros. It never sets Checksum, because that would change a variable of the
// library's package.
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
		return errors.New("the cpio library did not write a header in one piece")
	}
	return nil
}

// devicePatch inserts device numbers into the next header written through it.
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

// newcFields are the fields of a header that cpio.Reader omits.
type newcFields struct {
	devMajor, devMinor, rdevMajor, rdevMinor uint32
}

// headerTap passes on what it reads and keeps the headers. It never returns
// io.EOF, so that io.EOF from cpio.Reader means the trailer alone.
type headerTap struct {
	r    io.Reader
	n    int64 // bytes read
	kept []byte
	skip int // padding before the header
	left int // bytes still to keep
}

// arm makes the tap keep the header after the padding.
func (t *headerTap) arm() {
	t.skip = int(-t.n & 3)
	t.kept, t.left = t.kept[:0], t.skip+newcHeaderSize+newcMaxName
}

func (t *headerTap) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	keep := min(n, t.left)
	t.kept = append(t.kept, p[:keep]...)
	t.left -= keep
	return n, unexpected(err)
}

// fields parses the kept header, after the library did, and checks what the
// library does not: the digits and the end of the name.
func (t *headerTap) fields() (newcFields, error) {
	const firstField, nameSize = 6, 11
	var values [13]uint32
	header := t.kept[t.skip:]
	for i := range values {
		digits := header[firstField+8*i:][:8]
		v, err := strconv.ParseUint(string(digits), 16, 32)
		if err != nil {
			return newcFields{}, fmt.Errorf("reading a newc header: %q is not a number", digits)
		}
		values[i] = uint32(v)
	}
	if header[newcHeaderSize+int(values[nameSize])-1] != 0 {
		return newcFields{}, errors.New("reading a newc header: the name does not end with a NUL")
	}
	return newcFields{devMajor: values[7], devMinor: values[8], rdevMajor: values[9], rdevMinor: values[10]}, nil
}

// newcType returns the type bits of a mode, or 0 for types without any.
func newcType(t Type) cpio.FileMode {
	types := [...]cpio.FileMode{
		Regular: cpio.TypeReg, Dir: cpio.TypeDir, Symlink: cpio.TypeSymlink, CharDevice: cpio.TypeChar,
		BlockDevice: cpio.TypeBlock, Fifo: cpio.TypeFifo, Socket: cpio.TypeSocket,
	}
	if int(t) >= len(types) {
		return 0
	}
	return types[t]
}

// newcKind is the reverse of newcType for a whole mode.
func newcKind(m cpio.FileMode) (Type, bool) {
	for t := Regular; t <= Socket; t++ {
		if bits := newcType(t); bits != 0 && m&cpio.ModeType == bits {
			return t, true
		}
	}
	return 0, false
}
