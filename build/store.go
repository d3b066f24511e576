package build

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"hookbuild/bundles"
	"hookbuild/embed"
	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
)

// Embed says which images to carry. Its parts are united.
type Embed struct {
	// Bundle is an EKS Anywhere bundle, nil for none, and what is taken of it.
	Bundle  *bundles.Bundle
	Options bundles.Options
	// List names further images, in the form of images.txt.
	List bundles.List
}

// Images names the images to embed, without asking a registry.
func (e *Embed) Images() ([]bundles.Image, error) {
	var all []bundles.Image
	if e.Bundle != nil {
		fromBundle, err := e.Bundle.Images(e.Options)
		if err != nil {
			return nil, err
		}
		all = fromBundle
	}
	listed, err := e.List.Images()
	if err != nil {
		return nil, err
	}
	all = append(all, listed...)
	if len(all) == 0 {
		return nil, fault.Usagef("collecting the images to embed: there are none; take them from a bundle, give --images-file FILE or --image SRC=NAME")
	}
	return all, nil
}

// store is the set of embedded images, found but not yet converted.
type store struct {
	images  []bundles.Image
	items   []embed.Item // in the order of images, behind those that are kept
	arch    string
	layout  embed.Layout
	packing embed.Packing
}

func (b *Builder) planStore(ctx context.Context, e *Embed, dockerArch string, layout embed.Layout, packing embed.Packing) (*store, error) {
	if e == nil {
		return nil, nil
	}
	images, err := e.Images()
	if err != nil {
		return nil, err
	}
	items, err := b.findAll(ctx, images, dockerArch)
	return &store{images: images, items: items, arch: dockerArch, layout: layout, packing: packing}, err
}

// findAll finds the images; their layers stay where they are.
func (b *Builder) findAll(ctx context.Context, images []bundles.Image, dockerArch string) ([]embed.Item, error) {
	items := make([]embed.Item, len(images))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(b.Jobs, 4))
	for i, image := range images {
		g.Go(func() error {
			found, err := b.Client.Image(ctx, image.Reference(), platformOf(dockerArch))
			if err != nil {
				return fmt.Errorf("embedding %s: %w", image.Name, err)
			}
			items[i] = embed.Item{Image: found, Names: image.EmbedNames, Digests: pulledDigests(image, found)}
			return nil
		})
	}
	return items, g.Wait()
}

// pulledDigests are what a pull would have recorded beside a source's own name,
// where that is kept.
func pulledDigests(image bundles.Image, found *oci.Image) []string {
	if !image.KeepsSource() || found.Reference == nil {
		return nil
	}
	return []string{found.Reference.Context().Name() + "@" + found.IndexDigest.String()}
}

// storeSegment holds the segments of the store, one after the other.
func (b *Builder) storeSegment(ctx context.Context, s *store, kernel embed.Capabilities, o initramfs.SegmentOptions) (*cache.File, error) {
	key, err := b.storeKey(s, kernel, o)
	if err != nil {
		return nil, err
	}
	return b.derive(ctx, "pack the images to embed", key, func(w io.Writer) error {
		result, err := b.storeTree(ctx, s, kernel)
		if err != nil {
			return err
		}
		out := initramfs.NewFileWriter(w)
		for _, part := range result.Parts() {
			if err := b.writePart(ctx, out, part, o); err != nil {
				return err
			}
		}
		return nil
	})
}

// storeTree makes the store while its layers come in.
func (b *Builder) storeTree(ctx context.Context, s *store, kernel embed.Capabilities) (result *embed.Result, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.fetchAll(ctx, s.items) })
	g.Go(func() (err error) {
		result, err = embed.Tree(ctx, s.items, embed.Options{
			Layout: s.layout, Packing: s.packing, Arch: s.arch, Cache: b.Cache, Kernel: kernel, Jobs: b.Jobs, Progress: b.Progress,
		})
		return err
	})
	return result, g.Wait()
}

// writePart adds a part of the store as a segment of its own. Layers that other
// stores may have as well are kept, so that one more image converts only what
// is new in it; what is compressed already is not compressed again.
func (b *Builder) writePart(ctx context.Context, out *initramfs.FileWriter, part embed.Part, o initramfs.SegmentOptions) error {
	tree, err := part.Tree()
	if err != nil {
		return err
	}
	if part.Compressed {
		o.Compression = initramfs.None
	}
	o.Window = layerWindow
	if part.Compressed || part.Key == "" {
		return out.WriteSegment(ctx, tree, o)
	}
	key, err := keyOf([]any{b.Salt, part.Key, o.Compression, o.Level})
	if err != nil {
		return err
	}
	f, _, err := b.Cache.Derived(ctx, segmentsKind, key, func(w io.Writer) error {
		return initramfs.WriteSegment(ctx, w, tree, o)
	})
	if err != nil {
		return err
	}
	return errors.Join(out.Append(ctx, io.NewSectionReader(f, 0, f.Size())), f.Close())
}

// layerWindow is enough for a layer, which is one program more often than
// several, and leaves memory to those that are read meanwhile.
const layerWindow = 8 << 20

func (b *Builder) fetchAll(ctx context.Context, items []embed.Item) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(b.Jobs, 2))
	for _, item := range items {
		g.Go(func() error { return item.Image.Fetch(ctx) })
	}
	return g.Wait()
}

func (b *Builder) storeKey(s *store, kernel embed.Capabilities, o initramfs.SegmentOptions) (string, error) {
	type part struct {
		ID, Index string
		Names     []string
		Digests   []string
	}
	var parts []part
	for _, item := range s.items {
		parts = append(parts, part{item.Image.ID.String(), item.Image.IndexDigest.String(), item.Names, item.Digests})
	}
	return keyOf(struct {
		Salt, Arch, Compression string
		Level                   int
		Layout                  embed.Layout
		Packing                 embed.Packing
		Kernel                  embed.Capabilities
		Images                  []part
	}{b.Salt, s.arch, string(o.Compression), o.Level, s.layout, s.packing, kernel, parts})
}
