package build

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hookbuild/build/onboard"
	"hookbuild/bundles"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
	"hookbuild/kernel"
	"hookbuild/kernel/container"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/source"
	"hookbuild/site/lock"
)

// pins returns the digests behind a lock's references. Those for which leave
// returns true are asked for again.
func (b *Builder) pins(l lock.Build, leave func(name string) bool) (*oci.Pins, error) {
	pins := &oci.Pins{Only: leave == nil, Ask: b.Kit}
	add := func(name string, image lock.Image) error {
		if leave != nil && leave(name) || oci.IsLocal(image.Reference) {
			return nil
		}
		return pins.Add(image.Reference, image.Digest)
	}
	if image := l.Kernel.Image; image != nil {
		if err := add(lock.NameKernel, *image); err != nil {
			return nil, err
		}
	}
	for _, image := range l.Images {
		if err := add(image.ShortName(), image); err != nil {
			return nil, err
		}
	}
	for _, image := range l.Embedded {
		if err := add(image.ShortName(), image); err != nil {
			return nil, err
		}
	}
	if builder := l.Kernel.Builder; builder != nil {
		return pins, add(lock.NameBuilder, lock.Image{Reference: builder.Name})
	}
	return pins, nil
}

// Lock makes the request take what l says where leave, which may be nil, does
// not return true. It returns a Builder that does the same with references.
func (b *Builder) Lock(r Request, l lock.Build, leave func(name string) bool) (*Builder, Request, error) {
	pins, err := b.pins(l, leave)
	if err != nil {
		return nil, r, err
	}
	locked := *b
	locked.Client = b.Client.WithPins(pins)
	if leave == nil || !leave(lock.NameWorker) && !leave(lock.NameBundle) {
		r.lockWorker(l)
	}
	if leave != nil && leave(lock.NameKernel) {
		return &locked, r, nil
	}
	err = r.lockKernel(l.Kernel, b.Kit)
	if p := l.Kernel.Builder; p != nil && (leave == nil || !leave(lock.NameBuilder)) {
		r.KernelOptions.Container.Pin = &container.Pin{Name: p.Name, Digest: p.Digest, ID: p.ID}
		r.KernelOptions.Container.Images = locked.Client
	}
	return &locked, r, err
}

// lockWorker makes the request take the worker from where the lock says, if the
// bundle does not name it.
func (r *Request) lockWorker(l lock.Build) {
	if r.Embed == nil {
		return
	}
	e := *r.Embed
	r.Embed = &e
	if l.Worker != nil {
		if e.WorkerFrom == "" && web.IsURL(l.Worker.Name) {
			e.WorkerFrom = l.Worker.Name
		}
		e.WorkerFrom = pinned([]string{e.WorkerFrom}, []lock.Input{*l.Worker})[0]
		return
	}
	for _, image := range l.Embedded {
		if e.WorkerFrom == "" && e.Options.WorkerImage == "" && strings.HasPrefix(image.Reference, bundles.Agent+":") {
			e.Options.WorkerImage, e.Upstream = image.Reference, true
		}
	}
}

// lockKernel makes the request's kernel the locked one. With a kit no Docker
// Engine is asked for a kernel.
func (r *Request) lockKernel(k lock.Kernel, kit bool) error {
	o := &r.KernelOptions
	switch k.From {
	case lock.FromImage:
		switch {
		case oci.IsLocal(k.Image.Reference):
		case k.Image.Digest == "" && !kit:
			r.Kernel = "daemon:" + k.Image.Reference
		default:
			r.Kernel = "image:" + k.Image.Reference
		}
	case lock.FromArmbian:
		at := strings.LastIndex(k.Image.Reference, ":")
		slash := strings.LastIndex(k.Image.Reference, "/")
		if slash < 0 || at < slash {
			return fault.Invalidf("reading the kernel %q of the lock: it is not Armbian's", k.Image.Reference)
		}
		r.Kernel, o.Armbian.Base, o.Armbian.Version = "latest", k.Image.Reference[:slash], k.Image.Reference[at+1:]
	case lock.FromSource:
		return r.lockSource(k)
	case lock.FromPackages:
		r.Kernel = "deb:" + strings.Join(pinned(strings.Split(strings.TrimPrefix(r.Kernel, "deb:"), ","), k.Files), ",")
	}
	return nil
}

func (r *Request) lockSource(k lock.Kernel) error {
	o := &r.KernelOptions
	sum := strings.TrimPrefix(k.Source.SHA256, "sha256:")
	r.Kernel = kernelBuild
	if o.Plan.Source != "" {
		o.Plan.SHA256 = sum
		return nil
	}
	v, err := source.ParseVersion(k.Release)
	if err != nil {
		return fault.Invalidf("reading the kernel release of the lock: %w", err)
	}
	o.Plan.PointRelease, o.Plan.Download.SHA256 = strconv.Itoa(v.Point), sum
	return nil
}

