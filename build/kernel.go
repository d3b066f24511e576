package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"hookbuild/bundles"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/kernel"
)

// kernel opens the kernel that the request names. The caller must close it.
func (b *Builder) kernel(ctx context.Context, r Request) (*kernel.Image, error) {
	task := progress.Start(b.Progress, 0, "read the kernel %s", cmp.Or(web.ShowAll(r.Kernel), "of "+r.KernelOptions.Plan.Flavor.ID))
	k, err := kernel.Open(ctx, r.Kernel, b.openOptions(r))
	if err == nil {
		err = checkArch(k, r)
	}
	if err != nil {
		return nil, task.End(err, "")
	}
	if r.Kernel == k.Source { // the task names it
		return k, task.End(nil, fmt.Sprintf("Linux %s for %s", k.Release, k.Arch))
	}
	return k, task.End(nil, k.String())
}

// openOptions returns the request's options with the Builder's added.
func (b *Builder) openOptions(r Request) kernel.OpenOptions {
	o := r.KernelOptions
	o.Options = b.kernelOptions()
	o.Client, o.Arch, o.Survey = b.Client, r.Flavor.Arch, b.survey
	return o
}

func (b *Builder) kernelOptions() kernel.Options {
	return kernel.Options{Cache: b.Cache, Web: b.Web, Offline: b.Offline, Jobs: b.Jobs, Progress: b.Progress}
}

// documentKernel returns the kernel in the image that a document names.
func (b *Builder) documentKernel(ctx context.Context, r Request, a *assembly) (*kernel.Image, error) {
	f, err := a.kernelFile(ctx)
	if err != nil {
		return nil, err
	}
	k, err := kernel.FromParts(ctx, f.Path(), nil)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("reading the kernel of the document %s: %w", r.documentNames(), err)
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
	return fault.Invalidf("reading the kernel %q: it is for %s, but the flavor %s is for %s; choose a kernel or a flavor of the same architecture as the other", r.Kernel, k.Arch, r.Flavor.ID, r.Flavor.Arch)
}

// kernelReference returns the kernel image's name in the template. A kernel from
// elsewhere gets a name in the repository, after its release.
func kernelReference(k *kernel.Image, repository string) string {
	if ref, ok := strings.CutPrefix(k.Source, "image:"); ok && !bundles.IsLocal(ref) {
		return ref
	}
	// A release may have a "+", as Debian 13's do, which tags cannot.
	return repository + ":" + strings.ReplaceAll(k.Release, "+", "_")
}
