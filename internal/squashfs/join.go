package squashfs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"hookbuild/internal/initramfs"
)

// Packed is the content of a file as it is in an image, cut into blocks and
// compressed.
type Packed struct {
	image *Image
	data  *fileData
	size  int64
}

// Packed returns the contents of all regular files by path, or by the first
// path of a file with several.
func (i *Image) Packed(ctx context.Context, origin string) (map[string]Packed, error) {
	t := newTreeReader(ctx, i, origin)
	t.packed = map[string]Packed{}
	return t.packed, t.readAll()
}

// Joined is an image whose contents are in other images.
type Joined struct {
	head, tail []byte
	contents   []io.ReaderAt // between superblock and inodes of the others
	sizes      []int64
}

// Join returns an image of t without compressing files again: contents maps
// each non-empty regular file to its content in another image. That image must
// have been made by [Write] with the same compression and block size, and must
// stay open as long as the result is read. Everything else comes from the tree,
// as with Write.
//
// The result includes all contents of each image that is used, and depends only
// on the tree and these images.
func Join(t *initramfs.Tree, contents map[string]Packed, o Options) (*Joined, error) {
	o, err := o.fill()
	if err != nil {
		return nil, err
	}
	comp, err := newCompressor(o.Compression, o.Level, o.BlockSize)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(t, o.ModTime)
	if err != nil {
		return nil, err
	}
	j := &joiner{options: o, end: superblockSize, moved: map[*Image]move{}}
	if err := j.placeAll(p, contents); err != nil {
		return nil, err
	}
	var tail bytes.Buffer
	w := &imageWriter{plan: p, options: o, comp: comp, out: &output{b: bufio.NewWriter(&tail), offset: int64(j.end)}}
	if j.joined.head, err = w.describe(j.fragments); err == nil {
		err = w.out.b.Flush()
	}
	j.joined.tail = tail.Bytes()
	return &j.joined, err
}

// Size returns the image's length in bytes, padded to 4 KiB.
func (j *Joined) Size() int64 {
	size := int64(len(j.head) + len(j.tail))
	for _, s := range j.sizes {
		size += s
	}
	return size
}

// Open reads the image from its beginning.
func (j *Joined) Open() (io.ReadCloser, error) {
	parts := []io.Reader{bytes.NewReader(j.head)}
	for i, r := range j.contents {
		parts = append(parts, io.NewSectionReader(r, superblockSize, j.sizes[i]))
	}
	return io.NopCloser(io.MultiReader(append(parts, bytes.NewReader(j.tail))...)), nil
}

// joiner concatenates the contents of images.
type joiner struct {
	options   Options
	joined    Joined
	end       uint64 // end of the contents so far
	moved     map[*Image]move
	fragments []*fragment
}

// move tells where an image's contents were placed.
type move struct {
	by       uint64 // added to offsets
	fragment uint32 // added to the numbers of fragments
}

func (j *joiner) placeAll(p *plan, contents map[string]Packed) error {
	for _, n := range p.inodes {
		if n.entry.Type != initramfs.Regular {
			continue
		}
		if n.entry.Size == 0 {
			n.data = newFileData(0, j.options.BlockSize)
			continue
		}
		c, ok := contents[n.entry.Path]
		if !ok || c.size != n.entry.Size {
			return describe(n.entry, fmt.Errorf("there is no packed content of its %d bytes", n.entry.Size))
		}
		var err error
		if n.data, err = j.place(c); err != nil {
			return describe(n.entry, err)
		}
	}
	return nil
}

// place returns the content's location in the result.
func (j *joiner) place(c Packed) (*fileData, error) {
	m, ok := j.moved[c.image]
	if !ok {
		var err error
		if m, err = j.take(c.image); err != nil {
			return nil, err
		}
		j.moved[c.image] = m
	}
	d := *c.data
	if d.start != 0 { // it has blocks that are not zero
		d.start += m.by
	}
	if d.fragment != noFragment {
		d.fragment += m.fragment
	}
	return &d, nil
}

// take appends an image's contents, which are between its superblock and its
// inodes.
func (j *joiner) take(i *Image) (move, error) {
	switch {
	case i.Compression() != j.options.Compression || i.BlockSize() != j.options.BlockSize:
		return move{}, fmt.Errorf("its content is packed with %s in blocks of %d bytes", i.Compression(), i.BlockSize())
	case i.super.InodeTable < superblockSize:
		return move{}, errors.New("the image with its content begins with inodes")
	}
	m := move{by: j.end - superblockSize, fragment: uint32(len(j.fragments))}
	for number := range i.super.Fragments {
		f := &fragment{}
		if err := i.lookup(i.super.FragmentTable, number, f); err != nil {
			return move{}, fmt.Errorf("reading fragment %d: %w", number, err)
		}
		f.Start += m.by
		j.fragments = append(j.fragments, f)
	}
	size := i.super.InodeTable - superblockSize
	j.joined.contents, j.joined.sizes = append(j.joined.contents, i.r), append(j.joined.sizes, int64(size))
	j.end += size
	return m, nil
}
