// Package build is the pipeline: from a flavor, a Hook checkout and a bundle to
// the artifacts that a machine boots. It is the one room that knows the others;
// it decides nothing that a room can decide.
//
//	template + container images -> linuxkit  -> base segment  --+
//	kernel image or package     -> kernel    --^                +-> initramfs, vmlinuz, ...
//	bundle, images              -> embed     -> store segment --+
package build

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"hookbuild/embed"
	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/kernel"
)

// Builder holds what every build shares.
type Builder struct {
	Cache    *cache.Cache
	Client   *oci.Client
	Progress progress.Sink
	// Jobs is how much is done at once.
	Jobs int
	// Offline forbids what would ask another machine.
	Offline bool
	// Version is the program's; manifest.json tells it.
	Version string
	// Salt is part of the key of everything that is kept between runs, so that
	// one hookbuild does not take another's results.
	Salt string
}

// Result is what a build published.
type Result struct {
	// Dir holds the artifacts: OUT/hook.
	Dir string
	// Tarball holds the same in one file.
	Tarball   string
	Artifacts []Artifact
}

// HookOS builds what r asks for and publishes it.
func (b *Builder) HookOS(ctx context.Context, r Request) (result *Result, err error) {
	if err := r.fillDefaults(); err != nil {
		return nil, err
	}
	p, err := b.plan(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.kernel.Close()) }()
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
	kernel *kernel.Image
	can    embed.Capabilities
	base   *base
	store  *store // nil when nothing is embedded
}

func (b *Builder) plan(ctx context.Context, r Request) (*plan, error) {
	p := &plan{Request: r}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if p.kernel, err = b.kernel(ctx, r); err != nil {
			return err
		}
		if p.can, err = b.capabilities(ctx, p.kernel, r.Segment.Compression); err != nil {
			return err
		}
		p.base, err = b.planBase(ctx, r, p.kernel)
		return err
	})
	g.Go(func() (err error) {
		p.store, err = b.planStore(ctx, r.Embed, r.Flavor.DockerArch(), r.Layout)
		return err
	})
	err := g.Wait()
	if err != nil && p.kernel != nil {
		err = errors.Join(err, p.kernel.Close())
	}
	return p, err
}

// segments makes the archives of the initramfs in the order in which the
// kernel reads them, each compressed, from the cache where they are known.
func (b *Builder) segments(ctx context.Context, p *plan) ([]*cache.File, error) {
	made := make([]*cache.File, 2)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		made[0], err = b.baseSegment(ctx, p.base, p.Segment)
		return err
	})
	if p.store != nil {
		g.Go(func() (err error) {
			made[1], err = b.storeSegment(ctx, p.store, p.can, p.Segment)
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

func (b *Builder) publish(ctx context.Context, p *plan, segments []*cache.File) (result *Result, err error) {
	task := progress.Start(b.Progress, 0, "publish the artifacts in %s", p.Out)
	defer func() { err = task.End(err, "") }()
	stage, err := NewStage(p.Out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stage.Discard()) }()
	if err := writeFiles(ctx, stage, p, segments); err != nil {
		return nil, err
	}
	artifacts, err := stage.Artifacts(ctx)
	if err != nil {
		return nil, err
	}
	tarball := "hook_" + p.OutputID + ".tar.gz"
	if err := stage.describe(ctx, tarball, b.record(p, artifacts)); err != nil {
		return nil, err
	}
	if err := stage.publish(tarball); err != nil {
		return nil, err
	}
	return &Result{Dir: filepath.Join(p.Out, artifactsDir), Tarball: filepath.Join(p.Out, tarball), Artifacts: artifacts}, nil
}

// writeFiles writes what a machine boots.
func writeFiles(ctx context.Context, s *Stage, p *plan, segments []*cache.File) error {
	if err := s.Write("vmlinuz-"+p.Flavor.Arch, func(w io.Writer) error { return copyContent(w, p.kernel.Kernel) }); err != nil {
		return err
	}
	if err := s.Write("initramfs-"+p.Flavor.Arch, func(w io.Writer) error { return concatenate(ctx, w, segments) }); err != nil {
		return err
	}
	return writeDTBs(s, "dtbs-"+p.OutputID, p.kernel.DTBs)
}

func copyContent(w io.Writer, e initramfs.Entry) error {
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}
