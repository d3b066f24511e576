package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/kernel/container"
	kernelplan "hookbuild/kernel/plan"
	"hookbuild/kernel/source"
	"hookbuild/site/kit"
	"hookbuild/site/lock"
)

// Gathered is what a kit holds of locked builds.
type Gathered struct {
	kit.Plan
	// LeftOut names the inputs that the kit does not hold on purpose.
	LeftOut []string
	// NotHere names the inputs that only the network has, for a Builder that is
	// offline.
	NotHere []string
}

// notHere takes an error about an input that the cache lacks, for a Builder that is
// offline, so that all of them can be named at once.
func (b *Builder) notHere(g *Gathered, name string, err error) error {
	if !b.Offline || fault.KindOf(err) != fault.Outside {
		return err
	}
	if !slices.Contains(g.NotHere, name) {
		g.NotHere = append(g.NotHere, name)
	}
	return nil
}

// Gather finds the inputs of a locked build for a kit, each by its digest, and
// adds them. Layers are not fetched; files and images of a Docker Engine are.
// The kernel's source is verified as r says.
func (b *Builder) Gather(ctx context.Context, g *Gathered, l lock.Build, r kernelplan.Request) (err error) {
	task := progress.Start(b.Progress, 0, "gather what goes into %s", l.Flavor)
	defer func() { err = task.End(err, "") }()
	for _, image := range l.AllImages() {
		if err := b.gatherImage(ctx, g, image, l.Arch); err != nil {
			return err
		}
	}
	if p := l.Kernel.Builder; p != nil {
		if err := b.gatherImage(ctx, g, lock.Image{Reference: p.Name, Digest: p.Digest, ID: p.ID}, ""); err != nil {
			return err
		}
	}
	files := downloads(l)
	if l.Kernel.Source != nil {
		fromKernelOrg, err := b.gatherRelease(ctx, g, l.Kernel, r)
		if err != nil {
			return err
		}
		if !fromKernelOrg {
			files = append(files, *l.Kernel.Source)
		}
	}
	for _, f := range files {
		if url := driverURL(f); url != "" {
			if err := b.gatherDriver(ctx, g, url); err != nil {
				return err
			}
			continue
		}
		if !web.IsURL(f.Name) {
			continue // the Builder's caller adds files of this machine
		}
		if err := b.gatherFile(ctx, g, f); err != nil {
			return err
		}
	}
	return nil
}

// gatherImage adds an image. One that has no manifest is of the Docker Engine,
// under its reference or ID.
func (b *Builder) gatherImage(ctx context.Context, g *Gathered, image lock.Image, arch string) error {
	if oci.IsLocal(image.Reference) {
		return nil // an input of its own, or taken out of a HookOS that is one
	}
	copied, err := b.copyImage(ctx, image, arch)
	if err != nil {
		return b.notHere(g, image.Reference, fmt.Errorf("gathering the image %q: %w", image.Reference, err))
	}
	g.Images = append(g.Images, kit.Image{Reference: image.Reference, Root: copied.Root})
	for _, blob := range copied.Blobs {
		if b.Offline && blob.Remote && (g.Since == nil || !g.Since.Has(blob.Digest)) && !slices.Contains(g.NotHere, image.Reference) {
			g.NotHere = append(g.NotHere, image.Reference)
		}
		g.Blobs = append(g.Blobs, kit.Blob{Digest: blob.Digest, Size: blob.Size, For: image.Reference, Open: blob.Open})
	}
	return nil
}

func (b *Builder) copyImage(ctx context.Context, image lock.Image, arch string) (*oci.Copy, error) {
	if image.Digest != "" {
		var only v1.Hash
		if image.Manifest != "" {
			var err error
			if only, err = v1.NewHash(image.Manifest); err != nil {
				return nil, fault.Mark(err, fault.Invalid)
			}
		}
		return b.Client.Copy(ctx, image.Reference+"@"+image.Digest, only)
	}
	local, err := b.Client.Image(ctx, "daemon:"+image.ID, platformOf(arch))
	if err != nil {
		return nil, err
	}
	if got := local.ID.String(); got != image.ID {
		return nil, fault.Invalidf("the Docker Engine's image has the ID %s and the lock says %s; lock it again with `hookbuild lock --update`", got, image.ID)
	}
	return local.CopyLocal(ctx)
}

