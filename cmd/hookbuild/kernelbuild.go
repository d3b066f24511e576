package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kbuild"
)

// buildKernelFlags are the kernel command's flags that --kernel build obeys; a
// ready-made kernel obeys those that choose modules and firmware.
func buildKernelFlags() []cli.Flag {
	return concat(sourceFlags(), optionFlags(), builderFlags(), moduleFlags())
}

// refuseBuildFlags refuses what only a kernel that is built obeys.
func refuseBuildFlags(c *cli.Context, instead string) error {
	for _, flag := range append(concat(sourceFlags(), optionFlags(), builderFlags()), noStripFlag()) {
		if name := flag.Names()[0]; c.IsSet(name) {
			return usagef("--%s changes how a kernel is built, but %s", name, instead)
		}
	}
	return nil
}

// moduleChooser chooses among the modules of a ready-made kernel; nil when that is
// not asked for.
func (a *app) moduleChooser(c *cli.Context) func(context.Context, *kernel.Image) error {
	if !c.IsSet("modules") && !c.IsSet("without-modules") && !c.IsSet("firmware") {
		return nil
	}
	return func(_ context.Context, image *kernel.Image) error {
		o, err := a.kernelOptions(c)
		if err != nil {
			return err
		}
		return a.chooseModules(c, image, o)
	}
}

// kernelBuilding lets "--kernel build" compile the flavor's kernel: what the
// volumes hold from an earlier build is compiled no second time.
func (a *app) kernelBuilding(c *cli.Context, r *build.Request) error {
	f := r.Flavor
	if r.KernelFlavor != nil {
		f = *r.KernelFlavor
	}
	if r.Kernel != "build" {
		r.ChooseModules = a.moduleChooser(c)
		return refuseBuildFlags(c, "--kernel is "+r.Kernel+"; say --kernel build")
	}
	if f.Method == flavor.Armbian {
		return usagef("--kernel build: the kernel of %s comes ready-made from Armbian; say --kernel latest", f.ID)
	}
	r.BuildKernel = func(ctx context.Context) (*kernel.Image, error) {
		o, err := a.kernelOptions(c)
		if err != nil {
			return nil, err
		}
		request, err := a.kernelRequest(c, f)
		if err != nil {
			return nil, err
		}
		plan, err := kbuild.Resolve(ctx, request)
		if err != nil {
			return nil, err
		}
		return a.compile(c, plan, o)
	}
	return nil
}
