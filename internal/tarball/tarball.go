// Package tarball reads tar archives as file trees: image layers, kernel
// modules, Debian packages. [Entries] lists an archive's files with contents
// that are read in place when they are opened, so that memory grows with the
// number of files and not with their size; [Decompress] undoes the
// compressions that such archives come in.
//
// The formats are those that archive/tar reads: v7, ustar, PAX and GNU with
// long names, large numbers, times in nanoseconds, extended attributes
// (SCHILY.xattr records) and all forms of sparse files. Archives may be hostile:
// a name that leads out of the tree or through something that is not a directory,
// more names than any image has, or sparse files of more bytes than allowed end
// the reading.
//
// What is left out on purpose: writing, and unpacking to a disk.
package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"

	"hookbuild/internal/fault"
	"hookbuild/internal/filetype"
	"hookbuild/internal/initramfs"
)

// ErrNotTar is wrapped by the errors about content that is not a tar archive at all,
// as opposed to a damaged one.
var ErrNotTar = errors.New("not a tar archive")

// limits bound what one archive may make us remember.
type limits struct {
	entries  int // files, and directories that names imply
	metadata int // bytes of names, link targets and extended attributes
	steps    int // through the targets of symlinks on the way to files
}

// ordinaryLimits are several times what the largest known images need.
func ordinaryLimits() limits {
	return limits{entries: 1 << 20, metadata: 64 << 20, steps: 16 << 20}
}

// Options say how [List] reads. The zero value is good for most.
type Options struct {
	// MostSparse is how many bytes the sparse files of an archive may have
	// together, which need not be in the archive. 0 is 1 GiB, or 250 times the
	// archive's size where that is more.
	MostSparse int64
	// Adjusted is told of files that Linux cannot take as they are; nil = nobody.
	Adjusted func(name string, a Adjustment)
}

// Entries lists the files of the uncompressed tar archive in r, which is size
// bytes long, in the archive's order; a name that comes twice is there twice.
// The contents are read from r when they are opened, so r must stay open as
// long as the entries are used. Origin is the entries' Origin and names the
// archive in errors.
//
// Paths are those to which dockerd would unpack: a leading slash is dropped, ".."
// is resolved in the text, and a symlink of the same archive on the way is
// followed inside the archive's root. A path that leads out of the root, through
// a file, or through a symlink to nothing is an error that wraps
// [initramfs.ErrUnsafePath]. The target of a hard link is such a path too. So is
// a name longer than Linux takes an error, and an archive that breaks off or is
// malformed.
//
// Whiteouts (".wh." names) are left as they are. The archive's own root
// directory, if it has one ("./", "/"), has the path "", which
// [initramfs.Tree.Add] passes over.
func Entries(r io.ReaderAt, size int64, origin string) ([]initramfs.Entry, error) {
	return List(r, size, origin, Options{})
}

// List is [Entries] with options.
func List(r io.ReaderAt, size int64, origin string, o Options) ([]initramfs.Entry, error) {
	return entries(r, size, origin, o, ordinaryLimits())
}

func entries(r io.ReaderAt, size int64, origin string, o Options, most limits) ([]initramfs.Entry, error) {
	if o.MostSparse == 0 {
		o.MostSparse = max(bombFloor, min(size, math.MaxInt64/bombRatio)*bombRatio)
	}
	source := &blockSource{SectionReader: io.NewSectionReader(r, 0, size)}
	l := &lister{source: source, tar: tar.NewReader(source), origin: origin, options: o, most: most, steps: most.steps, root: &place{kind: initramfs.Dir}}
	err := l.list()
	if err == nil {
		return l.found, nil
	}
	if source.err == nil && len(l.found) == 0 {
		is, readErr := filetype.Describe(r)
		if readErr != nil {
			return nil, fmt.Errorf("reading the tar archive of %s: %w", origin, readErr)
		}
		if is != filetype.Tar {
			err = fmt.Errorf("it seems to be %s, %w", is, ErrNotTar)
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w; it is incomplete: copy or download it again", err)
	}
	if source.err == nil { // what could be read is wrong
		err = fault.Mark(err, fault.Invalid)
	}
	return nil, fmt.Errorf("reading the tar archive of %s: %w", origin, err)
}

// lister collects an archive's files.
type lister struct {
	source  *blockSource
	tar     *tar.Reader
	origin  string
	options Options
	most    limits
	found   []initramfs.Entry
	root    *place

	counted, metadata int   // towards most
	steps             int   // left of most
	sparse            int64 // towards options.MostSparse
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
		if err := l.add(h); err != nil && !errors.Is(err, errNoFile) {
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
	metadata := len(e.Path) + len(e.Target)
	for k, v := range e.Xattrs {
		metadata += len(k) + len(v)
	}
	l.found = append(l.found, e)
	return l.count(1, metadata)
}

// count adds to what the archive makes us remember.
func (l *lister) count(entries, metadata int) error {
	l.counted += entries
	l.metadata += metadata
	if l.counted > l.most.entries || l.metadata > l.most.metadata {
		return fmt.Errorf("it has more than %d files or %d bytes of names and attributes", l.most.entries, l.most.metadata)
	}
	return nil
}

// opener returns the function that opens the file whose header was just read.
func (l *lister) opener(h *tar.Header) (func() (io.ReadCloser, error), error) {
	if IsSparse(h) {
		if l.sparse += h.Size; h.Size > l.options.MostSparse || l.sparse > l.options.MostSparse {
			return nil, fmt.Errorf("its sparse files have %d bytes together, more than the %d that are allowed: %w; if that is right, raise the limit with --max-layer", l.sparse, l.options.MostSparse, errBomb)
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
