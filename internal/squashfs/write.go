package squashfs

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"time"

	"hookbuild/internal/initramfs"
)

// Options specify how [Write] writes. The zero value suits most uses.
type Options struct {
	// Compression is the compression; empty means Gzip, which every kernel with
	// squashfs reads.
	Compression Compression
	// Level is the compressor's: 1 to 9 for gzip, 1 to 22 for zstd; 0 means the
	// default. XZ has no levels.
	Level int
	// BlockSize is the amount of content compressed at a time: a power of two
	// from 4 KiB to 1 MiB; 0 means 128 KiB. Larger blocks compress better and
	// are slower to read from.
	BlockSize int
	// Jobs is the number of compressing goroutines; 0 means one per core. The
	// image does not depend on it.
	Jobs int
	// Distinct says that no two files are equal, so that Write need not check.
	Distinct bool
	// ModTime is the time of the image and of its root directory; the zero
	// value means 1970.
	ModTime time.Time
}

// mostJobs limits the memory on machines with many cores.
const mostJobs = 32

func (o Options) fill() (Options, error) {
	if o.Compression == "" {
		o.Compression = Gzip
	}
	if o.BlockSize == 0 {
		o.BlockSize = 128 << 10
	}
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	o.Jobs = min(o.Jobs, mostJobs)
	return o, checkBlockSize(o.BlockSize)
}

// Check rejects options that [Write] cannot follow.
func (o Options) Check() error {
	o, err := o.fill()
	if err == nil {
		_, err = newCompressor(o.Compression, o.Level, o.BlockSize)
	}
	return err
}

// Stats describes the content of an image.
type Stats struct {
	// Inodes counts files of all types, including the root directory. The names
	// of one file count once.
	Inodes int
	// Content is the size of all regular files, Stored that of the files whose
	// content was stored: the others are duplicates.
	Content, Stored int64
	// Size is the image's length in bytes, padded to 4 KiB.
	Size int64
}

// Write writes t to w, from offset 0, as a squashfs image. It preserves types,
// modes, owners, times (in seconds), hard links, devices and attributes
// (user.*, trusted.* and security.*). Contents are read one file after the
// other, and equal files are stored once.
//
// An entry that the format cannot represent is an error that names it and its
// origin. After any error w holds no valid image.
func Write(ctx context.Context, w io.WriterAt, t *initramfs.Tree, o Options) (Stats, error) {
	o, err := o.fill()
	if err != nil {
		return Stats{}, err
	}
	comp, err := newCompressor(o.Compression, o.Level, o.BlockSize)
	if err != nil {
		return Stats{}, err
	}
	p, err := newPlan(t, o.ModTime)
	if err != nil {
		return Stats{}, err
	}
	stored, err := p.share(ctx, o)
	if err != nil {
		return Stats{}, err
	}
	iw := &imageWriter{plan: p, options: o, comp: comp, out: newOutput(w)}
	if err := iw.write(ctx, stored); err != nil {
		return Stats{}, err
	}
	return iw.stats(stored), nil
}

// imageWriter writes the parts of an image in order.
type imageWriter struct {
	plan    *plan
	options Options
	comp    compressor
	out     *output
	super   superblock
}

func (w *imageWriter) write(ctx context.Context, stored []*node) error {
	if err := w.out.write(make([]byte, superblockSize)); err != nil {
		return err
	}
	packer := newPacker(w.options, w.out)
	if err := packer.pack(ctx, stored); err != nil {
		return err
	}
	head, err := w.describe(packer.fragments)
	if err != nil {
		return err
	}
	return w.out.finish(head)
}

// describe writes everything after the contents and returns the superblock.
func (w *imageWriter) describe(fragments []*fragment) (head []byte, err error) {
	xattrs := newXattrWriter(w.comp)
	if err := w.writeInodes(xattrs); err != nil {
		return nil, err
	}
	if err := w.writeTables(fragments, xattrs); err != nil {
		return nil, err
	}
	return w.finish(len(fragments), len(xattrs.known) > 0)
}

// writeInodes writes the inode table and the directory table.
func (w *imageWriter) writeInodes(xattrs *xattrWriter) error {
	inodes, dirs := &metadataWriter{comp: w.comp}, &metadataWriter{comp: w.comp}
	for _, n := range w.plan.inodes {
		if err := n.write(inodes, dirs, xattrs); err != nil {
			return describe(n.entry, err)
		}
	}
	w.super.Root = uint64(w.plan.root.ref)
	for _, t := range []struct {
		table *metadataWriter
		at    *uint64
	}{{inodes, &w.super.InodeTable}, {dirs, &w.super.DirTable}} {
		if err := t.table.flush(); err != nil {
			return err
		}
		*t.at = uint64(w.out.offset)
		if err := w.out.write(t.table.packed); err != nil {
			return err
		}
	}
	return nil
}

