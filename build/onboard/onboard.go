// Package onboard embeds images in a HookOS. It finds them in their registries and
// packs them into the segment of an initramfs that holds Docker's store.
//
//	Wanted -> Set (images by digest) -> store for a kernel -> segment, cached
package onboard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"hookbuild/build/artifact"
	"hookbuild/bundles"
	"hookbuild/embed"
	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// Packer finds and packs images.
type Packer struct {
	Cache    *cache.Cache
	Client   *oci.Client
	Progress progress.Sink
	// Jobs is the number of tasks that run in parallel.
	Jobs int
	// Salt is part of every cache key, so that different versions of hookbuild do
	// not use each other's results.
	Salt string
	// Workers finds the workers that bundles do not name; nil finds none.
	Workers WorkerSource
	// Told leaves out the note on where the worker is from, which the user has seen.
	Told bool
}

// Embed says which images to embed: those of the bundle and those of the list.
type Embed struct {
	// Upstream says that the worker image of Options is upstream's of the lock, and
	// no option's.
	Upstream bool
	// Bundle is an EKS Anywhere bundle, or nil for none. Options choose its images.
	Bundle  *bundles.Bundle
	Options bundles.Options
	// WorkerFrom is a HookOS, the path or URL of its initramfs, whose worker is
	// taken in the place of the bundle's; "" for none.
	WorkerFrom string
	// List names further images, as images.txt does.
	List bundles.List
}

// images returns the images to embed, without asking a registry.
func (e *Embed) images() ([]bundles.Image, error) {
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
		return nil, fault.Usagef("collecting the images to embed: none were named; take them from a bundle, or use --images-file FILE or --image SRC=NAME")
	}
	return all, nil
}

// Wanted says which images to embed, for which machines, and how to store them.
type Wanted struct {
	Embed *Embed
	// DockerArch is amd64 or arm64.
	DockerArch string
	// Layout is the store's layout. Empty means embed's default. Packing applies
	// to the packed layout.
	Layout  embed.Layout
	Packing embed.Packing
	// Segment says how to compress the archive.
	Segment initramfs.SegmentOptions
}

// Set is a set of images to embed that were found but not converted yet.
type Set struct {
	Wanted
	// Items are the images that are kept, followed by those of Images in the same
	// order.
	Items  []embed.Item
	Images []bundles.Image
	// Worker is the worker among them; nil where the bundle's are not asked for.
	Worker *Worker
}

// Find finds the images in their registries. It downloads no layers but those of
// the worker, whose program it looks at.
func (p *Packer) Find(ctx context.Context, w Wanted) (*Set, error) {
	worker, err := p.findWorker(ctx, &w)
	if err != nil {
		return nil, err
	}
	images, err := w.Embed.images()
	if err != nil {
		return nil, err
	}
	items, err := p.findAll(ctx, images, w.DockerArch)
	if err != nil {
		return nil, err
	}
	s := &Set{Wanted: w, Images: images, Items: items, Worker: worker}
	return s, p.checkWorker(ctx, s)
}

// Survey finds the images in their registries as [Packer.Find] does, without
// layers. It leaves out a worker that would have to be looked for, and then also
// returns where.
func (p *Packer) Survey(ctx context.Context, w Wanted) (*Set, *bundles.WorkerNeed, error) {
	images, need, err := w.Embed.Listed(w.DockerArch)
	if err != nil {
		return nil, nil, err
	}
	items, err := p.findAll(ctx, images, w.DockerArch)
	return &Set{Wanted: w, Images: images, Items: items}, need, err
}

func (p *Packer) findAll(ctx context.Context, images []bundles.Image, dockerArch string) ([]embed.Item, error) {
	items := make([]embed.Item, len(images))
	lacking := make([]error, len(images)) // all of them are reported at once
	ctx, warn := p.Client.Together(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(p.Jobs, 4))
	for i, image := range images {
		g.Go(func() error {
			found, err := p.Client.Image(ctx, image.Reference(), v1.Platform{OS: "linux", Architecture: dockerArch})
			if oci.LacksPlatform(err) {
				lacking[i] = fmt.Errorf("embedding %s: %w", image.Name, err)
				return nil
			}
			if err != nil {
				return fmt.Errorf("embedding %s: %w", image.Name, err)
			}
			items[i] = embed.Item{Image: found, Names: image.EmbedNames, Digests: pulledDigests(image, found)}
			return nil
		})
	}
	err := g.Wait()
	warn()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(lacking...); err != nil {
		return nil, fault.Invalidf("%w\nreplace them by images for linux/%s with --image or --images-file, leave them out, or choose another --arch or flavor", err, dockerArch)
	}
	return items, nil
}

// pulledDigests returns the name by digest that a pull would have recorded with
// the source's own name. It returns nil if that name is not kept.
func pulledDigests(image bundles.Image, found *oci.Image) []string {
	if !image.KeepsSource() || found.Reference == nil {
		return nil
	}
	return []string{found.Reference.Context().Name() + "@" + found.IndexDigest.String()}
}

// SegmentsKind is the kind of finished archives in the cache.
const SegmentsKind = "segments"

