package initramfs

import (
	"fmt"
	"io"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// archive reads one newc archive.
type archive struct {
	number int
	cpio   *cpio.Reader
	tap    *headerTap
}

func newArchive(r io.Reader, number int) *archive {
	tap := &headerTap{r: r}
	return &archive{number, cpio.NewReader(tap), tap}
}

// next returns the next file, or io.EOF after the trailer.
func (a *archive) next() (Record, error) {
	// Skip the rest of the previous file, so that the tap sees headers only.
	if _, err := io.Copy(io.Discard, a.cpio); err != nil {
		return Record{}, err
	}
	a.tap.arm()
	h, err := a.cpio.Next()
	if err != nil {
		return Record{}, err
	}
	fields, err := a.tap.fields()
	if err != nil {
		return Record{}, err
	}
	return a.record(h, fields)
}

func (a *archive) record(h *cpio.Header, f newcFields) (Record, error) {
	name, err := CleanPath(strings.TrimLeft(h.Name, "/"))
	if err != nil {
		return Record{}, err
	}
	kind, ok := newcKind(h.Mode)
	if !ok {
		return Record{}, fmt.Errorf("%q has an unknown type (mode %#o)", name, uint32(h.Mode))
	}
	rec := Record{
		Entry: Entry{
			Path: name, Type: kind, Mode: uint32(h.Mode) & 0o7777, UID: uint32(h.Uid), GID: uint32(h.Guid),
			ModTime: h.ModTime.UTC(), Major: f.rdevMajor, Minor: f.rdevMinor,
		},
		Links:  uint32(h.Links),
		FileID: FileID{a.number, f.devMajor, f.devMinor, uint32(h.Inode), kind},
	}
	switch kind {
	case Regular:
		rec.Size = h.Size
	case Symlink:
		rec.Target, err = a.target(h)
	}
	return rec, err
}

// target returns a symlink's target, which the library reads only if the mode
// has no other bits.
func (a *archive) target(h *cpio.Header) (string, error) {
	if h.Linkname == "" {
		b, err := io.ReadAll(io.LimitReader(a.cpio, newcMaxName))
		if err != nil {
			return "", err
		}
		h.Linkname = string(b)
	}
	target, _, _ := strings.Cut(h.Linkname, "\x00") // the kernel stops there
	if target == "" || len(target) >= newcMaxName {
		return "", fmt.Errorf("the target of %q has %d bytes; the kernel accepts 1 to %d", h.Name, len(target), newcMaxName-1)
	}
	return target, nil
}
