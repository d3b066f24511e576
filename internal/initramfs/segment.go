package initramfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cavaliergopher/cpio"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs/zstd"
	"hookbuild/internal/progress"
)

// SegmentOptions specify how [WriteSegment] writes.
type SegmentOptions struct {
	// Compression is the compression; empty means Gzip.
	Compression Compression
	// Level is the compressor's: 1 to 9 for gzip, 1 to 22 for zstd, where all
	// levels from 19 on are the same; 0 means the default, 6 and 3.
	Level int
	// Window is how far back zstd finds repetitions, in bytes, if the content
	// is that long. The writer needs that much memory, and so does the kernel
	// while it unpacks. 0 means [zstd.DefaultWindow]; kernels accept up to 128
	// MiB.
	Window int
	// Jobs is the number of compressing goroutines; 0 means one per core. The
	// output does not depend on it.
	Jobs int
	// MaxTime replaces later modification times; the zero value replaces none.
	MaxTime time.Time
	// DropXattrs drops extended attributes, which an archive cannot carry.
	// Otherwise an entry that has some is an error; [Tree.Xattrs] finds them
	// beforehand.
	DropXattrs bool
	// Task is told the size of the files' content, and how much of it is written.
	// Nil means none.
	Task *progress.Task
}

// errXattrs is wrapped by the error about an entry with extended attributes,
// which an archive cannot carry.
var errXattrs = errors.New("an initramfs cannot carry extended attributes")

// WriteSegment writes t to w as one newc archive in exactly one gzip member or
// zstd frame. Entries are sorted, parents first, with inodes numbered from 1;
// equal trees give equal output. The names of a hard-linked file share an
// inode, and the last one carries the content. A hard link to a symlink becomes
// a separate symlink, because the kernel does not link symlinks.
//
// An entry that cannot be represented exactly is an error that names it and its
// origin: content that does not have its size or is 4 GiB or more, a name or
// target too long for the kernel, a time before 1970 or after 2106.
func WriteSegment(ctx context.Context, w io.Writer, t *Tree, o SegmentOptions) error {
	if o.Task != nil {
		o.Task.Expect(t.contentSize())
	}
	zw, err := newCompressor(ctx, w, o.Compression, o.Level, o.windowFor(t), o.Jobs)
	if err != nil {
		return err
	}
	sw := &segmentWriter{ctx: ctx, newc: newNewcWriter(zw), tree: t, options: o, open: map[string]*inode{}}
	err = sw.writeAll()
	if err == nil {
		err = sw.newc.cpio.Close()
	}
	// Close in any case, or its goroutines would leak.
	if cerr := zw.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("compressing an initramfs segment: %w", cerr)
	}
	return err
}

// windowFor returns a window no larger than t needs.
func (o SegmentOptions) windowFor(t *Tree) int {
	most := int64(o.Window)
	if most == 0 {
		most = zstd.DefaultWindow
	}
	size := t.contentSize()
	for e := range t.All() {
		size += newcHeaderSize + int64(len(e.Path))
	}
	return int(min(size, most))
}

// contentSize returns the sum of the sizes of t's regular files in bytes.
func (t *Tree) contentSize() int64 {
	size := int64(0)
	for e := range t.All() {
		if e.Type == Regular {
			size += e.Size
		}
	}
	return size
}

// segmentWriter writes one archive.
type segmentWriter struct {
	ctx     context.Context
	newc    *newcWriter
	tree    *Tree
	options SegmentOptions
	inodes  int64
	// open holds the hard-linked files with names still to be written.
	open map[string]*inode
}

// inode is a hard-linked file some of whose names have been written.
type inode struct {
	number     int64
	names, due int
}

func (w *segmentWriter) writeAll() error {
	for e := range w.tree.All() {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.write(e); err != nil {
			return fmt.Errorf("writing %q of %s into an initramfs: %w", e.Path, orUnknown(e.Origin), err)
		}
	}
	return nil
}

func (w *segmentWriter) write(e Entry) error {
	file := e // the file that the entry is a name of
	if e.Type == HardLink {
		target, ok := w.tree.Lookup(e.Target)
		if !ok {
			return fmt.Errorf("its link target %q does not exist", e.Target)
		}
		file = target
	}
	if err := checkEntry(e.Path, file, w.options.DropXattrs); err != nil {
		return err
	}
	h, last, err := w.header(e.Path, file)
	if err != nil {
		return err
	}
	if err := w.newc.header(h, file.Major, file.Minor); err != nil {
		return err
	}
	return w.body(file, last)
}

