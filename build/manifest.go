package build

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/build/onboard"
	"hookbuild/site/lock"
)

func (b *Builder) record(ctx context.Context, p *plan, made *made, artifacts []artifact.File) (artifact.Build, error) {
	r := artifact.Build{
		ID: p.OutputID, Arch: p.Flavor.Arch, Flavor: p.Flavor.ID, Hookbuild: b.Version, Artifacts: artifacts,
		Template: &artifact.Input{Name: p.templateName(), Digest: p.template.SHA256}, Files: p.recordFiles(), Loader: made.loader, Size: made.report,
		Options: map[string]string{
			"compression": string(p.Segment.Compression), "level": fmt.Sprint(p.Segment.Level),
			"hookVersion": p.HookVersion, "outputID": p.OutputID,
		},
	}
	for _, in := range p.overlayDigests() {
		r.Overlays = append(r.Overlays, artifact.Input{Name: filepath.Base(in.Name), Digest: in.SHA256})
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
		p.recordLocked(&r, p.Locked.Kernel)
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

// recordLocked adds what only the lock knows: what a kernel was compiled from. Without
// a lock, a compiled kernel may come from a cache, and its source is not asked for.
func (p *plan) recordLocked(r *artifact.Build, k lock.Kernel) {
	if r.Kernel == nil {
		return
	}
	if k.Builder != nil {
		r.Kernel.Builder = &artifact.Input{Name: k.Builder.Name, Digest: cmp.Or(k.Builder.Digest, k.Builder.ID)}
	}
	if k.From != lock.FromSource {
		return
	}
	source, config := p.recordInput(*k.Source), p.recordInput(*k.Config)
	r.Kernel.Archive, r.Kernel.Config = &source, &config
}

// recordFiles returns the plan's files, sorted.
func (p *plan) recordFiles() []artifact.Input {
	var all []artifact.Input
	for _, f := range p.files {
		all = append(all, p.recordInput(f))
	}
	slices.SortFunc(all, func(a, b artifact.Input) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Digest, b.Digest))
	})
	return slices.Compact(all)
}

// recordInput returns an input without the directories of this machine: of a file that
// an option names only the base name, so that the record is the same with and without a
// lock, and wherever that is.
func (p *plan) recordInput(in lock.Input) artifact.Input {
	file, more, _ := strings.Cut(in.Name, ",name=") // of a module source
	locked, ofOption := p.Names[file]
	switch {
	case ofOption:
		file = filepath.Base(locked)
	case filepath.IsAbs(file) || slices.Contains(slices.Collect(maps.Values(p.Names)), file):
		file = filepath.Base(file)
	}
	if more != "" {
		file += ",name=" + more
	}
	return artifact.Input{Name: file, Digest: in.SHA256}
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
