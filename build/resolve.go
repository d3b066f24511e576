package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"hookbuild/build/onboard"
	"hookbuild/bundles"
	"hookbuild/internal/digest"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/kernel"
	"hookbuild/site/lock"
)

// Resolved is a request with everything found that goes into its HookOS, by
// digest. Of images only manifests and configurations were fetched, and nothing
// was compiled.
type Resolved struct {
	Request Request
	// Kernel is nil if the document's own image is the kernel.
	Kernel *kernel.Pinned
	// Images are those of the root file system, by long reference, without
	// the kernel's.
	Images map[string]*oci.Image
	// Embedded is nil if no image is embedded.
	Embedded *onboard.Set

	template lock.Input
	files    []lock.Input
	layouts  map[string]*oci.Index
	loader   *oci.Image // of an ISO image, if it is in an image
	base     *base

	// unbuilt are the checkout's containers that a survey found nowhere, worker
	// says where it would look for the worker.
	unbuilt []unbuilt
	worker  *bundles.WorkerNeed
}

// Resolve finds everything that r is made of. A kernel that is compiled needs a
// Docker Engine, whose builder image is part of the result.
func (b *Builder) Resolve(ctx context.Context, r Request) (_ *Resolved, err error) {
	if err := r.fillDefaults(); err != nil {
		return nil, err
	}
	task := progress.Start(b.Progress, 0, "resolve what goes into %s", r.Flavor.ID)
	found := &Resolved{Request: r}
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return b.resolveSystem(inner, found) })
	g.Go(func() (err error) {
		switch {
		case r.Embed == nil:
		case b.survey:
			found.Embedded, found.worker, err = b.packer().Survey(inner, r.wantedImages())
		default:
			found.Embedded, err = b.packer().Find(inner, r.wantedImages())
		}
		return err
	})
	g.Go(func() error { return b.resolveLoader(inner, found) })
	if err := g.Wait(); err != nil {
		return nil, task.End(err, "")
	}
	found.files = append(found.files, r.Inputs...)
	return found, task.End(nil, "")
}

func (r Request) wantedImages() onboard.Wanted {
	// The root file system is compressed at the same time: one goroutine here is
	// enough, and each takes memory.
	segment := r.Segment
	segment.Jobs = 1
	return onboard.Wanted{Embed: r.Embed, DockerArch: r.Flavor.DockerArch(), Layout: r.Layout, Packing: r.Packing, Segment: segment}
}

// resolveSystem finds the kernel and what the root file system is made of.
func (b *Builder) resolveSystem(ctx context.Context, found *Resolved) (err error) {
	r := found.Request
	var stand *kernel.Image
	if len(r.Documents) == 0 || r.Kernel != "" {
		if found.Kernel, err = kernel.Pin(ctx, r.Kernel, b.openOptions(r)); err != nil {
			return err
		}
		stand = standIn(found.Kernel, r)
	}
	base, err := b.planBase(ctx, r, stand, nil)
	if err != nil {
		return err
	}
	found.base = base
	found.Images, found.layouts, found.unbuilt = base.images, base.layouts, base.unbuilt
	inputs, err := r.readInputs(ctx, base)
	if err != nil {
		return err
	}
	found.files = slices.Concat(found.files, inputs, r.overlayDigests())
	found.template, err = r.templateDigest()
	return err
}

// readInputs hashes the files that the template or the documents, the site and the
// options of the kernel name.
func (r Request) readInputs(ctx context.Context, p *base) (all []lock.Input, err error) {
	for _, more := range []func(context.Context) ([]lock.Input, error){p.sourceInputs, r.siteDigests, r.fragmentDigests} {
		inputs, err := more(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, inputs...)
	}
	return all, nil
}

// addedFiles returns what is added to a kernel, without a firmware image.
func addedFiles(a kernel.Additions) (all []lock.Input) {
	for _, file := range a.Drivers {
		if web.IsURL(file.Name) {
			file.Name = driverPrefix + file.Name
		}
		all = append(all, lock.Input{Name: file.Name, SHA256: file.Digest})
	}
	for _, file := range a.Patches {
		all = append(all, lock.Input{Name: file.Name, SHA256: file.Digest})
	}
	if f := a.Firmware; f != nil && f.Image == nil {
		all = append(all, lock.Input{Name: f.Dir.Name, SHA256: f.Dir.Digest})
	}
	return all
}

