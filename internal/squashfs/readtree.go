package squashfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// Limits on what a hostile image can make a reader hold: names, blocks of
// files, and attributes.
const (
	mostEntries    = 4 << 20
	mostPath       = 4096
	mostBlocks     = 16 << 20
	mostXattrBytes = 64 << 20
)

// Tree reads all directories and inodes. The files' contents are read from the
// image when they are opened. Origin becomes the Origin of the entries.
func (i *Image) Tree(ctx context.Context, origin string) (*initramfs.Tree, error) {
	t := newTreeReader(ctx, i, origin)
	if err := t.readAll(); err != nil {
		return nil, err
	}
	return t.tree, nil
}

// treeReader is one traversal of an image.
type treeReader struct {
	ctx    context.Context
	image  *Image
	origin string
	tree   *initramfs.Tree
	packed map[string]Packed            // the contents of regular files by path, if requested
	first  map[inodeRef]string          // the first name of a file with several
	dirs   map[inodeRef]bool            // the directories visited
	sets   map[uint32]map[string]string // sets of attributes, by number
	// Counts of what the traversal holds, to limit them.
	entries, blocks, xattrBytes int
}

func newTreeReader(ctx context.Context, i *Image, origin string) *treeReader {
	return &treeReader{
		ctx: ctx, image: i, origin: origin, tree: &initramfs.Tree{},
		first: map[inodeRef]string{}, dirs: map[inodeRef]bool{}, sets: map[uint32]map[string]string{},
	}
}

func (t *treeReader) readAll() error {
	i := t.image
	root, err := i.inode(inodeRef(i.super.Root), t)
	if err == nil && root.entry.Type != initramfs.Dir {
		err = errors.New("its root is not a directory")
	}
	if err == nil {
		err = t.readDir("", inodeRef(i.super.Root), root)
	}
	if err == nil {
		return nil
	}
	if t.ctx.Err() != nil {
		return t.ctx.Err()
	}
	return fault.Invalidf("reading the squashfs %s: %w", t.origin, err)
}

func (t *treeReader) readDir(at string, ref inodeRef, dir *readInode) error {
	if t.dirs[ref] {
		return fmt.Errorf("directory %q occurs twice", at)
	}
	t.dirs[ref] = true
	if err := t.ctx.Err(); err != nil {
		return err
	}
	children, err := t.listing(dir.listing)
	if err != nil {
		return fmt.Errorf("reading directory %q: %w", at, err)
	}
	for _, c := range children {
		if err := t.readChild(path.Join(at, c.name), c); err != nil {
			return err
		}
	}
	return nil
}

func (t *treeReader) readChild(name string, c child) error {
	if first, ok := t.first[c.ref]; ok {
		return t.tree.Add(initramfs.Entry{Path: name, Type: initramfs.HardLink, Target: first, Origin: t.origin})
	}
	if len(name) > mostPath {
		return fmt.Errorf("the path %.40q... has %d bytes", name, len(name))
	}
	n, err := t.image.inode(c.ref, t)
	if err != nil {
		return fmt.Errorf("reading the inode of %q: %w", name, err)
	}
	if basicType(n.entry.Type) != c.kind {
		return fmt.Errorf("%q is listed with another type than its inode's", name)
	}
	n.entry.Path, n.entry.Origin = name, t.origin
	if n.links > 1 && n.entry.Type != initramfs.Dir {
		t.first[c.ref] = name
	}
	if n.data != nil && t.packed != nil {
		t.packed[name] = Packed{t.image, n.data, n.entry.Size}
	}
	if err := t.tree.Add(n.entry); err != nil {
		return err
	}
	if n.entry.Type == initramfs.Dir {
		return t.readDir(name, c.ref, n)
	}
	return nil
}

// listing reads a directory's entries.
func (t *treeReader) listing(l listing) ([]child, error) {
	cur := t.image.at(t.image.super.DirTable, newRef(l.block, l.offset))
	var children []child
	for left := l.size; left > 0; {
		var header struct{ Count, Block, Number uint32 }
		if err := cur.decode(&header); err != nil {
			return nil, err
		}
		if header.Count >= mostInRun {
			return nil, fmt.Errorf("a run has %d entries", uint64(header.Count)+1)
		}
		left -= runHeaderSize
		for range header.Count + 1 {
			c, err := readChild(cur, header.Block, header.Number)
			if err != nil {
				return nil, err
			}
			if len(children) > 0 && children[len(children)-1].name >= c.name {
				return nil, fmt.Errorf("%q follows %q", c.name, children[len(children)-1].name)
			}
			left -= childHeader + len(c.name)
			children = append(children, c)
		}
		if t.entries += int(header.Count) + 1; t.entries > mostEntries || left < 0 {
			return nil, errors.New("it has too many entries")
		}
	}
	return children, nil
}

func readChild(cur *cursor, block, number uint32) (child, error) {
	var head struct {
		Offset   uint16
		Away     int16
		Kind     uint16
		NameSize uint16
	}
	if err := cur.decode(&head); err != nil {
		return child{}, err
	}
	if head.NameSize >= mostName || head.Offset >= metadataSize {
		return child{}, fmt.Errorf("an entry has a name of %d bytes", int(head.NameSize)+1)
	}
	raw, err := cur.bytes(int(head.NameSize) + 1)
	if err != nil {
		return child{}, err
	}
	name := string(raw)
	if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return child{}, fmt.Errorf("%q is not a file name: %w", name, initramfs.ErrUnsafePath)
	}
	ref := newRef(uint64(block), int(head.Offset))
	return child{name, ref, number + uint32(int32(head.Away)), head.Kind}, nil
}
