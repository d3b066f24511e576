package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kbuild"
)

// kernel brings the kernel that the request names. The caller closes it.
func (b *Builder) kernel(ctx context.Context, r Request) (*kernel.Image, error) {
	task := progress.Start(b.Progress, 0, "read the kernel %s", r.Kernel)
	k, err := b.readKernel(ctx, r)
	if err != nil {
		return nil, task.End(err, "")
	}
	return k, task.End(nil, k.String())
}

func (b *Builder) readKernel(ctx context.Context, r Request) (*kernel.Image, error) {
	k, err := b.openKernel(ctx, r)
	if err == nil {
		err = checkArch(k, r)
	}
	if err != nil {
		return nil, err
	}
	if r.ChooseModules != nil {
		if err := r.ChooseModules(ctx, k); err != nil {
			return nil, errors.Join(err, k.Close())
		}
	}
	return k, nil
}

func (b *Builder) openKernel(ctx context.Context, r Request) (*kernel.Image, error) {
	o := b.kernelOptions()
	scheme, rest, _ := strings.Cut(r.Kernel, ":")
	switch scheme {
	case "latest":
		return b.latestKernel(ctx, r)
	case "built":
		return b.builtKernel(ctx, r)
	case "build":
		if r.BuildKernel != nil {
			return r.BuildKernel(ctx)
		}
	case "image":
		image, err := b.Client.Image(ctx, rest, platformOf(r.Flavor.DockerArch()))
		if err != nil {
			return nil, err
		}
		return kernel.FromOCI(ctx, image, o)
	case "deb":
		return kernel.FromDeb(ctx, strings.Split(rest, ","), o)
	case "dir":
		return kernel.FromDir(ctx, rest, o)
	}
	return nil, fault.Usagef("reading the kernel %q: it is none of latest, build, image:REF, deb:FILE, dir:DIR", r.Kernel)
}

func (b *Builder) kernelOptions() kernel.Options {
	return kernel.Options{Cache: b.Cache, Offline: b.Offline, Jobs: b.Jobs, Progress: b.Progress}
}

// latestKernel reads the newest published kernel of the flavor's series,
// preferably the one of this checkout's own inputs.
func (b *Builder) latestKernel(ctx context.Context, r Request) (*kernel.Image, error) {
	if r.KernelFlavor.Method == flavor.Armbian {
		return b.armbianKernel(ctx, r)
	}
	hash, err := r.kernelHash()
	if err != nil && (r.KernelFlavor.Own || !errors.Is(err, fs.ErrNotExist)) {
		return nil, err
	}
	return kernel.FromLatest(ctx, b.Client, kernel.Wanted{
		Repository: r.KernelRepository, Series: r.KernelFlavor.Series, Arch: r.Flavor.Arch, Hash: hash, HashOnly: r.KernelFlavor.Own,
	}, b.kernelOptions())
}

// builtKernel reads the kernel image that building from this checkout gives:
// published, else from the Docker Engine.
func (b *Builder) builtKernel(ctx context.Context, r Request) (*kernel.Image, error) {
	hash, err := r.kernelHash()
	if err != nil {
		return nil, err
	}
	ref := fmt.Sprintf("%s:%s.%s-%s", r.KernelRepository, r.KernelFlavor.Series, r.PointRelease, hash)
	platform := platformOf(r.Flavor.DockerArch())
	image, err := b.Client.Image(ctx, ref, platform)
	if err != nil {
		local, missing := b.Client.Image(ctx, "daemon:"+ref, platform)
		if missing != nil {
			return nil, fault.Outsidef("finding the kernel %s.%s: %w; nor has Docker it: %w; build it by `hookbuild kernel %s KERNEL_POINT_RELEASE=%s`, or say --kernel latest for the newest published one",
				r.KernelFlavor.Series, r.PointRelease, err, missing, r.KernelFlavor.ID, r.PointRelease)
		}
		image = local
	}
	return kernel.FromOCI(ctx, image, b.kernelOptions())
}

func (b *Builder) armbianKernel(ctx context.Context, r Request) (*kernel.Image, error) {
	base := r.Armbian.Base
	setDefault(&base, kernel.ArmbianBase)
	repository := base + "/" + r.KernelFlavor.Artifact
	ref := repository + ":" + r.Armbian.Version
	if r.Armbian.Version == "" {
		var err error
		if ref, err = kernel.LatestArmbian(ctx, b.Client, repository); err != nil {
			return nil, err
		}
	}
	return kernel.FromArmbian(ctx, b.Client, ref, b.kernelOptions())
}

// kernelHash ends the tags of the kernels that are built from the checkout as
// it is.
func (r Request) kernelHash() (string, error) {
	return kbuild.TagHash(kbuild.Request{Flavor: *r.KernelFlavor, HookDir: r.Workspace.Dir, Strip: true})
}

// documentKernel gives the kernel of a document's own image.
func (b *Builder) documentKernel(ctx context.Context, r Request, a *assembly) (*kernel.Image, error) {
	f, err := a.kernelFile(ctx)
	if err != nil {
		return nil, err
	}
	k, err := kernel.FromParts(ctx, f.Path(), nil)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("reading the kernel of the document %q: %w", r.Document, err)
	}
	k.Source = "image:" + a.base.document.Kernel.Image
	r.Kernel = k.Source
	if err := checkArch(k, r); err != nil {
		return nil, err
	}
	return k, nil
}

func checkArch(k *kernel.Image, r Request) error {
	if k.Arch == r.Flavor.Arch {
		return nil
	}
	_ = k.Close() // only read
	return fault.Invalidf("reading the kernel %q: it is for %s, and the flavor %s is for %s; give a kernel or a flavor of the other architecture", r.Kernel, k.Arch, r.Flavor.ID, r.Flavor.Arch)
}

// kernelReference is what the template calls the kernel's image, for a kernel
// that did not come from one too.
func kernelReference(k *kernel.Image, repository string) string {
	if ref, ok := strings.CutPrefix(k.Source, "image:"); ok {
		return ref
	}
	// A release may have a "+" (Debian 13's), which no tag has.
	return repository + ":" + strings.ReplaceAll(k.Release, "+", "_")
}
