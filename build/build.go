// Package build turns a flavor, a Hook checkout and a bundle into the artifacts
// that a machine boots. It joins the packages that do the work and makes no
// decision that belongs to one of them.
//
//	template + container images -> linuxkit  -> base segment  --+
//	kernel image or package     -> kernel    --^                +-> initramfs, vmlinuz, ...
//	bundle, images              -> embed     -> store segment --+
package build

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"hookbuild/build/artifact"
	"hookbuild/build/onboard"
	"hookbuild/build/remaster"
	"hookbuild/embed"
	"hookbuild/internal/cache"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/kernel"
	"hookbuild/linuxkit/iso"
	"hookbuild/linuxkit/size"
	"hookbuild/site/lock"
)

// Builder holds what all builds share.
type Builder struct {
	Cache    *cache.Cache
	Client   *oci.Client
	Progress progress.Sink
	// Web fetches files. Nil means a client with the default limits.
	Web *web.Client
	// Engine connects to the Docker Engine, for images that only it has and
	// images to build. Nil means no Docker Engine.
	Engine Engine
	// Jobs is the number of tasks that run in parallel.
	Jobs int
	// Offline forbids network access.
	Offline bool
	// Kit reports that a kit replaces registries and servers.
	Kit bool
	// Version is the program's version, which manifest.json records.
	Version string
	// Salt is part of every cache key, so that different versions of hookbuild do
	// not use each other's results.
	Salt string

	// survey makes Resolve build nothing and fetch no file larger than a
	// manifest.
	survey bool
	// told is set once the images to embed were found for the first of two times.
	told bool
}

// Result is what a build published.
type Result struct {
	artifact.Published
	// Size reports what makes up the size of the initramfs. It is nil if only a
	// root file system was built.
	Size *size.Report
}

// HookOS builds what r asks for and publishes it.
func (b *Builder) HookOS(ctx context.Context, r Request) (result *Result, err error) {
	if err := r.fillDefaults(); err != nil {
		return nil, err
	}
	if r.Locked != nil {
		if b, r, err = b.locked(ctx, r); err != nil {
			return nil, err
		}
	}
	p, err := b.plan(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p.kernel != nil {
			err = errors.Join(err, p.kernel.Close())
		}
	}()
	key, err := b.resultKey(ctx, p)
	if err != nil {
		return nil, err
	}
	if result, err = b.unchanged(p, key); result != nil || err != nil {
		return result, err
	}
	segments, err := b.segments(ctx, p)
	if err != nil {
		return nil, err
	}
	defer closeAll(segments)
	if result, err = b.publish(ctx, p, segments); err != nil {
		return nil, err
	}
	return result, b.remember(p, result.Published, key)
}

// plan is a request with everything that it names resolved. A build from a plan
// depends on no tag and not on the time.
type plan struct {
	Request
	kernel   *kernel.Image
	can      embed.Capabilities
	base     *base
	assembly *assembly
	store    *onboard.Set // nil if nothing is embedded

	loader     iso.Content // the boot loader of the ISO image, if there is one
	loaderName string

	// template is the template before its variables are expanded, or the documents.
	// files are the other files that were read, without overlays and boot loader.
	template lock.Input
	files    []lock.Input
}

func (b *Builder) plan(ctx context.Context, r Request) (*plan, error) {
	p := &plan{Request: r}
	if r.ISO != nil { // before anything is compiled or downloaded
		loader, name, err := b.isoLoader(ctx, r)
		if err != nil {
			return nil, err
		}
		p.loader, p.loaderName = loader, name
	}
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return b.planSystem(inner, p) })
	g.Go(func() (err error) {
		if r.Embed == nil {
			return nil
		}
		if p.store, err = b.packer().Find(inner, r.wantedImages()); err != nil {
			return err
		}
		var images []*oci.Image
		for _, item := range p.store.Items {
			images = append(images, item.Image)
		}
		return b.fetchAhead(inner, images)
	})
	err := g.Wait()
	if err == nil {
		err = p.hashFiles(ctx)
	}
	if err != nil && p.kernel != nil {
		err = errors.Join(err, p.kernel.Close())
	}
	return p, err
}

// hashFiles hashes the files that the plan is made of.
func (p *plan) hashFiles(ctx context.Context) (err error) {
	if p.template, err = p.templateDigest(); err != nil {
		return err
	}
	if p.files, err = p.readInputs(ctx, p.base); err != nil {
		return err
	}
	p.files = append(p.files, p.Inputs...)
	if p.kernel != nil {
		p.files = append(p.files, addedFiles(p.kernel.Added)...)
	}
	return nil
}

// planSystem resolves the kernel and the parts of the root file system.
func (b *Builder) planSystem(ctx context.Context, p *plan) (err error) {
	var own map[string]*oci.Image
	g, inner := errgroup.WithContext(ctx)
	if len(p.Documents) == 0 || p.Kernel != "" {
		g.Go(func() (err error) { p.kernel, err = b.kernel(inner, p.Request); return err })
	}
	g.Go(func() error { own = b.ownImages(inner, p.Request); return nil })
	if err := g.Wait(); err != nil {
		return err
	}
	if p.base, err = b.planBase(ctx, p.Request, p.kernel, own); err != nil {
		return err
	}
	if p.assembly, err = b.newAssembly(ctx, p.base); err != nil {
		return err
	}
	if p.kernel == nil && p.rootFSOnly() {
		return nil
	}
	if p.kernel == nil {
		if p.kernel, err = b.documentKernel(ctx, p.Request, p.assembly); err != nil {
			return err
		}
	}
	p.can, err = onboard.Capabilities(ctx, p.kernel, onboard.Need{Initramfs: p.Segment.Compression, Store: p.Embed != nil, Layers: p.Packing.Compression}, b.Progress)
	return err
}

// rootFSOnly reports whether only the root file system is asked for: the tar
// archive of a document without a kernel.
func (p *plan) rootFSOnly() bool {
	return p.base.document.Kernel.Image == "" && p.Kernel == "" && p.Tar && p.ISO == nil && p.Embed == nil
}

// segments returns the archives of the initramfs in the order in which the
// kernel reads them: the microcode, which is not compressed and may be nil, the
// root file system and the embedded images. Those in the cache are not made
// again.
func (b *Builder) segments(ctx context.Context, p *plan) ([]*cache.File, error) {
	if p.kernel == nil {
		return nil, nil
	}
	made := make([]*cache.File, 3)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if made[0], err = p.assembly.microcode(ctx); err != nil {
			return err
		}
		made[1], err = p.assembly.segment(ctx, p.Segment)
		return err
	})
	if p.store != nil {
		g.Go(func() (err error) {
			made[2], err = b.packer().Pack(ctx, p.store, p.can)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		closeAll(made)
		return nil, err
	}
	return made, nil
}

func closeAll(files []*cache.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // only read
		}
	}
}

// packer returns the Packer of embedded images.
func (b *Builder) packer() *onboard.Packer {
	p := &onboard.Packer{Cache: b.Cache, Client: b.Client, Progress: b.Progress, Jobs: b.Jobs, Salt: b.Salt, Told: b.told}
	p.Workers = remaster.Workers{Editor: b.editor(p)}
	return p
}

// Editor returns an Editor of existing HookOS.
func (b *Builder) Editor() *remaster.Editor { return b.editor(b.packer()) }

func (b *Builder) editor(p *onboard.Packer) *remaster.Editor {
	return &remaster.Editor{Packer: p, Offline: b.Offline, Version: b.Version, Web: b.Web}
}
