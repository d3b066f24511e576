package squashfs

import (
	"fmt"
	"math"

	"hookbuild/internal/initramfs"
)

// inodeHeader begins every inode.
type inodeHeader struct {
	Kind, Mode uint16
	UID, GID   uint16 // indexes into the id table
	ModTime    uint32
	Number     uint32
}

// The inodes as they are in the inode table, without their header and
// variable-length data.
type (
	basicDir struct {
		Block, Links uint32
		Size, Offset uint16
		Parent       uint32
	}
	extendedDir struct {
		Links, Size, Block, Parent uint32
		Index, Offset              uint16
		Xattr                      uint32
	}
	basicFile struct {
		Start, Fragment, Offset, Size uint32
	}
	extendedFile struct {
		Start, Size, Sparse            uint64
		Links, Fragment, Offset, Xattr uint32
	}
	symlinkInode struct {
		Links, TargetSize uint32
	}
	deviceInode struct {
		Links, Device uint32
	}
	indexHeader struct {
		At, Block, NameSize uint32
	}
)

// basicType returns the inode type of a kind of entry, or 0 if it has none.
func basicType(t initramfs.Type) uint16 {
	types := [...]uint16{
		initramfs.Regular: typeFile, initramfs.Dir: typeDir, initramfs.Symlink: typeSymlink, initramfs.CharDevice: typeCharDevice,
		initramfs.BlockDevice: typeBlockDevice, initramfs.Fifo: typeFifo, initramfs.Socket: typeSocket,
	}
	if int(t) >= len(types) {
		return 0
	}
	return types[t]
}

// inodeOf returns the inode's values for [metadataWriter.append], in order.
func inodeOf(n *node, xattr uint32) []any {
	h := inodeHeader{basicType(n.entry.Type), uint16(n.entry.Mode), n.uid, n.gid, n.modTime, n.number}
	if n.needsExtended(xattr) {
		h.Kind += extended
	}
	values := []any{h}
	switch n.entry.Type {
	case initramfs.Dir:
		values = append(values, n.dirInode(xattr)...)
	case initramfs.Regular:
		values = append(values, n.fileInode(h, xattr)...)
	case initramfs.Symlink:
		values = append(values, symlinkInode{n.links, uint32(len(n.entry.Target))}, []byte(n.entry.Target))
	case initramfs.CharDevice, initramfs.BlockDevice:
		values = append(values, deviceInode{n.links, packDevice(n.entry.Major, n.entry.Minor)})
	default:
		values = append(values, n.links)
	}
	if xattr != noXattr && n.entry.Type != initramfs.Dir && n.entry.Type != initramfs.Regular {
		values = append(values, xattr)
	}
	return values
}

// needsExtended reports whether a basic inode cannot represent the file.
func (n *node) needsExtended(xattr uint32) bool {
	if xattr != noXattr {
		return true
	}
	switch n.entry.Type {
	case initramfs.Dir:
		return len(n.listing.index) > 0 || n.listing.size+dirSizeBias > math.MaxUint16
	case initramfs.Regular:
		d := n.data
		return n.links > 1 || d.sparse > 0 || d.start > math.MaxUint32 || n.entry.Size > math.MaxUint32
	}
	return false
}

// dirSizeBias is what the format adds to the size of a directory's listing for
// "." and "..", which are not in it.
const dirSizeBias = 3

func (n *node) dirInode(xattr uint32) []any {
	l := n.listing
	if !n.needsExtended(xattr) {
		return []any{basicDir{uint32(l.block), n.links, uint16(l.size + dirSizeBias), uint16(l.offset), n.parent}}
	}
	values := []any{extendedDir{n.links, uint32(l.size + dirSizeBias), uint32(l.block), n.parent, uint16(len(l.index)), uint16(l.offset), xattr}}
	for _, e := range l.index {
		values = append(values, indexHeader{e.at, e.block, uint32(len(e.name) - 1)}, []byte(e.name))
	}
	return values
}

func (n *node) fileInode(h inodeHeader, xattr uint32) []any {
	d := n.data
	if h.Kind == typeFile {
		return []any{basicFile{uint32(d.start), d.fragment, d.offset, uint32(n.entry.Size)}, d.blocks}
	}
	return []any{extendedFile{d.start, uint64(n.entry.Size), d.sparse, n.links, d.fragment, d.offset, xattr}, d.blocks}
}

// check rejects what an image cannot hold.
func (n *node) check() error {
	const mostMajor, mostMinor = 1<<12 - 1, 1<<20 - 1
	e := n.entry
	switch {
	case basicType(e.Type) == 0:
		return fmt.Errorf("squashfs cannot hold a %s", e.Type)
	case e.Mode&^0o7777 != 0:
		return fmt.Errorf("its mode %#o has more than permission bits", e.Mode)
	case e.Type == initramfs.Symlink && (e.Target == "" || len(e.Target) > mostTarget):
		return fmt.Errorf("its target has %d bytes; the kernel accepts 1 to %d", len(e.Target), mostTarget)
	case e.Major > mostMajor || e.Minor > mostMinor:
		return fmt.Errorf("its device number %d:%d is beyond %d:%d", e.Major, e.Minor, mostMajor, mostMinor)
	case e.Type == initramfs.Regular && (e.Size < 0 || e.Size > mostSize):
		return fmt.Errorf("its size %d is not between 0 and %d", e.Size, int64(mostSize))
	}
	return nil
}
