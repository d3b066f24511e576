package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"math"
	"path"
	"strings"

	"hookbuild/internal/initramfs"
)

// xattrRecord starts the PAX records that carry extended attributes, as star,
// GNU tar and Docker write them.
const xattrRecord = "SCHILY.xattr."

// errNoFile says that an entry is not a file of the archive, but its root.
var errNoFile = errors.New("the archive's own root")

// entry translates a header and remembers what it makes.
func (l *lister) entry(h *tar.Header) (initramfs.Entry, error) {
	kind, err := typeOf(h)
	if err != nil {
		return initramfs.Entry{}, err
	}
	name, err := clean(h.Name)
	if err != nil {
		return initramfs.Entry{}, err
	}
	e := initramfs.Entry{
		Path: name, Type: kind, Mode: uint32(h.Mode & 0o7777), ModTime: h.ModTime.UTC(),
		Xattrs: xattrsOf(h), Origin: l.origin,
	}
	if name == "" {
		return e, rootEntry(h, kind)
	}
	l.setNumbers(&e, h)
	dir, err := l.locate(name)
	if err != nil {
		return initramfs.Entry{}, err
	}
	e.Path = dir.child(path.Base(name))
	switch kind {
	case initramfs.Regular:
		e.Size = h.Size
	case initramfs.Symlink:
		e.Target = h.Linkname
		if e.Target == "" || len(e.Target) > longestTarget {
			return initramfs.Entry{}, fmt.Errorf("the symlink %q has a target of %d bytes, Linux takes 1 to %d", h.Name, len(e.Target), longestTarget)
		}
	case initramfs.HardLink:
		return e, l.link(&e, dir, h)
	}
	dir.put(path.Base(name), kind, e.Target)
	return e, nil
}

// rootEntry passes over an entry for the root. dockerd passes over a "." of any
// type; it fails at a "/" that is not a directory.
func rootEntry(h *tar.Header, kind initramfs.Type) error {
	if strings.HasPrefix(h.Name, "/") && kind != initramfs.Dir {
		return fmt.Errorf("%q: a %s in the place of the root directory: %w", h.Name, kind, initramfs.ErrUnsafePath)
	}
	if kind != initramfs.Dir {
		return errNoFile
	}
	return nil
}

// link finishes the entry of a hard link: it is what its target is.
func (l *lister) link(e *initramfs.Entry, dir *place, h *tar.Header) error {
	target, file, err := l.linkTarget(h.Linkname)
	if err != nil {
		return fmt.Errorf("%q, a hard link to %q: %w", h.Name, h.Linkname, err)
	}
	e.Target = target
	kind, to := initramfs.Regular, ""
	if file != nil {
		kind, to = file.kind, file.target
	}
	if kind == initramfs.Dir {
		return fmt.Errorf("%q is a hard link to the directory %q", h.Name, target)
	}
	dir.put(path.Base(e.Path), kind, to)
	return nil
}

func typeOf(h *tar.Header) (initramfs.Type, error) {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return initramfs.Regular, nil
	case tar.TypeDir:
		return initramfs.Dir, nil
	case tar.TypeSymlink:
		return initramfs.Symlink, nil
	case tar.TypeLink:
		return initramfs.HardLink, nil
	case tar.TypeChar:
		return initramfs.CharDevice, nil
	case tar.TypeBlock:
		return initramfs.BlockDevice, nil
	case tar.TypeFifo:
		return initramfs.Fifo, nil
	}
	return 0, fmt.Errorf("%q has the type %q, which is not a type of file", h.Name, h.Typeflag)
}

// Adjustment is a change to a file whose header says more than Linux takes.
// dockerd makes the same ones, silently.
type Adjustment string

// The adjustments.
const (
	OwnerCut  Adjustment = "owner numbers beyond 32 bits"
	DeviceCut Adjustment = "device numbers beyond Linux's 12 and 20 bits"
)

// setNumbers copies the numbers that a header may have larger than a file
// system does. As in system calls, the lower bits count, and the owner -1 means
// that the owner is left as it is, root.
func (l *lister) setNumbers(e *initramfs.Entry, h *tar.Header) {
	owner := func(n int) uint32 {
		if n < 0 || n >= math.MaxUint32 {
			l.adjust(h.Name, OwnerCut)
		}
		if uint32(n) == math.MaxUint32 {
			return 0
		}
		return uint32(n)
	}
	e.UID, e.GID = owner(h.Uid), owner(h.Gid)
	if e.Type != initramfs.CharDevice && e.Type != initramfs.BlockDevice {
		return
	}
	const majorBits, minorBits = 1<<12 - 1, 1<<20 - 1
	e.Major, e.Minor = uint32(h.Devmajor&majorBits), uint32(h.Devminor&minorBits)
	if int64(e.Major) != h.Devmajor || int64(e.Minor) != h.Devminor {
		l.adjust(h.Name, DeviceCut)
	}
}

func (l *lister) adjust(name string, a Adjustment) {
	if l.options.Adjusted != nil {
		l.options.Adjusted(name, a)
	}
}

func xattrsOf(h *tar.Header) map[string]string {
	var attrs map[string]string
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, xattrRecord)
		if !ok {
			continue
		}
		if attrs == nil {
			attrs = map[string]string{}
		}
		attrs[name] = value
	}
	return attrs
}
