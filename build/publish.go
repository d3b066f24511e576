package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/build/sbom"
	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/linuxkit/size"
)

func (b *Builder) publish(ctx context.Context, p *plan, segments []*cache.File) (result *Result, err error) {
	task := progress.Start(b.Progress, 0, "publish the artifacts in %s", p.Out)
	defer func() { err = task.End(err, "") }()
	stage, err := artifact.NewStage(p.Out, p.Name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stage.Discard()) }()
	stage.Task = task
	made, err := b.write(ctx, stage, p, segments)
	if err != nil {
		return nil, err
	}
	artifacts, err := stage.Artifacts(ctx)
	if err != nil {
		return nil, err
	}
	record, err := b.record(ctx, p, made, artifacts)
	if err != nil {
		return nil, err
	}
	list := func(ctx context.Context) error { return b.listAhead(ctx, p, segments, stage.Path(""), record) }
	if p.NoSBOM {
		list = nil
	}
	published, err := b.publishStage(ctx, stage, artifact.TarballName(p.Name, p.OutputID), record, list)
	if err != nil {
		return nil, err
	}
	published.WarnReplaced(b.Progress)
	return &Result{Published: published, Size: made.report}, nil
}

// publishStage publishes the stage of a build. List, which makes the list of what is in
// the build, runs while the tarball is written; nil means that no SBOM is written.
func (b *Builder) publishStage(ctx context.Context, stage *artifact.Stage, tarball string, record artifact.Build, list func(context.Context) error) (p artifact.Published, err error) {
	if list == nil {
		return stage.Publish(ctx, tarball, record, nil)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return list(ctx) })
	g.Go(func() (err error) {
		p, err = stage.Publish(ctx, tarball, record, b.About)
		return err
	})
	return p, g.Wait()
}

// listAhead puts the list of what is in the build in dir into the cache, where About
// finds it.
func (b *Builder) listAhead(ctx context.Context, p *plan, segments []*cache.File, dir string, record artifact.Build) (err error) {
	parts := sbom.Parts{Root: p.assembly.linked}
	if p.store != nil {
		parts.Store = segments[len(segments)-1].Path()
	}
	if parts.Root == nil { // it came from the cache as an archive
		_, err = b.contents(ctx, dir, artifact.Manifest{Builds: []artifact.Build{record}})
	} else {
		err = sbom.MakeAhead(ctx, b.quietEditor(), dir, record, parts)
	}
	if fault.KindOf(err) == fault.Invalid {
		return nil // About reports it
	}
	return err
}

// contents lists what is in the builds of a directory. The cache keeps the list of each.
func (b *Builder) contents(ctx context.Context, dir string, m artifact.Manifest) (*sbom.Document, error) {
	return sbom.MakeOnce(ctx, b.quietEditor(), dir, m)
}

// quietEditor returns an Editor that reports nothing: it would name the stage's directory.
func (b *Builder) quietEditor() *remaster.Editor {
	editor := b.Editor()
	editor.Progress = nil
	return editor
}

// About returns the SBOM and the provenance of a HookOS. A build of the same directory
// that cannot be read does not keep this one from being published.
func (b *Builder) About(ctx context.Context, dir string, m artifact.Manifest) ([]artifact.Paper, error) {
	document, err := b.contents(ctx, dir, m)
	if fault.KindOf(err) == fault.Invalid {
		progress.Warnf(b.Progress, "no SBOM is written: %v", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []artifact.Paper{{Name: artifact.SBOMFile, Write: document.Write}, {Name: artifact.ProvenanceFile, Write: sbom.Prove(m).Write}}, nil
}

// made is what writing the artifacts found out about them.
type made struct {
	report *size.Report
	loader *artifact.Input // of the ISO image; nil without one
}

// write writes all artifacts that were asked for.
func (b *Builder) write(ctx context.Context, s *artifact.Stage, p *plan, segments []*cache.File) (*made, error) {
	var m made
	if p.kernel == nil {
		return &m, writeRootFS(ctx, s, p)
	}
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return writeFiles(inner, s, p, segments) })
	g.Go(func() (err error) { m.report, err = b.report(inner, p, segments); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	info, err := os.Stat(s.Path("initramfs-" + p.OutputID))
	if err != nil {
		return nil, fmt.Errorf("measuring the initramfs: %w", err)
	}
	m.report.Compressed = info.Size()
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

// writeFiles writes the files that a machine boots, under upstream's names, and
// links under the names that EKS Anywhere asks for.
func writeFiles(ctx context.Context, s *artifact.Stage, p *plan, segments []*cache.File) error {
	type file struct {
		kind string
		fill func(io.Writer) error
	}
	files := []file{
		{"vmlinuz-", func(w io.Writer) error { return initramfs.CopyContent(ctx, w, p.kernel.Kernel) }},
		{"initramfs-", func(w io.Writer) error { return concatenate(ctx, w, segments) }},
	}
	if len(p.Documents) > 0 { // a HookOS gets its command line from Tinkerbell
		files = append(files, file{artifact.CmdlinePrefix, func(w io.Writer) error {
			_, err := io.WriteString(w, p.base.document.Kernel.Cmdline)
			return err
		}})
	}
	for _, f := range files {
		if err := s.Write(f.kind+p.OutputID, f.fill); err != nil {
			return err
		}
	}
	if err := writeDTBs(ctx, s, "dtbs-"+p.OutputID, p.kernel.DTBs); err != nil {
		return err
	}
	for _, f := range files {
		if err := s.Link(f.kind+p.Flavor.Arch, f.kind+p.OutputID); err != nil {
			return err
		}
	}
	return nil
}
