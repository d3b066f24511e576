package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/kernel/container"
	"hookbuild/kernel/driver"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/plan"
)

// buildSource compiles the flavor's kernel. It reuses what an earlier build
// left in the container's volumes.
func buildSource() source {
	return source{
		names: []string{"build"}, forms: []string{"build"}, flavors: true,
		check: func(_ string, o OpenOptions) error {
			if f := o.Plan.Flavor; f.Method == flavor.Armbian {
				return fault.Usagef("--kernel build: the kernel of %s comes ready-made from Armbian; use --kernel latest", f.ID)
			}
			return nil
		},
		pin: func(ctx context.Context, _, _ string, o OpenOptions) (*Pinned, error) { return o.pinBuild(ctx) },
		open: func(ctx context.Context, _, _ string, o OpenOptions) (*Image, error) {
			p, err := o.resolve(ctx)
			if err != nil {
				return nil, err
			}
			return o.compile(ctx, p)
		},
	}
}

// resolve returns the plan of the flavor's kernel with its drivers.
func (o OpenOptions) resolve(ctx context.Context) (*plan.Plan, error) {
	drivers, err := o.openDrivers(ctx)
	if err != nil {
		return nil, err
	}
	r := o.Plan
	for _, d := range drivers {
		r.ModuleSources = append(r.ModuleSources, d.Digest)
	}
	if err := driver.CloseAll(drivers); err != nil {
		return nil, err
	}
	return plan.Resolve(ctx, r)
}

// compiledKind is the cache's name for compiled kernels. They are kept there only
// if the cache has a remote: this machine has the container's volumes.
const compiledKind = "compiled"

// compile builds the plan's kernel, or takes it from the shared cache. It returns
// an error before compiling anything if a requested option did not take effect.
func (o OpenOptions) compile(ctx context.Context, p *plan.Plan) (*Image, error) {
	dir := filepath.Join(o.Built, p.Request.Flavor.ID)
	made := &compiled{drivers: p.Request.ModuleSources}
	key, err := o.compiledKey(p)
	if err != nil {
		return nil, err
	}
	if key == "" {
		if made.target, err = o.compileInto(ctx, p, dir); err != nil {
			return nil, err
		}
		return o.openCompiled(ctx, p, dir, made)
	}
	archive, from, err := o.Cache.Derived(ctx, compiledKind, key, func(w io.Writer) error {
		if made.target, err = o.compileInto(ctx, p, dir); err != nil {
			return err
		}
		return writeDir(ctx, w, dir)
	})
	if err != nil {
		return nil, err
	}
	if from != cache.Made {
		if err := o.takeCompiled(ctx, p, archive, dir, made); err != nil {
			return nil, errors.Join(err, archive.Close())
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return o.openCompiled(ctx, p, dir, made)
}

// Shared returns the place from which [Open] takes the compiled kernel of a plan, ""
// if it compiles it, and its size in bytes.
func (o OpenOptions) Shared(ctx context.Context, p *plan.Plan) (place string, size int64, err error) {
	key, err := o.compiledKey(p)
	if key == "" || err != nil {
		return "", 0, err
	}
	return o.Cache.Shared(ctx, compiledKind, key)
}

// compiledKey returns the key of the compiled kernel, or "" if it is not shared.
func (o OpenOptions) compiledKey(p *plan.Plan) (string, error) {
	source := p.SourceKey()
	if o.Fresh || source == "" || o.Cache == nil || !o.Cache.HasRemote() {
		return "", nil
	}
	recipe, err := o.Container.CompileRecipe()
	if err != nil {
		return "", err
	}
	return digest.Key("compiled kernel v1", source, recipe, p.Request.Flavor.Arch, p.Request.Strip, o.Time.Unix())
}

// takeCompiled unpacks a kernel that was compiled elsewhere. Modules can be built
// against it only after it was compiled here.
func (o OpenOptions) takeCompiled(ctx context.Context, p *plan.Plan, archive *cache.File, dir string, made *compiled) (err error) {
	if err := unpackDir(io.NewSectionReader(archive, 0, archive.Size()), dir); err != nil {
		return fmt.Errorf("unpacking the kernel %s from the cache: %w", p.Reference, err)
	}
	if len(made.drivers) == 0 {
		return nil
	}
	made.again = func(ctx context.Context) (container.Target, error) {
		again := dir + "-modules" // dir is in use
		target, err := o.compileInto(ctx, p, again)
		return target, errors.Join(err, os.RemoveAll(again))
	}
	made.target, err = p.Target(ctx)
	return err
}

// compileInto compiles the plan's kernel into dir.
func (o OpenOptions) compileInto(ctx context.Context, p *plan.Plan, dir string) (target container.Target, err error) {
	b, err := container.Open(ctx, o.Container)
	if err != nil {
		return target, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if target, err = p.Target(ctx); err != nil {
		return target, err
	}
	if options := p.Options(); len(options) > 0 {
		configured, err := b.Configure(ctx, target, options)
		if err != nil {
			return target, err
		}
		target.Defconfig = configured.Defconfig
		o.warnLost(p, configured.Lost)
	}
	lost, err := b.Compile(ctx, target, container.CompileOptions{Strip: p.Request.Strip, Time: o.Time}, dir)
	o.warnLost(p, lost)
	return target, err
}

func (o OpenOptions) openCompiled(ctx context.Context, p *plan.Plan, dir string, made *compiled) (*Image, error) {
	image, err := fromDir(ctx, dir, o.Options)
	if err != nil {
		return nil, err
	}
	image.Source = "build:" + p.Reference
	image.compiled, image.Added.Patches = made, pinnedPatches(p.Patches)
	return image, nil
}

// warnLost warns about the lines of the flavor's configuration that the source
// did not accept.
func (o OpenOptions) warnLost(p *plan.Plan, lost []string) {
	for _, reason := range lost {
		progress.Warnf(o.Progress, "%s: %s", p.Request.Flavor.ConfigPath(), reason)
	}
}
