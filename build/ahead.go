package build

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"hookbuild/internal/digest"
	"hookbuild/internal/oci"
)

// ownImages finds the published images of the checkout's containers that the template
// uses, and fetches their layers. Their references do not depend on the kernel, which is
// read meanwhile. planBase looks again for what is not found here, and reports it.
func (b *Builder) ownImages(ctx context.Context, r Request) map[string]*oci.Image {
	if len(r.Documents) > 0 {
		return nil
	}
	p, own, err := r.readBase(ctx, nil)
	if err != nil {
		return nil
	}
	f := b.finder(r, own)
	refs := slices.DeleteFunc(p.references(), func(ref string) bool { _, is := f.own[ref]; return !is })
	images, _, err := f.askRegistries(ctx, refs)
	if err == nil {
		_ = b.fetchAhead(ctx, slices.Collect(maps.Values(images))) // assembling reports it
	}
	return images
}

// aheadKind is the cache's name for notes of images whose layers were fetched ahead.
const aheadKind = "ahead"

// fetchAhead fetches the layers of images that are used later. It does nothing for
// images that were fetched before, with a shared cache, or offline: there may be
// results that were made of them, and then the layers are not needed.
func (b *Builder) fetchAhead(ctx context.Context, images []*oci.Image) error {
	if b.Cache.HasRemote() || b.Offline {
		return nil
	}
	var ids []string
	for _, i := range images {
		ids = append(ids, i.ID.String())
	}
	slices.Sort(ids)
	key := digest.OfStrings(ids...)
	if _, err := b.Cache.Note(aheadKind, key); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(max(b.Jobs, 2))
	for _, i := range images {
		g.Go(func() error { return i.Fetch(inner) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return b.Cache.SetNote(aheadKind, key, "fetched")
}