// write writes an inode, preceded by a directory's listing.
func (n *node) write(inodes, dirs *metadataWriter, xattrs *xattrWriter) error {
	xattr, err := xattrs.add(n.entry.Xattrs)
	if err != nil {
		return err
	}
	if n.entry.Type == initramfs.Dir {
		n.listing, err = writeListing(dirs, n.listed())
		if err != nil {
			return err
		}
	}
	n.ref = newRef(inodes.position())
	return inodes.append(inodeOf(n, xattr)...)
}

// listed returns a directory's children as entries of its listing.
func (n *node) listed() []child {
	children := make([]child, len(n.children))
	for i, c := range n.children {
		children[i] = child{c.base, c.node.ref, c.node.number, basicType(c.node.entry.Type)}
	}
	return children
}

// writeTables writes the tables after the directories. The kernel checks that
// each table ends where the next begins.
func (w *imageWriter) writeTables(fragments []*fragment, xattrs *xattrWriter) error {
	var content []byte
	var err error
	for _, f := range fragments {
		if content, err = binary.Append(content, binary.LittleEndian, f); err != nil {
			return err
		}
	}
	if err := w.writeTable(content, &w.super.FragmentTable); err != nil {
		return err
	}
	content = nil
	for _, n := range w.plan.inodes {
		content = binary.LittleEndian.AppendUint64(content, uint64(n.ref))
	}
	if err := w.writeTable(content, &w.super.ExportTable); err != nil {
		return err
	}
	if content, err = binary.Append(nil, binary.LittleEndian, w.plan.ids); err != nil {
		return err
	}
	if err := w.writeTable(content, &w.super.IDTable); err != nil {
		return err
	}
	all, index, err := xattrs.table(w.comp, uint64(w.out.offset))
	if err != nil {
		return err
	}
	w.super.XattrTable = index
	return w.out.write(all)
}

func (w *imageWriter) writeTable(content []byte, at *uint64) error {
	all, index, err := table(w.comp, content, uint64(w.out.offset))
	if err != nil {
		return err
	}
	*at = index
	return w.out.write(all)
}

// finish pads the image, so that a loop device shows all of it, and returns the
// superblock, which must be written last: until then the image is invalid.
func (w *imageWriter) finish(fragments int, xattrs bool) (head []byte, err error) {
	const padding = 4 << 10
	modTime, err := seconds(w.options.ModTime)
	if err != nil {
		return nil, err
	}
	s := &w.super
	s.Magic, s.Major, s.ModTime = magic, 4, modTime
	s.Inodes, s.Fragments, s.IDs = uint32(len(w.plan.inodes)), uint32(fragments), uint16(len(w.plan.ids))
	s.BlockSize, s.BlockLog = uint32(w.options.BlockSize), uint16(bits.TrailingZeros(uint(w.options.BlockSize)))
	s.Compression, s.Size = w.options.Compression.id(), uint64(w.out.offset)
	s.Flags = flagDuplicates | flagExportable
	if !xattrs {
		s.Flags |= flagNoXattrs
	}
	if err := w.out.write(make([]byte, -w.out.offset&(padding-1))); err != nil {
		return nil, err
	}
	return s.bytes()
}

func (w *imageWriter) stats(stored []*node) Stats {
	s := Stats{Inodes: len(w.plan.inodes), Size: w.out.offset}
	for _, n := range w.plan.inodes {
		if n.entry.Type == initramfs.Regular {
			s.Content += n.entry.Size
		}
	}
	for _, n := range stored {
		s.Stored += n.entry.Size
	}
	return s
}

// output writes an image front to back.
type output struct {
	w      io.WriterAt
	b      *bufio.Writer
	offset int64
}

func newOutput(w io.WriterAt) *output {
	return &output{w: w, b: bufio.NewWriterSize(io.NewOffsetWriter(w, 0), 1<<20)}
}

func (o *output) write(b []byte) error {
	n, err := o.b.Write(b)
	o.offset += int64(n)
	if err != nil {
		return fmt.Errorf("writing a squashfs: %w", err)
	}
	return nil
}

// finish writes what is left, and begin over the first bytes.
func (o *output) finish(begin []byte) error {
	err := o.b.Flush()
	if err == nil {
		_, err = o.w.WriteAt(begin, 0)
	}
	if err != nil {
		return fmt.Errorf("writing a squashfs: %w", err)
	}
	return nil
}
