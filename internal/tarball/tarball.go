// Package tarball reads tar archives as file trees: image layers, kernel
// modules, Debian packages. [Entries] lists an archive's files with contents
// that are read in place when they are opened, so that memory grows with the
// number of files and not with their size; [Decompress] undoes the
// compressions that such archives come in.
//
// The formats are those that archive/tar reads: v7, ustar, PAX and GNU with
// long names, large numbers, times in nanoseconds, extended attributes
// (SCHILY.xattr records) and all forms of sparse files. Archives are taken for
// hostile: a name that leads out of the tree or through something that is no
// directory, or more names than any image has, ends the reading.
//
// What is left out on purpose: writing, and unpacking to a disk.
package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// limits bound what one archive may make us remember.
type limits struct {
	entries  int   // files
	metadata int   // bytes of names, link targets and extended attributes
	sparse   int64 // the length of a sparse file, which may have no bytes in the archive
}

// ordinaryLimits are several times what the largest known images need.
func ordinaryLimits() limits {
	return limits{entries: 1 << 20, metadata: 64 << 20, sparse: 64 << 30}
}

// Entries lists the files of the uncompressed tar archive in r, which is size
// bytes long, in the archive's order; a name that comes twice is there twice.
// The contents are read from r when they are opened, so r must stay open as
// long as the entries are used. Origin is the entries' Origin and names the
// archive in errors.
//
// Whiteouts (".wh." names) are left as they are. The archive's own root
// directory, if it has one ("./"), has the path "", which [initramfs.Tree.Add]
// passes over. The target of a hard link is a path like the entry's own.
//
// An archive that breaks off or is malformed is an error. So is one with a
// path that is absolute, has a ".." element or leads through a symlink or file
// of the same archive: those wrap [initramfs.ErrUnsafePath]. A leading slash
// of a hard link's target is dropped, as other readers do: some builders write
// one.
func Entries(r io.ReaderAt, size int64, origin string) ([]initramfs.Entry, error) {
	return entries(r, size, origin, ordinaryLimits())
}

func entries(r io.ReaderAt, size int64, origin string, most limits) ([]initramfs.Entry, error) {
	source := &blockSource{SectionReader: io.NewSectionReader(r, 0, size)}
	l := &lister{source: source, tar: tar.NewReader(source), origin: origin, most: most, isDir: map[string]bool{}}
	err := l.list()
	if err == nil {
		return l.found, nil
	}
	if source.err == nil { // what could be read is wrong
		err = fault.Mark(err, fault.Invalid)
	}
	return nil, fmt.Errorf("reading the tar archive of %s: %w", origin, err)
}

// lister collects an archive's files.
type lister struct {
	source   *blockSource
	tar      *tar.Reader
	origin   string
	most     limits
	found    []initramfs.Entry
	metadata int
	// isDir holds every path met so far.
	isDir map[string]bool
}

func (l *lister) list() error {
	for {
		l.source.expectHeader()
		h, err := l.tar.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d files: %w", len(l.found), err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // comments, such as git's
		}
		if err := l.add(h); err != nil {
			return err
		}
	}
}

func (l *lister) add(h *tar.Header) error {
	e, err := l.entry(h)
	if err != nil {
		return err
	}
	if e.Type == initramfs.Regular {
		if e.Open, err = l.opener(h); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
	l.metadata += len(e.Path) + len(e.Target)
	for k, v := range e.Xattrs {
		l.metadata += len(k) + len(v)
	}
	l.found = append(l.found, e)
	if len(l.found) > l.most.entries || l.metadata > l.most.metadata {
		return fmt.Errorf("it has more than %d files or %d bytes of names and attributes", l.most.entries, l.most.metadata)
	}
	return nil
}

// opener gives the function that opens the file whose header was just read.
func (l *lister) opener(h *tar.Header) (func() (io.ReadCloser, error), error) {
	if isSparse(h) {
		if h.Size > l.most.sparse {
			return nil, fmt.Errorf("a sparse file of %d bytes is longer than the %d that are supported", h.Size, l.most.sparse)
		}
		return sparseOpener(l.source, h), nil
	}
	at, err := l.source.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	if h.Size > l.source.Size()-at {
		return nil, fmt.Errorf("its %d bytes are not all there: %w", h.Size, io.ErrUnexpectedEOF)
	}
	r, _, _ := l.source.Outer()
	size := h.Size
	return func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(r, at, size)), nil }, nil
}