// gatherRelease adds a release of kernel.org with its signatures. It reports
// false if the source is another.
func (b *Builder) gatherRelease(ctx context.Context, g *Gathered, k lock.Kernel, r kernelplan.Request) (bool, error) {
	v, err := source.ParseVersion(k.Release)
	if err != nil || k.Source.Name != source.URL(v) {
		return false, err
	}
	r.Download.SHA256 = strings.TrimPrefix(k.Source.SHA256, "sha256:")
	files, err := r.Files(ctx, v)
	if err != nil {
		return true, b.notHere(g, k.Source.Name, err)
	}
	for _, f := range files {
		open := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Content)), nil }
		size, sum := int64(len(f.Content)), digest.OfBytes(f.Content)
		if f.Path != "" {
			info, err := os.Stat(f.Path)
			if err != nil {
				return true, err
			}
			size, sum = info.Size(), k.Source.SHA256
			open = func(context.Context) (io.ReadCloser, error) { return os.Open(f.Path) }
		}
		if err := g.addFile(f.URL, sum, size, open); err != nil {
			return true, err
		}
	}
	return true, nil
}

// gatherFile adds a file at a URL, which is fetched into the cache.
func (b *Builder) gatherFile(ctx context.Context, g *Gathered, f lock.Input) error {
	opened := func(ctx context.Context) (fetch.File, error) {
		return fetch.Open(ctx, f.Name+"#"+strings.Replace(f.SHA256, ":", "=", 1), fetch.Options{Cache: b.Cache, Web: b.Web, Offline: b.Offline, Progress: b.Progress})
	}
	file, err := opened(ctx)
	if err != nil {
		return b.notHere(g, web.Show(f.Name), fmt.Errorf("gathering %q: %w", f.Name, err))
	}
	size := file.Size()
	if err := file.Close(); err != nil {
		return err
	}
	return g.addFile(f.Name, f.SHA256, size, func(ctx context.Context) (io.ReadCloser, error) {
		file, err := opened(ctx)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(file, 0, size), file}, nil
	})
}

// driverURL returns the URL of a module source, "" if a file is another one.
func driverURL(f lock.Input) string {
	name, ok := strings.CutPrefix(f.Name, driverPrefix)
	if !ok {
		return ""
	}
	url, _, _ := strings.Cut(name, ",name=") // another directory of it
	return url
}

// gatherDriver adds the archive of a module source at a URL. The lock has the digest
// of its files, which the build compares, and not of the archive.
func (b *Builder) gatherDriver(ctx context.Context, g *Gathered, url string) error {
	file, err := fetch.Open(ctx, url, fetch.Options{Cache: b.Cache, Web: b.Web, Offline: b.Offline, Progress: b.Progress})
	if err != nil {
		return b.notHere(g, web.Show(url), fmt.Errorf("gathering the module source %q: %w", url, err))
	}
	sum, err := fetch.Digest(ctx, file)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("gathering the module source %q: %w", url, err)
	}
	return b.gatherFile(ctx, g, lock.Input{Name: url, SHA256: sum})
}

func (g *Gathered) addFile(url, sum string, size int64, open func(context.Context) (io.ReadCloser, error)) error {
	h, err := v1.NewHash(sum)
	if err != nil {
		return fault.Invalidf("gathering %q: %w", url, err)
	}
	g.Files = append(g.Files, kit.File{URL: url, Digest: h, Size: size})
	g.Blobs = append(g.Blobs, kit.Blob{Digest: h, Size: size, For: url, Open: open})
	return nil
}