// pinned adds the checksums of a lock's files to the URLs that are shown as
// these.
func pinned(sources []string, files []lock.Input) []string {
	var all []string
	for _, s := range sources {
		for _, f := range files {
			if web.IsURL(s) && web.Show(s) == f.Name && !strings.Contains(s, "#") {
				s += "#sha256=" + strings.TrimPrefix(f.SHA256, "sha256:")
			}
		}
		all = append(all, s)
	}
	return all
}

// locked resolves a request as its lock says, and reports what differs.
func (b *Builder) locked(ctx context.Context, r Request) (*Builder, Request, error) {
	want := *r.Locked
	locked, r, err := b.Lock(r, want, nil)
	if err != nil {
		return nil, r, err
	}
	found, err := locked.Resolve(ctx, r)
	if err != nil {
		return nil, r, fmt.Errorf("building what the lock says: %w", err)
	}
	if err := found.compare(want); err != nil {
		return nil, r, err
	}
	locked.told = true
	return locked, r, nil
}

// LockedKernel returns options with which kernel.Make makes the kernel of a lock, and
// no other. Names are those of [Request].
func (b *Builder) LockedKernel(ctx context.Context, o kernel.OpenOptions, names map[string]string, l lock.Build) (kernel.OpenOptions, error) {
	if l.Kernel.From != lock.FromSource && l.Kernel.From != lock.FromArmbian {
		return o, fault.Usagef("making the kernel of %s: the lock has one that is made elsewhere (from: %s); `hookbuild all --locked` uses it", l.Flavor, l.Kernel.From)
	}
	r := Request{Flavor: o.Plan.Flavor, Kernel: kernelBuild, KernelOptions: o, Names: names}
	locked, r, err := b.Lock(r, l, nil)
	if err != nil {
		return o, err
	}
	o = locked.openOptions(r)
	found := &Resolved{Request: r}
	if found.Kernel, err = kernel.Pin(ctx, r.Kernel, o); err != nil {
		return o, fmt.Errorf("making the kernel of the lock: %w", err)
	}
	if found.files, err = r.fragmentDigests(ctx); err != nil {
		return o, err
	}
	return o, found.comparePart(lock.Build{Kernel: l.Kernel, Images: l.Images, Files: l.Files}, l.Flavor)
}

// LockedImages makes w, the images to embed, those of a lock. R has what is known of
// the files that options name. The Builder that it returns takes the images.
func (b *Builder) LockedImages(ctx context.Context, w *onboard.Wanted, r Request, l lock.Build) (*Builder, error) {
	r.Flavor, r.Embed = flavor.Flavor{Arch: flavor.X86_64}, w.Embed
	if l.Arch == "arm64" {
		r.Flavor.Arch = flavor.AArch64
	}
	locked, r, err := b.Lock(r, l, nil)
	if err != nil {
		return nil, err
	}
	w.Embed = r.Embed
	found := &Resolved{Request: r, files: r.Inputs}
	if found.Embedded, err = locked.packer().Find(ctx, *w); err != nil {
		return nil, fmt.Errorf("embedding the images of the lock: %w", err)
	}
	locked.told = true
	want := lock.Build{Bundle: l.Bundle, Worker: l.Worker, Embedded: l.Embedded, Files: l.Files}
	want.Kernel = found.lockKernel()
	return locked, found.comparePart(want, l.Flavor)
}

// comparePart compares a part of a lock: of its files and images those that were
// found too.
func (f *Resolved) comparePart(want lock.Build, id string) error {
	is := f.Lock()
	want.Flavor, want.Arch, want.Template = id, is.Arch, is.Template
	want.Files = slices.DeleteFunc(slices.Clone(want.Files), func(in lock.Input) bool {
		return !slices.ContainsFunc(is.Files, func(i lock.Input) bool { return i.Name == in.Name })
	})
	want.Images = slices.DeleteFunc(slices.Clone(want.Images), func(image lock.Image) bool {
		return !slices.ContainsFunc(is.Images, func(i lock.Image) bool { return i.Reference == image.Reference })
	})
	return f.compare(want)
}

// compare returns an error that names what differs from the lock.
func (f *Resolved) compare(want lock.Build) error {
	is := f.Lock()
	is.Options, is.Variables = want.Options, want.Variables
	changes := lock.Diff(want, is)
	if len(changes) == 0 {
		return nil
	}
	var lines []string
	for _, c := range changes {
		lines = append(lines, "  "+c.String())
	}
	return fault.Invalidf("building what the lock says of %s: %s (lock -> found):\n%s\nrestore what the lock names, or accept what there is with `hookbuild lock --update`",
		want.Flavor, words.Count(len(changes), "difference"), strings.Join(lines, "\n"))
}
