package build

import (
	"context"
	"fmt"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/kernel"
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
	o := kernel.Options{Cache: b.Cache, Offline: b.Offline, Jobs: b.Jobs, Progress: b.Progress}
	scheme, rest, _ := strings.Cut(r.Kernel, ":")
	var k *kernel.Image
	var err error
	switch scheme {
	case "latest":
		k, err = kernel.FromLatest(ctx, b.Client, r.KernelRepository, r.Flavor.Series, "", r.Flavor.Arch, o)
	case "image":
		image, found := b.Client.Image(ctx, rest, platformOf(r.Flavor.DockerArch()))
		if found != nil {
			return nil, found
		}
		k, err = kernel.FromOCI(ctx, image, o)
	case "deb":
		k, err = kernel.FromDeb(ctx, strings.Split(rest, ","), o)
	case "dir":
		k, err = kernel.FromDir(ctx, rest, o)
	default:
		return nil, fault.Mark(fmt.Errorf("reading the kernel %q: it is none of latest, image:REF, deb:FILE, dir:DIR", r.Kernel), fault.Usage)
	}
	if err != nil {
		return nil, err
	}
	return k, checkArch(k, r)
}

func checkArch(k *kernel.Image, r Request) error {
	if k.Arch == r.Flavor.Arch {
		return nil
	}
	_ = k.Close() // only read
	return fault.Mark(fmt.Errorf("reading the kernel %q: it is for %s, and the flavor %s is for %s; give a kernel or a flavor of the other architecture", r.Kernel, k.Arch, r.Flavor.ID, r.Flavor.Arch), fault.Invalid)
}

// kernelReference is what the template calls the kernel's image, for a kernel
// that did not come from one too.
func kernelReference(k *kernel.Image, repository string) string {
	if ref, ok := strings.CutPrefix(k.Source, "image:"); ok {
		return ref
	}
	return repository + ":" + k.Release
}
