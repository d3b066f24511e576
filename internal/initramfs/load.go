package initramfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
)

// Spool stores the contents of files for [Load]: an empty temporary file.
type Spool interface {
	io.Writer
	io.ReaderAt
}

// File is an initramfs as the kernel would unpack it.
type File struct {
	// Tree holds the files. Their contents are read from the spool, which must
	// stay open as long as they are used.
	Tree     *Tree
	Segments []Segment
	// Lost are entries that the kernel drops silently.
	Lost []Loss
}

// Loss is an entry that does not reach the booted system.
type Loss struct {
	Path, Reason string
}

// Load reads a whole initramfs file and unpacks it as the kernel does
// (init/initramfs.c). It stores contents in spool: those of the files for which
// wanted returns true, or all if wanted is nil. Opening any other file is an
// error. Origin becomes the Origin of the entries, and names the file in
// errors.
func Load(ctx context.Context, r io.Reader, spool Spool, origin string, l Limits, wanted func(Entry) bool) (*File, error) {
	reader := NewReader(ctx, r, l)
	u := &unpacker{
		tree: &Tree{}, reader: reader, origin: origin, wanted: wanted,
		spool: spool, out: bufio.NewWriterSize(spool, 256<<10), files: map[FileID]string{},
	}
	for {
		rec, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = u.unpack(rec)
		}
		if err != nil {
			return nil, fmt.Errorf("unpacking %s: %w", orUnknown(origin), err)
		}
	}
	if err := u.out.Flush(); err != nil {
		return nil, fmt.Errorf("storing the contents of %s: %w", orUnknown(origin), err)
	}
	return &File{Tree: u.tree, Segments: reader.Segments(), Lost: u.lost}, nil
}

// unpacker imitates the kernel's do_name and do_symlink.
type unpacker struct {
	tree   *Tree
	reader *Reader
	origin string
	wanted func(Entry) bool // nil means all
	spool  io.ReaderAt
	out    *bufio.Writer
	kept   int64             // bytes in the spool
	files  map[FileID]string // paths of the files with several names
	lost   []Loss
}

func (u *unpacker) unpack(rec Record) error {
	if rec.Path == "" {
		return nil // the root itself
	}
	content, err := u.keep(rec.Entry)
	if err != nil {
		return fmt.Errorf("reading %q: %w", rec.Path, err)
	}
	rec.Origin = u.origin
	if reason := u.place(rec, content); reason != "" {
		u.lost = append(u.lost, Loss{rec.Path, reason})
	}
	return nil
}

var errNotKept = errors.New("its content was not kept")

// keep copies the reader's content to the spool and returns a function to open
// it.
func (u *unpacker) keep(e Entry) (func() (io.ReadCloser, error), error) {
	if e.Type != Regular || e.Size == 0 {
		return nil, nil
	}
	if u.wanted != nil && !u.wanted(e) {
		_, err := io.Copy(io.Discard, u.reader)
		return func() (io.ReadCloser, error) { return nil, errNotKept }, err
	}
	n, err := io.Copy(u.out, u.reader)
	start := u.kept
	u.kept += n
	if err != nil {
		return nil, err
	}
	spool := u.spool
	return func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(spool, start, n)), nil
	}, nil
}

// place puts a file into the tree, or returns the reason why the kernel does
// not.
func (u *unpacker) place(rec Record, content func() (io.ReadCloser, error)) string {
	dir, ok := u.tree.Resolve(path.Dir(rec.Path))
	if !ok || !u.tree.isDir(dir) {
		return fmt.Sprintf("there is no directory %q before it", path.Dir(rec.Path))
	}
	e := rec.Entry
	e.Path, e.Open = path.Join(dir, path.Base(e.Path)), content
	if u.mayLink(rec) {
		if first, ok := u.files[rec.FileID]; ok {
			return u.link(first, e)
		}
		defer u.remember(rec.FileID, e.Path)
	}
	old := u.tree.file(e.Path)
	switch {
	case old == nil:
	case old.Type == e.Type && e.Type != Symlink:
		u.update(old, e)
		return ""
	case !u.clear(e.Path):
		return fmt.Sprintf("a non-empty directory is in the place of this %s", e.Type)
	}
	u.tree.insert(e)
	return ""
}

// mayLink reports whether the kernel looks for another name of the file.
func (u *unpacker) mayLink(rec Record) bool {
	return rec.Links >= 2 && rec.Type != Dir && rec.Type != Symlink
}

func (u *unpacker) remember(id FileID, name string) {
	if u.tree.entries[name] != nil {
		u.files[id] = name
	}
}

// link makes e a further name of the file at first. If e carries content, it
// becomes the content of all names.
func (u *unpacker) link(first string, e Entry) string {
	file := u.tree.file(first)
	if file == nil || file.Type != e.Type {
		return fmt.Sprintf("%q, which it is a hard link to, was replaced", first)
	}
	if u.tree.file(e.Path) != file {
		if !u.clear(e.Path) {
			return "a non-empty directory is in the place of this hard link"
		}
		u.tree.insert(Entry{Path: e.Path, Type: HardLink, Target: file.Path, Origin: e.Origin})
	}
	if e.Size == 0 {
		e.Size, e.Open = file.Size, file.Open
	}
	u.update(file, e)
	return ""
}

// clear removes what is at name. It returns false for a non-empty directory,
// which stays.
func (u *unpacker) clear(name string) bool {
	if u.tree.entries[name] == nil {
		return true
	}
	if u.tree.children[name] > 0 {
		return false
	}
	u.tree.drop(name)
	return true
}

// update changes a file when another of its type is written over it, under all
// its names. A device keeps its numbers, and a directory its time, because the
// kernel sets the directories' times last, in reverse order.
func (u *unpacker) update(old *Entry, e Entry) {
	if e.Type == Dir {
		e.ModTime = old.ModTime
	}
	e.Path, e.Major, e.Minor = old.Path, old.Major, old.Minor
	*old = e
}
