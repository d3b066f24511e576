package build

import (
	"context"
	"slices"

	"hookbuild/bundles"
	"hookbuild/internal/web"
	"hookbuild/kernel"
	"hookbuild/linuxkit"
	"hookbuild/linuxkit/containers"
)

// Need is something that a build fetches. One of Image, Repository and URL is set.
type Need struct {
	// Image is a reference, Repository the name of one whose tags are listed, URL
	// the address of a file or list.
	Image, Repository, URL string
	// File reports that the URL is that of a file, which must exist.
	File bool
	// For says what it is for: "kernel", "root file system", "embedded".
	For string
	// Own reports that the image is a container of the checkout, which is built
	// if it is not published.
	Own bool
}

// Needs returns what [Builder.HookOS] fetches for r, as far as that is known
// without asking anything, and whether a Docker Engine compiles part of it.
func (r Request) Needs(ctx context.Context) (all []Need, compiles bool, err error) {
	if err := r.fillDefaults(); err != nil {
		return nil, false, err
	}
	if len(r.Documents) == 0 || r.Kernel != "" {
		n := kernel.NeedsOf(r.Kernel, r.KernelOptions)
		compiles = n.Compiles
		for _, ref := range n.Images {
			all = append(all, Need{Image: ref, For: forKernel})
		}
		for _, name := range n.Repositories {
			all = append(all, Need{Repository: name, For: forKernel})
		}
		for _, url := range n.URLs {
			all = append(all, Need{URL: url, File: slices.Contains(n.Files, url), For: forKernel})
		}
	}
	p, own, err := r.readBase(ctx, &kernel.Image{Arch: r.Flavor.Arch, Release: "0"})
	if err != nil {
		return nil, false, err
	}
	if len(r.Documents) == 0 || r.Kernel != "" {
		p.options.Kernel = &linuxkit.Kernel{} // takes the place of the document's
	}
	for _, ref := range p.references() {
		isOwn := slices.ContainsFunc(own, func(c containers.Container) bool { return linuxkit.ExpandReference(c.Reference) == ref })
		all = append(all, Need{Image: ref, For: forSystem, Own: isOwn && !r.NoBuildContainers})
	}
	if r.Embed != nil {
		images, err := r.embedNeeds()
		if err != nil {
			return nil, false, err
		}
		all = append(all, images...)
	}
	return all, compiles, nil
}

// embedNeeds returns what the images to embed are fetched from.
func (r Request) embedNeeds() ([]Need, error) {
	var all []Need
	if b := r.Embed.Bundle; b != nil {
		o := r.Embed.Options
		o.NoWorker = o.NoWorker || o.WorkerImage == "" // the bundle may lack it, and a HookOS have it
		images, err := b.Images(o)
		if err != nil {
			return nil, err
		}
		for _, image := range images {
			all = append(all, Need{Image: image.Reference(), For: forStore})
		}
	}
	for _, line := range r.Embed.List {
		if bundles.IsLocal(line.Source) {
			continue
		}
		all = append(all, Need{Image: line.Source, For: forStore})
	}
	if web.IsURL(r.Embed.WorkerFrom) {
		all = append(all, Need{URL: r.Embed.WorkerFrom, File: true, For: forStore})
	}
	return all, nil
}
