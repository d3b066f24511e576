package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"hookbuild/internal/fault"
)

// Image is a squashfs open for reading. It is safe for concurrent use.
type Image struct {
	r         io.ReaderAt
	super     *superblock
	unpack    decompressor
	metadata  *cache // by offset in the image
	fragments *cache // by number
}

// The number of unpacked blocks that an image caches: metadata blocks of 8 KiB,
// and fragments of up to 1 MiB.
const (
	cachedMetadata  = 512
	cachedFragments = 8
)

// Open reads the superblock of an image of size bytes. R must stay open as long
// as the image, its trees and their contents are used.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	s, err := readSuperblock(r, size)
	if err == nil {
		i := &Image{r: r, super: s, metadata: newCache(cachedMetadata), fragments: newCache(cachedFragments)}
		if i.unpack, err = newDecompressor(s.Compression); err == nil {
			return i, nil
		}
	}
	return nil, fault.Invalidf("opening a squashfs: %w", err)
}

// Compression returns the compression of the image's blocks.
func (i *Image) Compression() Compression { return compressions()[i.super.Compression] }

// BlockSize returns the size of the image's blocks, uncompressed, in bytes.
func (i *Image) BlockSize() int { return int(i.super.BlockSize) }

// Size returns the image's length in bytes, without the padding at its end.
func (i *Image) Size() int64 { return int64(i.super.Size) }

// readAt reads n bytes of the image.
func (i *Image) readAt(at uint64, n int) ([]byte, error) {
	if at > i.super.Size || uint64(n) > i.super.Size-at {
		return nil, fmt.Errorf("%d bytes at %d are outside its %d", n, at, i.super.Size)
	}
	b := make([]byte, n)
	if got, err := i.r.ReadAt(b, int64(at)); got < n {
		// The image is not at fault; this mark overrides others.
		return nil, fault.Mark(err, fault.Failed)
	}
	return b, nil
}

// metadataBlock is an unpacked metadata block and the position of the next one.
type metadataBlock struct {
	content []byte
	next    uint64
}

func (i *Image) metadataBlock(at uint64) (metadataBlock, error) {
	v, err := i.metadata.get(at, func() (any, error) { return i.readMetadata(at) })
	if err != nil {
		return metadataBlock{}, fmt.Errorf("reading the metadata block at %d: %w", at, err)
	}
	return v.(metadataBlock), nil
}

func (i *Image) readMetadata(at uint64) (metadataBlock, error) {
	head, err := i.readAt(at, 2)
	if err != nil {
		return metadataBlock{}, err
	}
	header := binary.LittleEndian.Uint16(head)
	size := int(header &^ metadataRaw)
	if size == 0 || size > metadataSize {
		return metadataBlock{}, fmt.Errorf("its size is %d", size)
	}
	packed, err := i.readAt(at+2, size)
	if err != nil {
		return metadataBlock{}, err
	}
	b := metadataBlock{packed, at + 2 + uint64(size)}
	if header&metadataRaw == 0 {
		b.content, err = i.unpack.decompress(packed, metadataSize)
	}
	return b, err
}

// cursor reads metadata front to back.
type cursor struct {
	image  *Image
	block  uint64 // position in the image
	offset int    // position in the unpacked block
}

// at returns the cursor for a reference into the table that begins at table.
func (i *Image) at(table uint64, ref inodeRef) *cursor {
	return &cursor{i, table + ref.block(), ref.offset()}
}

// Read implements [io.Reader].
func (c *cursor) Read(p []byte) (int, error) {
	b, err := c.image.metadataBlock(c.block)
	if err != nil {
		return 0, err
	}
	if c.offset >= metadataSize && len(b.content) == metadataSize {
		c.block, c.offset = b.next, c.offset-metadataSize
		return c.Read(p)
	}
	if c.offset >= len(b.content) {
		return 0, fmt.Errorf("offset %d is beyond the metadata block at %d", c.offset, c.block)
	}
	n := copy(p, b.content[c.offset:])
	c.offset += n
	return n, nil
}

// bytes reads n bytes. The caller limits n.
func (c *cursor) bytes(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	return b, err
}

// decode reads a value of fixed size.
func (c *cursor) decode(v any) error {
	return binary.Read(c, binary.LittleEndian, v)
}

func decode(raw []byte, v any) error {
	_, err := binary.Decode(raw, binary.LittleEndian, v)
	return err
}

// lookup reads entry number n of a table written by [table] into v. The size of
// an entry divides that of a metadata block.
func (i *Image) lookup(index uint64, n uint32, v any) error {
	if index == noTable {
		return errors.New("the image has no such table")
	}
	perBlock := uint32(metadataSize / binary.Size(v))
	raw, err := i.readAt(index+8*uint64(n/perBlock), 8)
	if err != nil {
		return err
	}
	c := &cursor{i, binary.LittleEndian.Uint64(raw), int(n%perBlock) * binary.Size(v)}
	return c.decode(v)
}