// standIn returns what the template's variables need of a kernel that is not
// opened. The release of packages or a directory is not known; a document that names
// it has only its form checked.
func standIn(p *kernel.Pinned, r Request) *kernel.Image {
	k := &kernel.Image{Arch: r.Flavor.Arch, Release: "0"}
	switch {
	case p.Image != nil:
		k.Source, k.Digest = "image:"+p.Image.Source, p.Image.Identity().String()
	case p.Artifact != nil:
		k.Source = "armbian:" + p.Artifact.Source
	case p.Build != nil:
		k.Source, k.Release = "build:"+p.Build.Plan.Reference, p.Build.Plan.Version.String()
	}
	return k
}

// templateDigest hashes the template before its variables are expanded, or the
// documents.
func (r Request) templateDigest() (lock.Input, error) {
	if len(r.Documents) == 0 {
		path, content, err := r.Workspace.template(r.Template)
		return lock.Input{Name: filepath.ToSlash(path), SHA256: digest.OfBytes(content)}, err
	}
	var all []string
	for _, d := range r.Documents {
		all = append(all, digest.OfBytes(d.Text))
	}
	if len(all) == 1 {
		return lock.Input{Name: r.templateName(), SHA256: all[0]}, nil
	}
	return lock.Input{Name: r.templateName(), SHA256: "sha256:" + digest.OfStrings(all...)}, nil
}

// siteDigests returns the hashes of the site's settings and files.
func (r Request) siteDigests(context.Context) ([]lock.Input, error) {
	if r.Site == nil {
		return nil, nil
	}
	files, err := r.Site.Files()
	var all []lock.Input
	for _, f := range files {
		all = append(all, lock.Input{Name: f.Name, SHA256: f.Digest})
	}
	return all, err
}

