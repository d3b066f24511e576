package build

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/build/onboard"
	"hookbuild/internal/digest"
	"hookbuild/site/lock"
)

func (b *Builder) record(ctx context.Context, p *plan, made *made, artifacts []artifact.File) (artifact.Build, error) {
	r := artifact.Build{
		ID: p.OutputID, Arch: p.Flavor.Arch, Flavor: p.Flavor.ID, Hookbuild: b.Version, Artifacts: artifacts,
		Template: &artifact.Input{Name: p.templateName(), Digest: digest.OfBytes(p.base.text)}, Loader: made.loader, Size: made.report,
		Options: map[string]string{
			"compression": string(p.Segment.Compression), "level": fmt.Sprint(p.Segment.Level),
			"hookVersion": p.HookVersion, "outputID": p.OutputID,
		},
	}
	for _, d := range p.base.overlays {
		r.Overlays = append(r.Overlays, artifact.Input{Name: filepath.Base(d.Name), Digest: digest.OfBytes(d.Text)})
	}
	if p.Site != nil {
		r.Site = p.Site.Settings()
	}
	if p.kernel != nil {
		r.Kernel = &artifact.Kernel{Source: onboard.SourceName(p.kernel.Source), Release: p.kernel.Release, Digest: p.kernel.Digest}
		var err error
		if r.Kernel.Options, err = onboard.RecordOptions(ctx, p.kernel); err != nil {
			return r, err
		}
	}
	for _, ref := range p.base.references() {
		img := p.base.images[ref]
		recorded := artifact.Image{Reference: ref, Digest: img.Identity().String()}
		if img.IndexDigest != img.Digest {
			recorded.Index = img.IndexDigest.String()
		}
		r.Images = append(r.Images, recorded)
	}
	if p.Locked != nil {
		recordLocked(&r, *p.Locked)
		if p.Site != nil {
			r.Unlocked = p.Site.Secrets()
		}
	}
	if p.Locked != nil && len(r.Unlocked) == 0 {
		tag, err := p.Locked.Tag(b.Version)
		if err != nil {
			return r, err
		}
		r.LockTag = tag
	}
	if p.store != nil {
		r.Options["layout"] = string(p.store.Layout)
		r.Options["packCompression"], r.Options["packBlock"] = string(p.Packing.Compression), fmt.Sprint(p.Packing.BlockSize)
		r.Embedded = p.store.Records()
		r.Bundle, r.Worker = p.store.BundleRecord(), p.store.WorkerRecord()
	}
	return r, nil
}

// recordLocked adds what only the lock knows: the template before its variables are
// expanded, the files that were read, and what a kernel was compiled from.
func recordLocked(r *artifact.Build, l lock.Build) {
	r.Template.Digest = l.Template.SHA256
	for _, f := range l.Files {
		r.Files = append(r.Files, recordInput(&f))
	}
	k := l.Kernel
	if r.Kernel == nil {
		return
	}
	if k.Builder != nil {
		r.Kernel.Builder = &artifact.Input{Name: k.Builder.Name, Digest: cmp.Or(k.Builder.Digest, k.Builder.ID)}
	}
	if k.From != lock.FromSource {
		return
	}
	source, config := recordInput(k.Source), recordInput(k.Config)
	r.Kernel.Archive, r.Kernel.Config = &source, &config
}

// recordInput returns an input without the directories of this machine.
func recordInput(in *lock.Input) artifact.Input {
	name := in.Name
	if filepath.IsAbs(name) {
		name = filepath.Base(name)
	}
	return artifact.Input{Name: name, Digest: in.SHA256}
}

// templateName returns the name of the template, or those of the documents, that
// the root file system was built from.
func (r Request) templateName() string {
	if len(r.Documents) > 0 {
		var names []string
		for _, d := range r.Documents {
			names = append(names, filepath.Base(d.Name))
		}
		return strings.Join(names, " ")
	}
	return r.Template
}
