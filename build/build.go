// Package build is the pipeline: from a flavor, a Hook checkout and a bundle to
// the artifacts that a machine boots. It is the one room that knows the others;
// it makes no decision that belongs to another package.
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
	"hookbuild/linuxkit/size"
)

// Builder holds what every build shares.
type Builder struct {
	Cache    *cache.Cache
	Client   *oci.Client
	Progress progress.Sink
	// Web fetches files; nil is a client with the default limits.
	Web *web.Client
	// Engine reaches the Docker Engine, where something is only there or must be
	// built; nil means that there is none.
	Engine Engine
	// Jobs is how much is done at once.
	Jobs int
	// Offline forbids what would ask another machine.
	Offline bool
	// Kit says that a kit answers in the place of registries and servers.
	Kit bool
	// Version is the program's; manifest.json tells it.
	Version string
	// Salt is part of the key of everything that is kept between runs, so that
	// one hookbuild does not take another's results.
	Salt string
}

// Result is what a build published.
type Result struct {
	artifact.Published
	// Size says what the initramfs weighs.
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
	segments, err := b.segments(ctx, p)
	if err != nil {
		return nil, err
	}
	defer closeAll(segments)
	return b.publish(ctx, p, segments)
}

// plan is a request with everything found that it names: from here on nothing
// depends on a tag or on the time any more.
type plan struct {
	Request
	kernel   *kernel.Image
	can      embed.Capabilities
	base     *base
	assembly *assembly
	store    *onboard.Set // nil when nothing is embedded
}

func (b *Builder) plan(ctx context.Context, r Request) (*plan, error) {
	p := &plan{Request: r}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.planSystem(ctx, p) })
	g.Go(func() (err error) {
		if r.Embed != nil {
			p.store, err = b.packer().Find(ctx, r.wantedImages())
		}
		return err
	})
	err := g.Wait()
	if err != nil && p.kernel != nil {
		err = errors.Join(err, p.kernel.Close())
	}
	return p, err
}

// planSystem finds the kernel and what the root file system is made of.
func (b *Builder) planSystem(ctx context.Context, p *plan) (err error) {
	if len(p.Documents) == 0 || p.Kernel != "" {
		if p.kernel, err = b.kernel(ctx, p.Request); err != nil {
			return err
		}
	}
	if p.base, err = b.planBase(ctx, p.Request, p.kernel); err != nil {
		return err
	}
	if p.assembly, err = b.newAssembly(p.base); err != nil {
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

// rootFSOnly reports whether the root file system is asked for alone: a
// document without a kernel and its tar archive.
func (p *plan) rootFSOnly() bool {
	return p.base.document.Kernel.Image == "" && p.Kernel == "" && p.Tar && p.ISO == nil && p.Embed == nil
}

// segments makes the archives of the initramfs in the order in which the
// kernel reads them, each compressed but for the first, the microcode, from the
// cache where they are known.
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

// packer returns what packs images.
func (b *Builder) packer() *onboard.Packer {
	return &onboard.Packer{Cache: b.Cache, Client: b.Client, Progress: b.Progress, Jobs: b.Jobs, Salt: b.Salt}
}

// Editor returns what works on an existing HookOS.
func (b *Builder) Editor() *remaster.Editor {
	return &remaster.Editor{Packer: b.packer(), Offline: b.Offline, Version: b.Version, Web: b.Web}
}
