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
	"hookbuild/linuxkit/size"
)

// Builder holds what every build shares.
type Builder struct {
	Cache    *cache.Cache
	Client   *oci.Client
	Progress progress.Sink
	// Engine reaches the Docker Engine, where something is only there or must be
	// built; nil is none.
	Engine Engine
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
	// Size says what the initramfs weighs.
	Size *size.Report
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
	kernel   *kernel.Image
	can      embed.Capabilities
	base     *base
	assembly *assembly
	store    *store // nil when nothing is embedded
}

func (b *Builder) plan(ctx context.Context, r Request) (*plan, error) {
	p := &plan{Request: r}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.planSystem(ctx, p) })
	g.Go(func() (err error) {
		p.store, err = b.planStore(ctx, r.Embed, r.Flavor.DockerArch(), r.Layout, r.Packing)
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
	if p.Document == "" || p.Kernel != "" {
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
	if p.kernel == nil {
		if p.kernel, err = b.documentKernel(ctx, p.Request, p.assembly); err != nil {
			return err
		}
	}
	p.can, err = b.capabilities(ctx, p.kernel, need{p.Segment.Compression, p.Embed != nil, p.Packing.Compression})
	return err
}

// segments makes the archives of the initramfs in the order in which the
// kernel reads them, each compressed but for the first, the microcode, from the
// cache where they are known.
func (b *Builder) segments(ctx context.Context, p *plan) ([]*cache.File, error) {
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
			made[2], err = b.storeSegment(ctx, p.store, p.can, p.Segment)
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
	stage, err := NewStage(p.Out, p.Name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stage.Discard()) }()
	made, err := b.write(ctx, stage, p, segments)
	if err != nil {
		return nil, err
	}
	artifacts, err := stage.Artifacts(ctx)
	if err != nil {
		return nil, err
	}
	tarball := p.Name + "_" + p.OutputID + ".tar.gz"
	if err := stage.describe(ctx, tarball, b.record(p, made, artifacts)); err != nil {
		return nil, err
	}
	if err := stage.publish(tarball); err != nil {
		return nil, err
	}
	return &Result{Dir: filepath.Join(p.Out, p.Name), Tarball: filepath.Join(p.Out, tarball), Artifacts: artifacts, Size: made.report}, nil
}

// made is what is known of the artifacts when they are written.
type made struct {
	report *size.Report
	loader *FileRecord // of the ISO image; nil without one
}

// write writes all artifacts that were asked for.
func (b *Builder) write(ctx context.Context, s *Stage, p *plan, segments []*cache.File) (*made, error) {
	if err := writeFiles(ctx, s, p, segments); err != nil {
		return nil, err
	}
	var m made
	var err error
	if m.report, err = b.report(ctx, p, segments, s.path("initramfs-"+p.Flavor.Arch)); err != nil {
		return nil, err
	}
	if err := checkBudget(p, m.report); err != nil {
		return nil, err
	}
	if p.Tar {
		if err := writeRootFS(ctx, s, p); err != nil {
			return nil, err
		}
	}
	if p.ISO != nil {
		m.loader, err = b.writeISO(ctx, s, p)
	}
	return &m, err
}

// writeFiles writes what a machine boots.
func writeFiles(ctx context.Context, s *Stage, p *plan, segments []*cache.File) error {
	if err := s.Write("vmlinuz-"+p.Flavor.Arch, func(w io.Writer) error { return copyContent(w, p.kernel.Kernel) }); err != nil {
		return err
	}
	if err := s.Write("initramfs-"+p.Flavor.Arch, func(w io.Writer) error { return concatenate(ctx, w, segments) }); err != nil {
		return err
	}
	if p.Document != "" { // a HookOS is told its command line by Tinkerbell
		text := p.base.document.Kernel.Cmdline
		if err := s.Write("cmdline-"+p.Flavor.Arch, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			return err
		}
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
