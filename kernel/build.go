package kernel

import (
	"context"
	"errors"
	"path/filepath"

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
		check: func(o OpenOptions) error {
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

// compile builds the plan's kernel. It returns an error before compiling
// anything if a requested option did not take effect.
func (o OpenOptions) compile(ctx context.Context, p *plan.Plan) (_ *Image, err error) {
	b, err := container.Open(ctx, o.Container)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	target, err := p.Target(ctx)
	if err != nil {
		return nil, err
	}
	if options := p.Options(); len(options) > 0 {
		configured, err := b.Configure(ctx, target, options)
		if err != nil {
			return nil, err
		}
		target.Defconfig = configured.Defconfig
		o.warnLost(p, configured.Lost)
	}
	dir := filepath.Join(o.Built, p.Request.Flavor.ID)
	lost, err := b.Compile(ctx, target, container.CompileOptions{Strip: p.Request.Strip, Time: o.Time}, dir)
	if err != nil {
		return nil, err
	}
	o.warnLost(p, lost)
	image, err := fromDir(ctx, dir, o.Options)
	if err != nil {
		return nil, err
	}
	image.Source = "build:" + p.Reference
	image.compiled = &compiled{target: target, drivers: p.Request.ModuleSources}
	return image, nil
}

// warnLost warns about the lines of the flavor's configuration that the source
// did not accept.
func (o OpenOptions) warnLost(p *plan.Plan, lost []string) {
	for _, reason := range lost {
		progress.Warnf(o.Progress, "%s: %s", p.Request.Flavor.ConfigPath(), reason)
	}
}
