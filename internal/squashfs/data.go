package squashfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"hookbuild/internal/initramfs"
)

// fileData locates a file's content. Files of equal content share one.
type fileData struct {
	start    uint64
	blocks   []uint32 // packed sizes; 0 means a block of zeros
	fragment uint32
	offset   uint32 // within the fragment
	sparse   uint64 // bytes in blocks of zeros
}

// newFileData allocates the block list of a file. A file shorter than a block
// has no blocks: it becomes part of a fragment.
func newFileData(size int64, blockSize int) *fileData {
	d := &fileData{fragment: noFragment}
	if size >= int64(blockSize) {
		d.blocks = make([]uint32, (size+int64(blockSize)-1)/int64(blockSize))
	}
	return d
}

// fragment is a block shared by the contents of several short files.
type fragment struct {
	Start  uint64
	Size   uint32
	Unused uint32
}

// block is a piece of content in transit: filled by the reader, compressed by
// any of the packers, placed by the writer in the order of filling.
type block struct {
	content []byte
	packed  []byte
	size    uint32 // in the format's encoding
	ready   chan struct{}
	place   func(start uint64, size uint32)
}

// packer copies the contents of files into the image: one goroutine reads and
// cuts them into blocks, several compress, one writes.
type packer struct {
	options   Options
	out       *output
	free      chan *block // bounds the memory; nil stands for one not yet allocated
	toPack    chan *block
	toWrite   chan *block
	shared    *block // the fragment being filled
	fragments []*fragment
}

func newPacker(o Options, out *output) *packer {
	blocks := 2*o.Jobs + 4
	p := &packer{
		options: o, out: out,
		free: make(chan *block, blocks), toPack: make(chan *block, blocks), toWrite: make(chan *block, blocks),
	}
	for range blocks {
		p.free <- nil
	}
	return p
}

// pack stores the contents of all files.
func (p *packer) pack(ctx context.Context, files []*node) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(p.toPack)
		defer close(p.toWrite)
		return p.readAll(ctx, files)
	})
	for range p.options.Jobs {
		g.Go(func() error { return p.compressAll(ctx) })
	}
	g.Go(func() error { return p.writeAll(ctx) })
	return g.Wait()
}

func (p *packer) readAll(ctx context.Context, files []*node) error {
	for _, n := range files {
		if err := p.readFile(ctx, n); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return describe(n.entry, err)
		}
	}
	return p.endFragment(ctx)
}

func (p *packer) readFile(ctx context.Context, n *node) (err error) {
	r, err := openContent(n.entry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if n.entry.Size < int64(p.options.BlockSize) {
		return p.readFragment(ctx, r, n)
	}
	for i := range n.data.blocks {
		if err := p.readBlock(ctx, r, n, i); err != nil {
			return err
		}
	}
	return atEnd(r, n.entry.Size)
}

// readBlock reads and sends the next block of a long file.
func (p *packer) readBlock(ctx context.Context, r io.Reader, n *node, index int) error {
	size := min(n.entry.Size-int64(index)*int64(p.options.BlockSize), int64(p.options.BlockSize))
	b, err := p.take(ctx)
	if err != nil {
		return err
	}
	b.content = b.content[:size]
	if err := readFull(r, b.content); err != nil {
		return err
	}
	if isZero(b.content) {
		n.data.sparse += uint64(size)
		p.free <- b
		return nil
	}
	data := n.data
	b.place = func(start uint64, size uint32) {
		if data.start == 0 {
			data.start = start
		}
		data.blocks[index] = size
	}
	return p.send(ctx, b)
}

// readFragment appends a short file to the fragment being filled.
func (p *packer) readFragment(ctx context.Context, r io.Reader, n *node) error {
	size := int(n.entry.Size)
	if size == 0 {
		return atEnd(r, 0)
	}
	if p.shared != nil && len(p.shared.content)+size > p.options.BlockSize {
		if err := p.endFragment(ctx); err != nil {
			return err
		}
	}
	if p.shared == nil {
		b, err := p.take(ctx)
		if err != nil {
			return err
		}
		p.shared = b
	}
	at := len(p.shared.content)
	p.shared.content = p.shared.content[:at+size]
	if err := readFull(r, p.shared.content[at:]); err != nil {
		return err
	}
	n.data.fragment, n.data.offset = uint32(len(p.fragments)), uint32(at)
	return atEnd(r, n.entry.Size)
}

func (p *packer) endFragment(ctx context.Context) error {
	if p.shared == nil {
		return nil
	}
	f := &fragment{}
	p.fragments = append(p.fragments, f)
	b := p.shared
	p.shared = nil
	b.place = func(start uint64, size uint32) { f.Start, f.Size = start, size }
	return p.send(ctx, b)
}

// take returns an empty block.
func (p *packer) take(ctx context.Context) (*block, error) {
	select {
	case b := <-p.free:
		if b == nil {
			b = &block{content: make([]byte, 0, p.options.BlockSize), packed: make([]byte, 0, p.options.BlockSize+p.options.BlockSize/8)}
		}
		b.content, b.packed, b.ready = b.content[:0], b.packed[:0], make(chan struct{})
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send hands a filled block to the packers and the writer. Both channels have
// room for every block that exists.
func (p *packer) send(ctx context.Context, b *block) error {
	p.toWrite <- b
	p.toPack <- b
	return ctx.Err()
}

func (p *packer) compressAll(ctx context.Context) error {
	var comp compressor // created for the first block: most layers are small
	for b := range p.toPack {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if comp == nil {
			var err error
			if comp, err = newCompressor(p.options.Compression, p.options.Level, p.options.BlockSize); err != nil {
				return err
			}
		}
		if err := b.compress(ctx, comp); err != nil {
			return fmt.Errorf("compressing a block: %w", err)
		}
		close(b.ready)
	}
	return nil
}

func (b *block) compress(ctx context.Context, comp compressor) error {
	packed, err := comp.compress(ctx, b.packed, b.content)
	if err != nil {
		return err
	}
	b.packed, b.size = packed, uint32(len(packed))
	if len(packed) >= len(b.content) {
		b.packed, b.size = append(b.packed[:0], b.content...), uint32(len(b.content))|dataRaw
	}
	return nil
}

func (p *packer) writeAll(ctx context.Context) error {
	for b := range p.toWrite {
		select {
		case <-b.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		start := p.out.offset
		if err := p.out.write(b.packed); err != nil {
			return err
		}
		b.place(uint64(start), b.size)
		p.free <- b
	}
	return nil
}

// openContent opens a file; one without content is empty.
func openContent(e initramfs.Entry) (io.ReadCloser, error) {
	if e.Open == nil {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	r, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("opening its content: %w", err)
	}
	return r, nil
}

func readFull(r io.Reader, b []byte) error {
	if n, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("its content ends %d bytes early: %w", len(b)-n, err)
	}
	return nil
}

// atEnd checks that a file is not longer than stated.
func atEnd(r io.Reader, size int64) error {
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("its content is longer than its %d bytes", size)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("reading its content: %w", err)
	}
	return nil
}

// isZero reports whether all of b is 0: its first byte is, and the rest equals
// b shifted by one.
func isZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
