package squashfs

import (
	"context"
	"crypto/sha256"
	"io"

	"golang.org/x/sync/errgroup"

	"hookbuild/internal/initramfs"
)

// content identifies what a file holds.
type content struct {
	size int64
	sum  [sha256.Size]byte
}

// share gives every regular file its data and returns those whose content has
// to be stored: one of each content. Only files of a size that occurs twice are
// read for that.
func (p *plan) share(ctx context.Context, o Options) ([]*node, error) {
	bySize := map[int64][]*node{}
	for _, n := range p.inodes {
		if n.entry.Type == initramfs.Regular {
			bySize[n.entry.Size] = append(bySize[n.entry.Size], n)
		}
	}
	sums, err := p.sums(ctx, o, bySize)
	if err != nil {
		return nil, err
	}
	var stored []*node
	first := map[content]*fileData{}
	for _, n := range p.inodes {
		if n.entry.Type != initramfs.Regular {
			continue
		}
		sum, twin := sums[n]
		id := content{n.entry.Size, sum}
		if n.data = first[id]; twin && n.data != nil {
			continue
		}
		n.data = newFileData(n.entry.Size, o.BlockSize)
		stored = append(stored, n)
		if twin {
			first[id] = n.data
		}
	}
	return stored, nil
}

// sums reads the files that are not alone with their size.
func (p *plan) sums(ctx context.Context, o Options, bySize map[int64][]*node) (map[*node][sha256.Size]byte, error) {
	var twins []*node
	for _, n := range p.inodes {
		if n.entry.Type == initramfs.Regular && n.entry.Size > 0 && len(bySize[n.entry.Size]) > 1 {
			twins = append(twins, n)
		}
	}
	found := make([][sha256.Size]byte, len(twins))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Jobs)
	for i, n := range twins {
		g.Go(func() (err error) {
			found[i], err = sumOf(gctx, n.entry)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	sums := make(map[*node][sha256.Size]byte, len(twins))
	for i, n := range twins {
		sums[n] = found[i]
	}
	return sums, nil
}

func sumOf(ctx context.Context, e initramfs.Entry) (sum [sha256.Size]byte, err error) {
	if err := ctx.Err(); err != nil {
		return sum, err
	}
	r, err := openContent(e)
	if err != nil {
		return sum, describe(e, err)
	}
	h := sha256.New()
	_, err = io.CopyN(h, r, e.Size)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return sum, describe(e, err)
	}
	h.Sum(sum[:0])
	return sum, nil
}
