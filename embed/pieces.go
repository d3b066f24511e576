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
	"hookbuild/internal/squashfs"
)

// The versions change whenever the same layer would give other bytes.
const (
	sumsVersion  = "sums 1"
	pieceVersion = "piece 1"
)

// content identifies what a file holds.
type content struct {
	size int64
	sum  [sha256.Size]byte
}

// piece is the squashfs of those contents of a layer that no layer before it
// has. Compressing them is what packing takes its time for, so pieces are kept
// in the cache, and one more image makes no more than its own. The whole is
// joined from them.
//
// What a layer before it has is left out of a piece. Layers come in the order
// of the images, so an image that is added behind the others leaves their
// pieces as they are.
type piece struct {
	layer *layer
	files *initramfs.Tree
	// leftOut lists, by their number among the layer's, the files that are not
	// in the piece.
	leftOut strings.Builder
	// made is false when the piece was in the cache.
	made   bool
	packed map[string]squashfs.Packed
}

// place is where a content stands.
type place struct {
	piece *piece
	path  string
}

// pieces is what a store's squashfs is joined from.
type pieces struct {
	all     []*piece
	places  map[content]place
	options squashfs.Options
}

// packPieces makes the pieces of all layers, or takes them out of the cache.
func (s *store) packPieces(ctx context.Context, c *cache.Cache, o squashfs.Options) (*pieces, error) {
	if err := s.identify(ctx, c, o.Jobs); err != nil {
		return nil, err
	}
	p := &pieces{places: map[content]place{}, options: o}
	for _, l := range s.layers.all {
		if err := p.divide(l); err != nil {
			return nil, err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2) // one is kept while the next is made; each uses all processors
	for _, piece := range p.all {
		group.Go(func() error { return piece.pack(ctx, c, o) })
	}
	return p, group.Wait()
}

// identify finds out what the layers' files hold.
func (s *store) identify(ctx context.Context, c *cache.Cache, jobs int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for _, l := range s.layers.all {
		group.Go(func() (err error) {
			l.held, err = l.contents(ctx, c, jobs)
			return err
		})
	}
	return group.Wait()
}

// regular lists a layer's regular files, hard links once.
func (l *layer) regular() []initramfs.Entry {
	var files []initramfs.Entry
	for e := range l.diff.files.All() {
		if e.Type == initramfs.Regular {
			files = append(files, e)
		}
	}
	return files
}

// contents identifies what the layer's regular files hold, in their order.
func (l *layer) contents(ctx context.Context, c *cache.Cache, jobs int) (_ []content, err error) {
	files := l.regular()
	kept, _, err := c.Derived(ctx, "sums", derivedKey(sumsVersion, l.src.DiffID.String()), func(w io.Writer) error {
		sums, err := squashfs.Sums(ctx, files, jobs)
		for _, sum := range sums {
			if err == nil {
				_, err = w.Write(sum[:])
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("summing up %s: %w", l.src, err)
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	contents := make([]content, len(files))
	sums := io.NewSectionReader(kept, 0, kept.Size())
	for i, e := range files {
		contents[i].size = e.Size
		if _, err := io.ReadFull(sums, contents[i].sum[:]); err != nil {
			return nil, fmt.Errorf("reading the sums of %s: %w", l.src, err)
		}
	}
	return contents, nil
}

// divide makes the layer's piece of the contents that are new with it.
func (p *pieces) divide(l *layer) error {
	made := &piece{layer: l, files: &initramfs.Tree{}}
	for i, e := range l.regular() {
		if _, known := p.places[l.held[i]]; known || e.Size == 0 {
			fmt.Fprintf(&made.leftOut, "%d,", i)
			continue
		}
		p.places[l.held[i]] = place{made, e.Path}
		bare := initramfs.Entry{Path: e.Path, Type: initramfs.Regular, Size: e.Size, Open: e.Open, Origin: e.Origin}
		if err := made.files.Add(bare); err != nil {
			return err
		}
	}
	if made.files.Len() > 0 {
		p.all = append(p.all, made)
	}
	return nil
}

func (p *piece) pack(ctx context.Context, c *cache.Cache, o squashfs.Options) error {
	o.Distinct = true
	key := derivedKey(pieceVersion, string(o.Compression), fmt.Sprint(o.BlockSize), p.layer.src.DiffID.String(), p.leftOut.String())
	file, hit, err := c.Derived(ctx, "pieces", key, func(w io.Writer) error {
		return writeSquashfs(ctx, w, c.Dir(), p.files, o)
	})
	if err != nil {
		return fmt.Errorf("packing %s: %w", p.layer.src, err)
	}
	p.made = !hit
	image, err := squashfs.Open(file, file.Size())
	if err == nil {
		p.packed, err = image.Packed(ctx, p.layer.src.String())
	}
	return err
}

// join gives the squashfs of the tree, which has each layer's files in a
// directory of its own.
func (p *pieces) join(layers []*layer, tree *initramfs.Tree) (*squashfs.Joined, error) {
	contents := map[string]squashfs.Packed{}
	for _, l := range layers {
		for i, e := range l.regular() {
			if at, ok := p.places[l.held[i]]; ok {
				contents[path.Join(l.cacheID(), e.Path)] = at.piece.packed[at.path]
			}
		}
	}
	return squashfs.Join(tree, contents, p.options)
}

// made counts the pieces that were not in the cache.
func (p *pieces) made() int {
	n := 0
	for _, piece := range p.all {
		if piece.made {
			n++
		}
	}
	return n
}

// writeSquashfs streams a squashfs to w. The writer needs a file to go back to
// its beginning in, which is made in dir and has no name.
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