// fragmentDigests hashes the kernel options of files, the flavor's and the
// request's. It leaves out pipes, which the kernel's plan has read: they can be read
// only once.
func (r Request) fragmentDigests(ctx context.Context) ([]lock.Input, error) {
	p := r.KernelOptions.Plan
	if r.Kernel != kernelBuild {
		return nil, nil
	}
	var all []lock.Input
	add := func(name, file string) error {
		sum, err := digest.OfFile(ctx, file)
		if err != nil {
			return fmt.Errorf("reading the kernel options: %w", err)
		}
		all = append(all, lock.Input{Name: name, SHA256: sum})
		return nil
	}
	for _, name := range p.Flavor.Fragments {
		if err := add(name, filepath.Join(p.HookDir, filepath.FromSlash(name))); err != nil {
			return nil, err
		}
	}
	for _, name := range p.Fragments {
		if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err := add(name, name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// kernelBuild is the reference of a kernel that is compiled.
const kernelBuild = "build"

// resolveLoader finds the boot loader of an ISO image.
func (b *Builder) resolveLoader(ctx context.Context, found *Resolved) (err error) {
	r := found.Request
	if r.ISO == nil {
		return nil
	}
	if name := r.ISO.Loader; name != "" {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			found.loader, err = b.loaderImage(ctx, r)
			return err
		}
	}
	content, name, err := b.isoLoader(ctx, r)
	if err != nil {
		return err
	}
	sum, err := digestOfContent(ctx, content)
	found.files = append(found.files, lock.Input{Name: path.Base(name), SHA256: sum})
	return err
}

// Lock returns what was found in the form of a lock, without the command's
// options.
func (f *Resolved) Lock() lock.Build {
	l := f.lock()
	l.Files, l.Kernel.Files = f.Request.renamed(l.Files), f.Request.renamed(l.Kernel.Files)
	if l.Bundle != nil {
		l.Bundle.Location = f.Request.lockName(l.Bundle.Location)
	}
	if l.Kernel.Source != nil {
		l.Kernel.Source.Name = f.Request.lockName(l.Kernel.Source.Name)
	}
	return l
}

func (f *Resolved) lock() lock.Build {
	r := f.Request
	l := lock.Build{Flavor: r.Flavor.ID, Arch: r.Flavor.DockerArch(), Template: f.template, Files: f.files, Kernel: f.lockKernel()}
	for ref, img := range f.Images {
		l.Images = append(l.Images, lockImage(ref, img))
	}
	for key, layout := range f.layouts {
		ref, _, _ := strings.Cut(key, " ")
		l.Images = append(l.Images, lock.Image{Reference: ref, Digest: layout.Digest.String()})
	}
	if f.loader != nil {
		l.Images = append(l.Images, lockImage(r.ISO.Loader, f.loader))
	}
	if p := f.Kernel; p != nil {
		l.Files = append(l.Files, addedFiles(p.Additions)...)
		if p.Firmware != nil && p.Firmware.Image != nil {
			l.Images = append(l.Images, lockImage(p.Firmware.Image.Source, p.Firmware.Image))
		}
	}
	if f.Embedded == nil {
		return l
	}
	if bundle := r.Embed.Bundle; bundle != nil {
		l.Bundle = &lock.Bundle{Number: bundle.Number(), Release: bundle.Release(), Location: bundle.Origin, SHA256: bundle.SHA256}
	}
	if w := f.Embedded.Worker; w != nil && w.HookOS != "" {
		l.Worker = &lock.Input{Name: w.HookOS, SHA256: w.HookOSDigest}
	}
	for i, item := range f.Embedded.Items {
		image := f.Embedded.Images[i]
		locked := lockImage(image.Source, item.Image)
		locked.As = image.EmbedNames
		l.Embedded = append(l.Embedded, locked)
	}
	return l
}

// driverPrefix begins the names of module sources at URLs, whose digest is that of
// all their files and not of the archive.
const driverPrefix = "module source "

// lockImage returns the image under the name by which it was asked for.
func lockImage(ref string, img *oci.Image) lock.Image {
	l := lock.Image{Reference: onboard.SourceName(ref), Size: img.PullSize()}
	if img.IndexDigest == (v1.Hash{}) {
		l.ID = img.ID.String()
		return l
	}
	l.Digest = img.IndexDigest.String()
	if img.Digest != img.IndexDigest {
		l.Manifest = img.Digest.String()
	}
	return l
}

func (f *Resolved) lockKernel() lock.Kernel {
	k := f.lockKernelSource()
	if f.Kernel != nil && f.Kernel.Builder != nil {
		b := f.Kernel.Builder
		k.Builder = &lock.Builder{Name: b.Name, Digest: b.Digest, ID: b.ID}
	}
	return k
}

func (f *Resolved) lockKernelSource() lock.Kernel {
	p := f.Kernel
	switch {
	case p == nil:
		return lock.Kernel{From: lock.FromDocument}
	case p.Image != nil:
		img := lockImage(strings.TrimPrefix(p.Image.Source, "daemon:"), p.Image)
		return lock.Kernel{From: lock.FromImage, Image: &img}
	case p.Artifact != nil:
		img := lock.Image{Reference: p.Artifact.Source, Digest: p.Artifact.Digest.String()}
		for _, file := range p.Artifact.Files {
			img.Size += file.Size
		}
		return lock.Kernel{From: lock.FromArmbian, Image: &img}
	case p.Build != nil:
		return f.lockBuild()
	}
	k := lock.Kernel{From: lock.FromPackages}
	if p.IsDir {
		k.From = lock.FromDirectory
	}
	for _, file := range p.Files {
		k.Files = append(k.Files, lock.Input{Name: web.Show(file.Name), SHA256: file.Digest})
	}
	return k
}

func (f *Resolved) lockBuild() lock.Kernel {
	p := f.Kernel.Build
	return lock.Kernel{
		From: lock.FromSource, Release: p.Plan.Version.String(),
		Source: &lock.Input{Name: web.Show(p.Archive), SHA256: "sha256:" + p.SHA256},
		Config: &lock.Input{Name: p.Plan.Request.Flavor.ConfigPath(), SHA256: digest.OfBytes(p.Plan.Defconfig)},
	}
}

// Why says what is known of a change beside the digests: when an image was made,
// and that a tag now leads elsewhere.
func (f *Resolved) Why(c lock.Change) string {
	if c.Name == lock.NameKernel && f.Kernel != nil && f.Kernel.Image != nil {
		return madeOn(f.Kernel.Image)
	}
	for ref, img := range f.Images {
		if ref == c.What || strings.HasPrefix(c.Is, ref+" ") {
			return madeOn(img)
		}
	}
	if f.Embedded == nil {
		return ""
	}
	for i, item := range f.Embedded.Items {
		ref := f.Embedded.Images[i].Source
		if ref == c.What || strings.HasPrefix(c.Is, ref+" ") {
			return strings.Join(slices.DeleteFunc([]string{f.namedBy(f.Embedded.Images[i]), madeOn(item.Image)}, func(s string) bool { return s == "" }), ", ")
		}
	}
	return ""
}

// namedBy returns which bundle names an image, in words; "" for other images.
func (f *Resolved) namedBy(image bundles.Image) string {
	if b := f.Request.Embed.Bundle; b != nil && image.Digest != "" && (strings.HasPrefix(image.Key, "actions.") || image.IsWorker()) {
		return "named by " + b.String()
	}
	return ""
}

// madeOn returns when an image was made, if it says so.
func madeOn(img *oci.Image) string {
	if img.Config == nil || img.Config.Created.Unix() <= 0 {
		return ""
	}
	return "made " + img.Config.Created.UTC().Format("2006-01-02")
}