// Pack returns the segments of the store in one file. Those in the cache are not
// made again.
func (p *Packer) Pack(ctx context.Context, s *Set, kernel embed.Capabilities) (*cache.File, error) {
	key, err := p.Key(s, kernel)
	if err != nil {
		return nil, err
	}
	return p.Derive(ctx, "pack the images to embed", key, func(w io.Writer, _ *progress.Task) error { // its parts show their own
		result, err := p.storeTree(ctx, s, kernel)
		if err != nil {
			return err
		}
		out := initramfs.NewFileWriter(w)
		for _, part := range result.Parts() {
			if err := p.writePart(ctx, out, part, s.Wanted.Segment); err != nil {
				return err
			}
		}
		return nil
	})
}

// storeTree makes the store while its layers are downloaded.
func (p *Packer) storeTree(ctx context.Context, s *Set, kernel embed.Capabilities) (result *embed.Result, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.Fetch(ctx, s) })
	g.Go(func() (err error) {
		result, err = embed.Tree(ctx, s.Items, embed.Options{
			Layout: s.Layout, Packing: s.Packing, Arch: s.DockerArch, Cache: p.Cache, Kernel: kernel, Jobs: p.Jobs, Progress: p.Progress,
		})
		return err
	})
	return result, g.Wait()
}

// writePart adds a part of the store as a separate segment. It caches the segments
// of layers, which other stores may share, so that adding an image converts only
// its new layers. Parts that are compressed already are not compressed again.
func (p *Packer) writePart(ctx context.Context, out *initramfs.FileWriter, part embed.Part, o initramfs.SegmentOptions) error {
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
	key, err := digest.Key(p.Salt, part.Key, o.Compression, o.Level)
	if err != nil {
		return err
	}
	f, _, err := p.Cache.Derived(ctx, SegmentsKind, key, func(w io.Writer) error {
		return initramfs.WriteSegment(ctx, w, tree, o)
	})
	if err != nil {
		return err
	}
	return errors.Join(out.Append(ctx, io.NewSectionReader(f, 0, f.Size())), f.Close())
}

// layerWindow is the window for compressing a layer. A layer is often a single
// program, and a small window leaves memory for the layers that are read meanwhile.
const layerWindow = 4 << 20

// Fetch fetches the images' layers into the cache.
func (p *Packer) Fetch(ctx context.Context, s *Set) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(p.Jobs, 2))
	for _, item := range s.Items {
		g.Go(func() error { return item.Image.Fetch(ctx) })
	}
	return g.Wait()
}

// Key returns the cache's key for the segment of the set for a kernel.
func (p *Packer) Key(s *Set, kernel embed.Capabilities) (string, error) {
	o := s.Wanted.Segment
	var images []embed.Inputs
	for _, item := range s.Items {
		images = append(images, item.Inputs())
	}
	return digest.Key(struct {
		Salt, Arch, Compression string
		Level                   int
		Layout                  embed.Layout
		Packing                 embed.Packing
		Kernel                  embed.Capabilities
		Images                  []embed.Inputs
	}{p.Salt, s.DockerArch, string(o.Compression), o.Level, s.Layout, s.Packing, kernel, images})
}

// Derive returns the cached archive for key. If the cache does not have it, it caches
// what fill writes. What is the task that is shown, which fill gets to count bytes.
func (p *Packer) Derive(ctx context.Context, what, key string, fill func(io.Writer, *progress.Task) error) (*cache.File, error) {
	task := progress.Start(p.Progress, 0, "%s", what)
	f, from, err := p.Cache.Derived(ctx, SegmentsKind, key, func(w io.Writer) error { return fill(w, task) })
	if err != nil {
		return nil, task.End(err, "")
	}
	state := "made"
	switch from {
	case cache.Kept:
		state = "nothing changed"
	case cache.Shared:
		state = "from the shared cache"
	}
	return f, task.End(nil, state)
}

// Records returns the manifest's entries for the images.
func (s *Set) Records() []artifact.OnBoard {
	kept := len(s.Items) - len(s.Images)
	var all []artifact.OnBoard
	for i, item := range s.Items {
		r := artifact.OnBoard{Source: "base", ID: item.Image.ID.String(), Names: item.Names}
		if i >= kept {
			r.Source = SourceName(s.Images[i-kept].Source)
			if s.Worker != nil && s.Worker.HookOS != "" && s.Images[i-kept].IsWorker() {
				r.Source = s.Worker.HookOS
			}
		}
		if item.Image.Reference != nil {
			r.Digest = item.Image.IndexDigest.String()
			if item.Image.Digest != item.Image.IndexDigest {
				r.Manifest = item.Image.Digest.String()
			}
		}
		if item.Image.Asked.Hex != "" {
			r.Asked = item.Image.Asked.String()
		}
		all = append(all, r)
	}
	return all
}

// BundleRecord returns the manifest's entry for the bundle, or nil without one.
func (s *Set) BundleRecord() *artifact.Bundle {
	if s.Embed.Bundle == nil {
		return nil
	}
	b := s.Embed.Bundle
	location := b.Origin
	if !web.IsURL(location) {
		location = filepath.Base(location)
	}
	return &artifact.Bundle{Number: b.Number(), Release: b.Release(), Location: location, Digest: b.SHA256, Signature: string(b.Signature())}
}

// SourceName returns a source without directories of this machine: "deb:x.deb" for
// "deb:/tmp/x.deb".
func SourceName(source string) string {
	scheme, path, ok := strings.Cut(source, ":")
	if !ok || !slices.Contains([]string{"deb", "dir", "oci", "oci-archive", "docker-archive"}, scheme) || strings.Contains(path, "://") {
		return source
	}
	return scheme + ":" + filepath.Base(path)
}
