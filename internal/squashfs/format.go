// Package squashfs writes and reads squashfs 4.0 images, the read-only file
// system that a Linux kernel mounts directly from a compressed file.
//
// [Write] writes an image of an [initramfs.Tree] without root and without
// mksquashfs; [Open] reads any image back as a Tree. Both stream: memory does
// not grow with the size of files, only with their number. Equal trees yield
// equal images, whatever the number of goroutines.
//
// The format is described at https://dr-emann.github.io/squashfs/; where that
// is silent, fs/squashfs in the kernel's sources decides. Deliberately left
// out: versions before 4.0, lzo and lzma (v1) compression, and the packing of
// files' last blocks into fragments unless the file is shorter than a block.
package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"hookbuild/internal/fault"
)

const (
	magic          = 0x73717368 // "hsqs"
	superblockSize = 96
	metadataSize   = 8192 // of a full metadata block, uncompressed
	noFragment     = 1<<32 - 1
	noXattr        = 1<<32 - 1
	noTable        = 1<<64 - 1
	dataRaw        = 1 << 24 // in a data block's size: uncompressed
	metadataRaw    = 1 << 15 // in a metadata block's size: uncompressed
	mostIDs        = 1<<16 - 1
	mostName       = 256
	mostTarget     = 4095    // of a symlink: PATH_MAX without the NUL
	mostSize       = 1 << 40 // of a file: our limit, to bound the list of its blocks
	minBlock       = 4 << 10
	maxBlock       = 1 << 20
)

// Flags of the superblock.
const (
	flagDuplicates = 0x0040
	flagExportable = 0x0080
	flagNoXattrs   = 0x0200
)

// The types of inodes. An extended type is the basic one plus extended.
const (
	typeDir = 1 + iota
	typeFile
	typeSymlink
	typeBlockDevice
	typeCharDevice
	typeFifo
	typeSocket
	extended = 7
)

// superblock is the beginning of an image, in the format's order.
type superblock struct {
	Magic       uint32
	Inodes      uint32
	ModTime     uint32
	BlockSize   uint32
	Fragments   uint32
	Compression uint16
	BlockLog    uint16
	Flags       uint16
	IDs         uint16
	Major       uint16
	Minor       uint16
	Root        uint64
	Size        uint64

	IDTable, XattrTable, InodeTable, DirTable, FragmentTable, ExportTable uint64
}

func (s *superblock) bytes() ([]byte, error) {
	return binary.Append(nil, binary.LittleEndian, s)
}

// readSuperblock reads and checks the superblock of an image of size bytes.
func readSuperblock(r io.ReaderAt, size int64) (*superblock, error) {
	raw := make([]byte, superblockSize)
	if _, err := r.ReadAt(raw, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fault.Failedf("reading the superblock: %w", err)
	}
	var s superblock
	if _, err := binary.Decode(raw, binary.LittleEndian, &s); err != nil {
		return nil, fmt.Errorf("reading the superblock: %w", err)
	}
	return &s, s.check(size)
}

func (s *superblock) check(size int64) error {
	switch {
	case s.Magic != magic:
		return errors.New("this is not a squashfs")
	case s.Major != 4 || s.Minor != 0:
		return fmt.Errorf("squashfs version %d.%d is not supported, only 4.0", s.Major, s.Minor)
	case checkBlockSize(int(s.BlockSize)) != nil || bits.TrailingZeros32(s.BlockSize) != int(s.BlockLog):
		return fmt.Errorf("the block size %d (2^%d) is invalid", s.BlockSize, s.BlockLog)
	case s.Size < superblockSize || s.Size > uint64(size):
		return fmt.Errorf("its %d bytes are cut off at %d", s.Size, size)
	case s.InodeTable >= s.DirTable || s.DirTable > s.FragmentTable || s.FragmentTable > s.Size:
		return errors.New("its tables are out of order")
	}
	return nil
}

func checkBlockSize(n int) error {
	if n < minBlock || n > maxBlock || n&(n-1) != 0 {
		return fmt.Errorf("choosing block size %d: it must be a power of two from %d to %d", n, minBlock, maxBlock)
	}
	return nil
}

// inodeRef locates an inode: the metadata block's offset in the inode table and
// the offset in that block's unpacked content.
type inodeRef uint64

func newRef(block uint64, offset int) inodeRef { return inodeRef(block<<16 | uint64(offset)) }

func (r inodeRef) block() uint64 { return uint64(r) >> 16 }
func (r inodeRef) offset() int   { return int(r & 0xffff) }

// packDevice packs a device's numbers as the kernel's new_encode_dev does: 12
// bits and 20.
func packDevice(major, minor uint32) uint32 {
	return minor&0xff | major<<8 | minor&^0xff<<12
}

func unpackDevice(dev uint32) (major, minor uint32) {
	return dev >> 8 & 0xfff, dev&0xff | dev>>12&0xfff00
}
