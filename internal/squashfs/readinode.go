package squashfs

import (
	"fmt"
	"math"
	"time"

	"hookbuild/internal/initramfs"
)

// readInode is an inode that was read.
type readInode struct {
	entry   initramfs.Entry
	links   uint32
	listing listing   // of a directory
	data    *fileData // of a regular file
}

// inode reads the inode at ref, and counts the memory it takes.
func (i *Image) inode(ref inodeRef, t *treeReader) (*readInode, error) {
	cur := i.at(i.super.InodeTable, ref)
	var h inodeHeader
	if err := cur.decode(&h); err != nil {
		return nil, err
	}
	n := &readInode{links: 1}
	n.entry.Mode, n.entry.ModTime = uint32(h.Mode)&0o7777, time.Unix(int64(h.ModTime), 0).UTC()
	var err error
	if n.entry.UID, err = i.id(h.UID); err != nil {
		return nil, err
	}
	if n.entry.GID, err = i.id(h.GID); err != nil {
		return nil, err
	}
	xattr, err := n.read(cur, h.Kind, t)
	if err != nil || xattr == noXattr {
		return n, err
	}
	n.entry.Xattrs, err = t.xattrs(xattr)
	return n, err
}

// id returns the user or group with that index.
func (i *Image) id(number uint16) (id uint32, err error) {
	if number >= i.super.IDs {
		return 0, fmt.Errorf("its owner's number %d is not below %d", number, i.super.IDs)
	}
	if err := i.lookup(i.super.IDTable, uint32(number), &id); err != nil {
		return 0, fmt.Errorf("reading its owner: %w", err)
	}
	return id, nil
}

// read reads the data after an inode's header and returns the number of its
// attributes.
func (n *readInode) read(cur *cursor, kind uint16, t *treeReader) (xattr uint32, err error) {
	isExtended := kind > extended
	if isExtended {
		kind -= extended
	}
	switch kind {
	case typeDir:
		return n.readDir(cur, isExtended)
	case typeFile:
		return n.readFile(cur, isExtended, t)
	case typeSymlink:
		err = n.readSymlink(cur)
	case typeBlockDevice, typeCharDevice:
		err = n.readDevice(cur, kind)
	case typeFifo, typeSocket:
		n.entry.Type = initramfs.Fifo + initramfs.Type(kind-typeFifo)
		err = cur.decode(&n.links)
	default:
		err = fmt.Errorf("its type %d is unknown", kind)
	}
	xattr = noXattr
	if err == nil && isExtended {
		err = cur.decode(&xattr)
	}
	return xattr, err
}

func (n *readInode) readDir(cur *cursor, isExtended bool) (uint32, error) {
	n.entry.Type = initramfs.Dir
	var d extendedDir
	if isExtended {
		if err := cur.decode(&d); err != nil {
			return 0, err
		}
	} else {
		var b basicDir
		if err := cur.decode(&b); err != nil {
			return 0, err
		}
		d = extendedDir{Block: b.Block, Size: uint32(b.Size), Offset: b.Offset, Xattr: noXattr}
	}
	n.listing = listing{block: uint64(d.Block), offset: int(d.Offset), size: max(int(d.Size)-dirSizeBias, 0)}
	return d.Xattr, nil
}

func (n *readInode) readSymlink(cur *cursor) error {
	n.entry.Type = initramfs.Symlink
	var s symlinkInode
	if err := cur.decode(&s); err != nil {
		return err
	}
	if s.TargetSize == 0 || s.TargetSize > math.MaxUint16 {
		return fmt.Errorf("its target has %d bytes", s.TargetSize)
	}
	target, err := cur.bytes(int(s.TargetSize))
	n.entry.Target, n.links = string(target), s.Links
	return err
}

func (n *readInode) readDevice(cur *cursor, kind uint16) error {
	n.entry.Type = initramfs.BlockDevice
	if kind == typeCharDevice {
		n.entry.Type = initramfs.CharDevice
	}
	var d deviceInode
	if err := cur.decode(&d); err != nil {
		return err
	}
	n.links = d.Links
	n.entry.Major, n.entry.Minor = unpackDevice(d.Device)
	return nil
}

func (n *readInode) readFile(cur *cursor, isExtended bool, t *treeReader) (uint32, error) {
	f := extendedFile{Links: 1, Xattr: noXattr}
	if isExtended {
		if err := cur.decode(&f); err != nil {
			return 0, err
		}
	} else {
		var b basicFile
		if err := cur.decode(&b); err != nil {
			return 0, err
		}
		f.Start, f.Size, f.Fragment, f.Offset = uint64(b.Start), uint64(b.Size), b.Fragment, b.Offset
	}
	size := uint64(cur.image.super.BlockSize)
	count := f.Size / size
	if f.Fragment == noFragment && f.Size%size != 0 {
		count++
	}
	if f.Size > math.MaxInt64/2 || count > uint64(mostBlocks-t.blocks) {
		return 0, fmt.Errorf("its %d bytes are too many", f.Size)
	}
	t.blocks += int(count)
	data := &fileData{start: f.Start, fragment: f.Fragment, offset: f.Offset, sparse: f.Sparse}
	if count > 0 {
		data.blocks = make([]uint32, count)
		if err := cur.decode(data.blocks); err != nil {
			return 0, err
		}
	}
	n.links, n.data, n.entry.Size = f.Links, data, int64(f.Size)
	if f.Size > 0 {
		n.entry.Open = cur.image.opener(data, int64(f.Size))
	}
	return f.Xattr, nil
}
