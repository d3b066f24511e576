package build

import (
	"cmp"
	"context"
	"path"
	"regexp"
	"slices"
	"strings"

	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/kernel"
	kernelplan "hookbuild/kernel/plan"
	"hookbuild/kernel/source"
	"hookbuild/site/lock"
)

// addKernel adds the kernel, the image that it comes from, and what is compiled.
func (f *forecaster) addKernel(ctx context.Context, l lock.Kernel) error {
	k := ForecastKernel{From: l.From}
	if k.Version, k.VersionFrom = f.kernelVersion(); k.Version == "" {
		f.unknown("the version of the kernel, which the build reads in it")
	}
	defer func() { f.out.Kernel = k }()
	p := f.Kernel
	if p == nil {
		return nil
	}
	if l.Image != nil {
		k.Reference, k.Digest = l.Image.Reference, l.Image.Digest
	}
	for _, file := range p.Files {
		f.out.Files = append(f.out.Files, ForecastFile{web.Show(file.Name), file.Digest})
		if file.Digest == "" {
			f.unknown("the size of %s, and whether the cache has it", web.Show(file.Name))
		}
	}
	for _, d := range p.Drivers {
		if p.HasDrivers {
			break
		}
		f.out.Build = append(f.out.Build, ForecastStep{"modules from " + web.Show(d.Name), "--module-source names it"})
	}
	if b := p.Builder; b != nil {
		k.Builder = &ForecastFile{b.Name, cmp.Or(b.Digest, b.ID)}
		if k.Builder.Digest == "" {
			f.unknown("the digest of the builder image, and whether Docker has it")
		}
	}
	switch {
	case p.Artifact != nil:
		return f.add(ctx, ForecastImage{For: forKernel, Reference: k.Reference, Digest: k.Digest}, p.Artifact)
	case p.Image != nil:
		return f.addImage(ctx, forKernel, p.Image, nil)
	case p.Build != nil:
		return f.addCompiled(ctx, &k)
	}
	return nil
}

// The forms of names that have a kernel's version: the tags of kernel images and of
// Armbian's artifacts, and Debian's packages.
var (
	tagWithVersion     = regexp.MustCompile(`:(\d+\.\d+(?:\.\d+)?)-[^/]*$`)
	packageWithVersion = regexp.MustCompile(`(?:^|/)linux-image-(?:unsigned-)?(\d+\.\d+[^_/]*)_[^/]*\.deb$`)
)

// kernelVersion returns the kernel's version, as far as it is known before the kernel
// is opened, and says what it is known from.
func (f *forecaster) kernelVersion() (version, from string) {
	p := f.Kernel
	if p == nil {
		return "", ""
	}
	if p.Build != nil {
		return p.Build.Plan.Version.String(), f.releaseFrom(p.Build.Plan)
	}
	for _, file := range p.Files {
		if m := packageWithVersion.FindStringSubmatch(file.Name); m != nil {
			return m[1], "from the name of its package"
		}
	}
	reference := ""
	switch {
	case p.Image != nil:
		reference, _, _ = strings.Cut(p.Image.Source, "@")
	case p.Artifact != nil:
		reference, _, _ = strings.Cut(p.Artifact.Source, "@")
	}
	m := tagWithVersion.FindStringSubmatch(reference)
	switch {
	case m == nil || !f.ofKernels(strings.TrimSuffix(reference, m[0])):
		return "", ""
	case f.Request.Kernel == "latest" && f.Request.Locked == nil:
		return m[1], "from the tag of its image, the newest in the registry"
	}
	return m[1], "from the tag of its image"
}

// ofKernels reports whether a repository has only kernels, whose versions its tags are:
// upstream's, Armbian's and LinuxKit's have "kernel" in their name.
func (f *forecaster) ofKernels(repository string) bool {
	return repository == f.Request.KernelOptions.Plan.ImageRepository() || strings.Contains(path.Base(repository), "kernel")
}

// releaseFrom says why a release is compiled.
func (f *forecaster) releaseFrom(p *kernelplan.Plan) string {
	switch r := p.Request; {
	case f.Request.Locked != nil:
		return "pinned in " + lock.Name
	case r.Source != "":
		return "from the source that was given"
	case r.PointRelease != "":
		return "the release that was asked for"
	case p.Pinned != nil:
		return "pinned in " + kernelplan.LockFile
	}
	return "the newest of its series on kernel.org"
}

// addCompiled adds a kernel that is compiled.
func (f *forecaster) addCompiled(ctx context.Context, k *ForecastKernel) error {
	p := f.Kernel.Build
	k.Release, k.Reference = p.Plan.Version.String(), p.Plan.Reference
	k.Source = &ForecastFile{Name: web.Show(p.Archive)}
	if p.SHA256 != "" {
		k.Source.Digest = "sha256:" + p.SHA256
	}
	from, size, err := f.b.openOptions(f.Request).Shared(ctx, p.Plan)
	if err != nil {
		return err
	}
	if from != "" {
		f.out.Shared = append(f.out.Shared, ForecastShared{"kernel Linux " + k.Release, from, size})
		return nil
	}
	f.out.Build = append(f.out.Build, ForecastStep{"kernel Linux " + k.Release + " as " + k.Reference, "--kernel build asks for it"})
	f.unknown("how much of the kernel Docker's volumes hold from an earlier build")
	if f.Request.Locked == nil {
		k.Published = f.published(ctx, k.Reference)
		if k.Published == nil {
			f.unknown("whether %s exists", k.Reference)
		}
	}
	return f.addSource(p)
}

// addSource adds the archive of a kernel's source.
func (f *forecaster) addSource(p *kernel.PinnedBuild) error {
	if p.Archive != source.URL(p.Plan.Version) {
		if web.IsURL(p.Archive) {
			f.unknown("the size of %s, and whether the cache has it", web.Show(p.Archive))
		}
		return nil
	}
	size, err := source.Kept(p.Plan.Version, p.Plan.Request.Download)
	if err != nil {
		return err
	}
	if size == 0 {
		f.unknown("the size of %s, which is to be downloaded", p.Archive)
		return nil
	}
	f.out.Cached.add(oci.Part{Size: size})
	return nil
}

// published reports whether the registry or the Docker Engine has an image. It
// returns nil if neither says so.
func (f *forecaster) published(ctx context.Context, ref string) *bool {
	platform := platformOf(f.Request.Flavor.DockerArch())
	yes, no := true, false
	_, err := f.b.Client.Image(ctx, ref, platform)
	if err == nil {
		return &yes
	}
	if _, err := f.b.Client.Image(ctx, "daemon:"+ref, platform); err == nil {
		return &yes
	}
	if oci.IsMissing(err) {
		return &no
	}
	return nil
}

// guessed reports whether a digest of the kernel was left out.
func (f *forecaster) guessed() bool {
	p := f.Kernel
	return p != nil && (slices.ContainsFunc(p.Files, func(file kernel.PinnedFile) bool { return file.Digest == "" }) ||
		p.Build != nil && p.Build.SHA256 == "")
}