// Load brings everything that a kit has into the cache, so that what it was made
// for can be built with --offline. The Builder's clients must answer from the
// kit.
func (b *Builder) Load(ctx context.Context, k *kit.Kit, l lock.Build) error {
	pins, err := b.pins(l, nil)
	if err != nil {
		return err
	}
	client := b.Client.WithPins(pins)
	for _, image := range l.AllImages() {
		if err := b.loadImage(ctx, client, image, l); err != nil {
			return fmt.Errorf("loading the image %q: %w", image.Reference, err)
		}
	}
	var sources []string
	for _, f := range k.Files() {
		sources = append(sources, f.URL+"#sha256="+f.Digest.Hex)
	}
	for _, f := range l.Files {
		if url := driverURL(f); url != "" {
			sources = append(sources, url) // as a build asks for it
		}
	}
	for _, source := range sources {
		file, err := fetch.Open(ctx, source, fetch.Options{Cache: b.Cache, Web: b.Web, Progress: b.Progress})
		if err != nil {
			return fmt.Errorf("loading %q: %w", web.Show(source), err)
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// LoadKernel verifies the kernel's source, if it is compiled, where builds keep it,
// and loads the builder image into Docker.
func (b *Builder) LoadKernel(ctx context.Context, l lock.Build, r kernelplan.Request) error {
	if v, err := source.ParseVersion(l.Kernel.Release); err == nil && l.Kernel.Source != nil && l.Kernel.Source.Name == source.URL(v) {
		r.Download.SHA256 = strings.TrimPrefix(l.Kernel.Source.SHA256, "sha256:")
		if _, err := r.Files(ctx, v); err != nil {
			return err
		}
	}
	p := l.Kernel.Builder
	builder, err := container.Open(ctx, container.Options{
		Pin: &container.Pin{Name: p.Name, Digest: p.Digest, ID: p.ID}, Images: b.Client, Progress: b.Progress,
	})
	if err != nil {
		return err
	}
	return errors.Join(builder.Load(ctx), builder.Close())
}

func (b *Builder) loadImage(ctx context.Context, client *oci.Client, image lock.Image, l lock.Build) error {
	if oci.IsLocal(image.Reference) {
		return nil
	}
	if l.Kernel.From == lock.FromArmbian && image.Reference == l.Kernel.Image.Reference {
		artifact, err := client.Artifact(ctx, image.Reference)
		if err != nil {
			return err
		}
		for _, file := range artifact.Files {
			f, err := file.Open(ctx)
			if err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		return nil
	}
	found, err := client.Image(ctx, image.Reference, platformOf(l.Arch))
	if err != nil {
		return err
	}
	return found.Fetch(ctx)
}

// downloads lists the files of a lock that may be at a URL, but for the kernel's
// source.
func downloads(l lock.Build) []lock.Input {
	files := slices.Concat(l.Files, l.Kernel.Files)
	if l.Bundle != nil {
		files = append(files, lock.Input{Name: l.Bundle.Location, SHA256: l.Bundle.SHA256})
	}
	if l.Worker != nil {
		files = append(files, *l.Worker)
	}
	return files
}

// Lacks lists what a kit does not have of a locked build.
func Lacks(k *kit.Kit, l lock.Build) []string {
	var lacking []string
	named := map[string]bool{}
	for _, i := range k.Images() {
		named[i.Reference] = true
	}
	has := func(sum string) bool {
		h, err := v1.NewHash(sum)
		return err == nil && k.Has(h)
	}
	images := l.AllImages()
	if p := l.Kernel.Builder; p != nil {
		images = append(images, lock.Image{Reference: p.Name, Digest: p.Digest, ID: p.ID})
	}
	for _, i := range images {
		there := has(i.Digest) && (i.Manifest == "" || has(i.Manifest))
		if i.Digest == "" {
			there = named[i.Reference]
		}
		if !there && !oci.IsLocal(i.Reference) {
			lacking = append(lacking, i.Reference)
		}
	}
	files := downloads(l)
	if l.Kernel.Source != nil {
		files = append(files, *l.Kernel.Source)
	}
	urls := map[string]bool{}
	for _, f := range k.Files() {
		urls[f.URL] = true
	}
	for _, f := range files {
		driver := driverURL(f)
		if web.IsURL(f.Name) && !has(f.SHA256) || driver != "" && !urls[driver] {
			lacking = append(lacking, f.Name)
		}
	}
	return lacking
}