// header returns the header of one name of file, and whether it is the last
// one.
func (w *segmentWriter) header(name string, file Entry) (h *cpio.Header, last bool, err error) {
	mtime, err := newcTime(file.ModTime, w.options.MaxTime)
	if err != nil {
		return nil, false, err
	}
	h = &cpio.Header{
		Name: name, Mode: cpio.FileMode(file.Mode) | newcType(file.Type),
		Uid: int(file.UID), Guid: int(file.GID), ModTime: mtime,
	}
	last = w.number(h, file)
	switch {
	case file.Type == Symlink:
		h.Size = int64(len(file.Target))
	case file.Type == Regular && last:
		h.Size = file.Size
	}
	return h, last, nil
}

// number sets the inode and link count of h, and reports whether it is the
// file's last name.
func (w *segmentWriter) number(h *cpio.Header, file Entry) bool {
	names := 1 + len(w.tree.links[file.Path])
	if names == 1 || file.Type == Symlink {
		w.inodes++
		h.Inode, h.Links = w.inodes, 1
		if file.Type == Dir {
			h.Links = 2
		}
		return true
	}
	n := w.open[file.Path]
	if n == nil {
		w.inodes++
		n = &inode{number: w.inodes, names: names, due: names}
		w.open[file.Path] = n
	}
	h.Inode, h.Links = n.number, n.names
	if n.due--; n.due > 0 {
		return false
	}
	delete(w.open, file.Path)
	return true
}

func (w *segmentWriter) body(file Entry, last bool) error {
	switch {
	case file.Type == Symlink:
		_, err := io.WriteString(w.newc.cpio, file.Target)
		return err
	case file.Type == Regular && last:
		var to io.Writer = w.newc.cpio
		if w.options.Task != nil {
			to = io.MultiWriter(to, w.options.Task)
		}
		return copyContent(w.ctx, to, file)
	}
	return nil
}

// copyContent writes e's content to w and checks its size.
func copyContent(ctx context.Context, w io.Writer, e Entry) (err error) {
	if e.Open == nil {
		if e.Size == 0 {
			return nil
		}
		return fmt.Errorf("it has no content, want %d bytes", e.Size)
	}
	r, err := e.Open()
	if err != nil {
		return fmt.Errorf("opening its content: %w", err)
	}
	defer func() {
		if cerr := r.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("closing its content: %w", cerr)
		}
	}()
	n, err := io.Copy(w, io.LimitReader(&contextReader{ctx, r}, e.Size))
	if err != nil {
		return fmt.Errorf("copying its content: %w", err)
	}
	if n < e.Size {
		return fmt.Errorf("its content ends after %d of %d bytes", n, e.Size)
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("its content is longer than its %d bytes", e.Size)
	case err != io.EOF:
		return fmt.Errorf("copying its content: %w", err)
	}
	return nil
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func newcTime(t, most time.Time) (time.Time, error) {
	if t.IsZero() {
		t = Epoch()
	}
	if !most.IsZero() && t.After(most) {
		t = most
	}
	if s := t.Unix(); s < 0 || s > newcMax32 {
		return t, fmt.Errorf("its modification time %s is outside 1970 to 2106", t.UTC().Format(time.RFC3339))
	}
	return t, nil
}

// checkEntry rejects what the kernel would skip or an archive cannot represent.
func checkEntry(name string, e Entry, dropXattrs bool) error {
	const mostComponent, mostTarget = 255, newcMaxName - 1 // NAME_MAX, PATH_MAX
	switch {
	case name == newcTrailer:
		return errors.New("this name ends an archive")
	case longestPart(name) > mostComponent:
		return fmt.Errorf("a part of its name is longer than %d bytes", mostComponent)
	case newcType(e.Type) == 0:
		return fmt.Errorf("an archive cannot carry a %s", e.Type)
	case e.Mode&^0o7777 != 0:
		return fmt.Errorf("its mode %#o has more than permission bits", e.Mode)
	case e.Type == Symlink && (e.Target == "" || len(e.Target) > mostTarget):
		return fmt.Errorf("its target has %d bytes; the kernel accepts 1 to %d", len(e.Target), mostTarget)
	case e.Type == Regular && (e.Size < 0 || e.Size > newcMax32):
		return fault.Invalidf("its %d bytes are more than an archive can carry (4 GiB)", e.Size)
	case len(e.Xattrs) > 0 && !dropXattrs:
		return errXattrs
	}
	return nil
}

func longestPart(name string) int {
	longest := 0
	for part := range strings.SplitSeq(name, "/") {
		longest = max(longest, len(part))
	}
	return longest
}

// CopyContent writes the content of a regular file to w and checks that it has
// the entry's size. It stops when ctx ends.
func CopyContent(ctx context.Context, w io.Writer, e Entry) error {
	if e.Type != Regular {
		return nil
	}
	if err := copyContent(ctx, w, e); err != nil {
		return fmt.Errorf("reading %q of %s: %w", e.Path, orUnknown(e.Origin), err)
	}
	return nil
}
