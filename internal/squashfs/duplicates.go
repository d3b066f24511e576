package squashfs

import (
	"context"
	"crypto/sha256"
	"io"

	"golang.org/x/sync/errgroup"

	"hookbuild/internal/initramfs"
)

// content identifies the content of a file.
type content struct {
	size int64
	sum  [sha256.Size]byte
}

// share assigns data to every regular file and returns those whose content must
// be stored: one for each distinct content. It reads only files whose size
// occurs twice.
func (p *plan) share(ctx context.Context, o Options) ([]*node, error) {
	sums, err := p.sums(ctx, o)
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

// sums hashes the files that share their size with another.
func (p *plan) sums(ctx context.Context, o Options) (map[*node][sha256.Size]byte, error) {
	twins := p.ofOneSize()
	if o.Distinct {
		twins = nil
	}
	found, err := Sums(ctx, len(twins), func(i int) initramfs.Entry { return twins[i].entry }, o.Jobs)
	if err != nil {
		return nil, err
	}
	sums := make(map[*node][sha256.Size]byte, len(twins))
	for i, n := range twins {
		sums[n] = found[i]
	}
	return sums, nil
}

// ofOneSize returns the files that share their size with another.
func (p *plan) ofOneSize() []*node {
	count := map[int64]int{}
	for _, n := range p.inodes {
		if n.entry.Type == initramfs.Regular {
			count[n.entry.Size]++
		}
	}
	var twins []*node
	for _, n := range p.inodes {
		if n.entry.Type == initramfs.Regular && n.entry.Size > 0 && count[n.entry.Size] > 1 {
			twins = append(twins, n)
		}
	}
	return twins
}

// Sums returns the SHA-256 of the content of each of n files, reading up to
// jobs files at once.
func Sums(ctx context.Context, n int, file func(int) initramfs.Entry, jobs int) ([][sha256.Size]byte, error) {
	found := make([][sha256.Size]byte, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for i := range n {
		g.Go(func() (err error) {
			found[i], err = sumOf(ctx, file(i))
			return err
		})
	}
	return found, g.Wait()
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
