package squashfs

import (
	"fmt"
	"io"

	"hookbuild/internal/fault"
)

// opener returns a function that opens a file's content.
func (i *Image) opener(d *fileData, size int64) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		return io.NopCloser(&contentReader{image: i, data: d, left: size, at: d.start}), nil
	}
}

// contentReader reads a file front to back, one block at a time.
type contentReader struct {
	image  *Image
	data   *fileData
	left   int64 // bytes not yet unpacked
	at     uint64
	index  int
	filled []byte
}

// Read implements [io.Reader].
func (c *contentReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.filled) == 0 {
		if c.left == 0 {
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, fault.Invalidf("reading block %d of a file in a squashfs: %w", c.index, err)
		}
	}
	n := copy(p, c.filled)
	c.filled = c.filled[n:]
	return n, nil
}

func (c *contentReader) next() (err error) {
	size := min(c.left, int64(c.image.super.BlockSize))
	if c.index < len(c.data.blocks) {
		packed := c.data.blocks[c.index]
		c.filled, err = c.image.dataBlock(c.at, packed, int(size))
		c.at += uint64(packed &^ dataRaw)
	} else {
		c.filled, err = c.image.fragmentPart(c.data, int(size))
	}
	if err != nil {
		return err
	}
	if int64(len(c.filled)) != size {
		return fmt.Errorf("it unpacks to %d of %d bytes", len(c.filled), size)
	}
	c.index++
	c.left -= size
	return nil
}

// dataBlock unpacks a block of at most limit bytes. A block of zeros takes no
// space in the image.
func (i *Image) dataBlock(at uint64, size uint32, limit int) ([]byte, error) {
	if size == 0 {
		return make([]byte, limit), nil
	}
	length := int(size &^ dataRaw)
	if length > int(i.super.BlockSize) {
		return nil, fmt.Errorf("its packed size is %d", length)
	}
	packed, err := i.readAt(at, length)
	if err != nil || size&dataRaw != 0 {
		return packed, err
	}
	return i.unpack.decompress(packed, limit)
}

// fragmentPart returns the size bytes of a file that are in a fragment.
func (i *Image) fragmentPart(d *fileData, size int) ([]byte, error) {
	v, err := i.fragments.get(uint64(d.fragment), func() (any, error) { return i.fragment(d.fragment) })
	if err != nil {
		return nil, fmt.Errorf("reading fragment %d: %w", d.fragment, err)
	}
	b := v.([]byte)
	if uint64(d.offset)+uint64(size) > uint64(len(b)) {
		return nil, fmt.Errorf("fragment %d has %d bytes, want %d at %d", d.fragment, len(b), size, d.offset)
	}
	return b[d.offset:][:size], nil
}

func (i *Image) fragment(number uint32) ([]byte, error) {
	if number >= i.super.Fragments {
		return nil, fmt.Errorf("the image has %d", i.super.Fragments)
	}
	var f fragment
	if err := i.lookup(i.super.FragmentTable, number, &f); err != nil {
		return nil, err
	}
	return i.dataBlock(f.Start, f.Size, int(i.super.BlockSize))
}
