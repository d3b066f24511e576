package build

import (
	"context"
	"errors"
	"io"

	"hookbuild/build/artifact"
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
	tarball := artifact.TarballName(p.Name, p.OutputID)
	about := b.About
	if p.NoSBOM {
		about = nil
	}
	record, err := b.record(p, made, artifacts)
	if err != nil {
		return nil, err
	}
	published, err := stage.Publish(ctx, tarball, record, about)
	if err != nil {
		return nil, err
	}
	published.WarnReplaced(b.Progress)
	return &Result{Published: published, Size: made.report}, nil
}

// About returns the SBOM and the provenance of a HookOS. A build of the same directory
// that cannot be read does not keep this one from being published.
func (b *Builder) About(ctx context.Context, dir string, m artifact.Manifest) ([]artifact.Paper, error) {
	editor := b.Editor()
	editor.Progress = nil // it would name the stage's directory
	document, err := sbom.MakeOnce(ctx, editor, dir, m)
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
	if err := writeFiles(ctx, s, p, segments); err != nil {
		return nil, err
	}
	var err error
	if m.report, err = b.report(ctx, p, segments, s.Path("initramfs-"+p.OutputID)); err != nil {
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
		files = append(files, file{"cmdline-", func(w io.Writer) error {
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
