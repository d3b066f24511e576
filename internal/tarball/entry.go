package tarball

import (
	"archive/tar"
	"fmt"
	"math"
	"path"
	"strings"

	"hookbuild/internal/initramfs"
)

// xattrRecord starts the PAX records that carry extended attributes, as star,
// GNU tar and Docker write them.
const xattrRecord = "SCHILY.xattr."

// entry translates a header and remembers its path.
func (l *lister) entry(h *tar.Header) (initramfs.Entry, error) {
	kind, err := typeOf(h)
	if err != nil {
		return initramfs.Entry{}, err
	}
	name, err := l.cleanPath(h.Name)
	if err != nil {
		return initramfs.Entry{}, err
	}
	e := initramfs.Entry{
		Path: name, Type: kind, Mode: uint32(h.Mode & 0o7777), ModTime: h.ModTime.UTC(),
		Xattrs: xattrsOf(h), Origin: l.origin,
	}
	if err := setNumbers(&e, h); err != nil {
		return initramfs.Entry{}, fmt.Errorf("%q: %w", h.Name, err)
	}
	switch kind {
	case initramfs.Regular:
		e.Size = h.Size
	case initramfs.Symlink:
		e.Target = h.Linkname
	case initramfs.HardLink:
		if e.Target, err = l.cleanPath(strings.TrimLeft(h.Linkname, "/")); err != nil {
			return initramfs.Entry{}, fmt.Errorf("%q, a hard link: %w", h.Name, err)
		}
	}
	if name == "" && kind != initramfs.Dir {
		return initramfs.Entry{}, fmt.Errorf("%q: a %s in the place of the root directory: %w", h.Name, kind, initramfs.ErrUnsafePath)
	}
	l.isDir[name] = kind == initramfs.Dir
	return e, nil
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
	return 0, fmt.Errorf("%q has the type %q, which is none of a file system's", h.Name, h.Typeflag)
}

// cleanPath gives the path of an entry, or of a hard link's target, after
// making sure that the archive has nothing but directories on the way to it.
func (l *lister) cleanPath(name string) (string, error) {
	clean, err := initramfs.CleanPath(name)
	if err != nil {
		return "", err
	}
	for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
		if isDir, met := l.isDir[dir]; met && !isDir {
			return "", fmt.Errorf("%q leads through %q, which the archive made no directory: %w", name, dir, initramfs.ErrUnsafePath)
		}
	}
	return clean, nil
}

// setNumbers copies the numbers that a header may have larger than a file
// system does.
func setNumbers(e *initramfs.Entry, h *tar.Header) error {
	for _, n := range []struct {
		name string
		from int64
		to   *uint32
	}{
		{"owner", int64(h.Uid), &e.UID},
		{"group", int64(h.Gid), &e.GID},
		{"device major", h.Devmajor, &e.Major},
		{"device minor", h.Devminor, &e.Minor},
	} {
		if n.from < 0 || n.from > math.MaxUint32 {
			return fmt.Errorf("its %s number %d is out of range", n.name, n.from)
		}
		*n.to = uint32(n.from)
	}
	if e.Type != initramfs.CharDevice && e.Type != initramfs.BlockDevice {
		e.Major, e.Minor = 0, 0
	}
	return nil
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
