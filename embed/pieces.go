package embed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/squashfs"
)

// pieceVersion changes whenever the same layer would produce different output
// for another reason than its compressor.
const pieceVersion = "piece 3"

// piece is the squashfs of those contents of a layer that no earlier layer has.
// Compressing them takes most of the time of packing, so pieces are cached, and
// one more image adds only its own. The whole is joined from them.
//
// Layers come in the order of the images, so an image that is added after the
// others leaves their pieces unchanged.
type piece struct {
	layer *layer
	files *initramfs.Tree
	// leftOut lists, by their number within the layer, the files that are not
	// in the piece.
	leftOut strings.Builder
	// task counts the bytes of the files.
	task *progress.Task
	size int64
	// made is false if the piece was in the cache.
	made   bool
	packed map[string]squashfs.Packed
}

// content is the content of a regular file of a layer.
type content struct {
	layer *layer
	path  string
	size  int64
	piece *piece // the piece with the content
	// sum is set for contents that share their size with another.
	sum *[sha256.Size]byte
}

func (c *content) file() initramfs.Entry {
	e, _ := c.layer.diff.files.Lookup(c.path)
	return e
}

// identity distinguishes contents of one size.
type identity struct {
	size int64
	sum  [sha256.Size]byte
}

// pieces are the parts from which a store's squashfs is joined.
type pieces struct {
	all     []*piece
	options squashfs.Options
	task    *progress.Task
	total   int64 // bytes of the pieces so far
	// alone holds the contents with a unique size, nil for a size that several
	// have; those are in summed.
	alone  map[int64]*content
	summed map[identity]*content
}

// packPieces reads the layers and makes their pieces, or takes them from the
// cache. A layer is packed while later ones are still being fetched.
func (s *store) packPieces(ctx context.Context, c *cache.Cache, o squashfs.Options, task *progress.Task) (*pieces, error) {
	p := &pieces{options: o, task: task, alone: map[int64]*content{}, summed: map[identity]*content{}}
	group, ctx := errgroup.WithContext(ctx)
	packers := make(chan struct{}, 2) // one is stored while the next is made; each uses all processors
	group.Go(func() error {
		err := s.read(ctx, c, o.Jobs, func(l *layer) error {
			piece, err := p.divide(ctx, l)
			if piece == nil || err != nil {
				return err
			}
			select {
			case packers <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			group.Go(func() error {
				defer func() { <-packers }()
				return piece.pack(ctx, c, o)
			})
			return nil
		})
		p.task.Expect(p.total) // not before, because a total that grows would turn progress back
		return err
	})
	return p, group.Wait()
}

// contents returns the contents of a layer's regular files, counting hard links
// once.
func (l *layer) contents() []*content {
	var all []*content
	for e := range l.diff.files.All() {
		if e.Type == initramfs.Regular {
			all = append(all, &content{layer: l, path: e.Path, size: e.Size})
		}
	}
	return all
}

// divide makes the layer's piece of the contents that are new in it, or nil if
// none are.
func (p *pieces) divide(ctx context.Context, l *layer) (*piece, error) {
	l.held = l.contents()
	if err := p.sumUp(ctx, l.held); err != nil {
		return nil, fmt.Errorf("hashing the contents of %s: %w", l.src, err)
	}
	made := &piece{layer: l, files: &initramfs.Tree{}, task: p.task}
	for i, c := range l.held {
		if l.held[i] = p.first(c); l.held[i] != c || c.size == 0 {
			fmt.Fprintf(&made.leftOut, "%d,", i)
			continue
		}
		c.piece = made
		e := c.file()
		if err := made.files.Add(initramfs.Entry{Path: e.Path, Type: initramfs.Regular, Size: e.Size, Open: made.counting(e.Open), Origin: e.Origin}); err != nil {
			return nil, err
		}
		made.size += e.Size
	}
	if made.files.Len() == 0 {
		return nil, nil
	}
	p.all = append(p.all, made)
	p.total += made.size
	return made, nil
}

// counting returns open with what is read counted as the task's progress.
func (p *piece) counting(open func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		f, err := open()
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{p.task.Reader(f), f}, nil
	}
}

// sumUp hashes the contents that share their size with another, of these or of
// an earlier layer.
func (p *pieces) sumUp(ctx context.Context, held []*content) error {
	var twins []*content
	for _, c := range held {
		other, met := p.alone[c.size]
		switch {
		case c.size == 0:
			continue
		case !met:
			p.alone[c.size] = c
			continue
		case other != nil:
			twins = append(twins, other)
			p.alone[c.size] = nil
		}
		twins = append(twins, c)
	}
	sums, err := squashfs.Sums(ctx, len(twins), func(i int) initramfs.Entry { return twins[i].file() }, p.options.Jobs)
	if err != nil {
		return err
	}
	for i, c := range twins {
		c.sum = &sums[i]
		p.first(c)
	}
	return nil
}

// first returns the earlier content that equals c, or else c.
func (p *pieces) first(c *content) *content {
	if c.sum == nil {
		return c
	}
	id := identity{c.size, *c.sum}
	if p.summed[id] == nil {
		p.summed[id] = c
	}
	return p.summed[id]
}

func (p *piece) pack(ctx context.Context, c *cache.Cache, o squashfs.Options) error {
	o.Distinct = true
	key := derivedKey(pieceVersion, string(o.Compression), o.Compression.Codec(), fmt.Sprint(o.BlockSize), p.layer.src.DiffID.String(), p.leftOut.String())
	file, from, err := c.Derived(ctx, "pieces", key, func(w io.Writer) error {
		return writeSquashfs(ctx, w, c.Dir(), p.files, o)
	})
	if err != nil {
		return fmt.Errorf("packing %s: %w", p.layer.src, err)
	}
	p.made, p.files = from == cache.Made, nil // they take memory
	if from != cache.Made {
		p.task.Add(p.size)
	}
	image, err := squashfs.Open(file, file.Size())
	if err == nil {
		p.packed, err = image.Packed(ctx, p.layer.src.String())
	}
	return err
}

// join returns the squashfs of the tree, in which each layer's files are in a
// separate directory.
func (p *pieces) join(layers []*layer, tree *initramfs.Tree) (*squashfs.Joined, error) {
	contents := map[string]squashfs.Packed{}
	for _, l := range layers {
		for i, c := range l.contents() {
			if at := l.held[i]; at.piece != nil {
				contents[path.Join(l.cacheID(), c.path)] = at.piece.packed[at.path]
			}
		}
	}
	return squashfs.Join(tree, contents, p.options)
}

// made returns the number of pieces that were not in the cache.
func (p *pieces) made() int {
	n := 0
	for _, piece := range p.all {
		if piece.made {
			n++
		}
	}
	return n
}

// writeSquashfs streams a squashfs to w. The writer needs a file in which it
// can go back to the beginning; the file is unnamed, in dir.
func writeSquashfs(ctx context.Context, w io.Writer, dir string, tree *initramfs.Tree, o squashfs.Options) (err error) {
	f, err := os.CreateTemp(dir, ".tmp-squashfs-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	stats, err := squashfs.Write(ctx, f, tree, o)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(f, 0, stats.Size))
	return err
}
