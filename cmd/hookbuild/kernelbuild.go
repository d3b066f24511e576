package main

import (
	"slices"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/progress"
	"hookbuild/kernel/flavor"
)

// buildKernelFlags returns the kernel command's flags that apply to --kernel build.
// Those that choose modules and firmware apply to other kernels too.
func buildKernelFlags() []cli.Flag {
	return concat(sourceFlags(), optionFlags(), builderFlags(), moduleFlags())
}

// refuseBuildFlags rejects flags that apply only to a kernel that is built, or to
// modules that are built for another one.
func refuseBuildFlags(c *cli.Context, instead string) error {
	refused := concat(sourceFlags(), optionFlags())
	if !c.IsSet("module-source") {
		refused = append(concat(refused, builderFlags()), noStripFlag())
	}
	refused = slices.DeleteFunc(refused, func(f cli.Flag) bool { return f.Names()[0] == "builder" }) // it builds containers, too
	for _, flag := range refused {
		if name := flag.Names()[0]; c.IsSet(name) {
			return noBuildFlag(name, instead)
		}
	}
	return nil
}

func noBuildFlag(name, instead string) error {
	return usagef("--%s changes how a kernel is built, but %s", name, instead)
}

// readyMade says of a flavor of Armbian why options of a build do not apply, and what
// to do.
func readyMade(f flavor.Flavor) string {
	return "that of " + f.ID + " comes ready-made from Armbian; leave out the option, or name a flavor whose kernel is compiled (`hookbuild flavors` lists them)"
}

// checkReadyMade rejects options of the kernel command that would change how a kernel
// of Armbian is built. Those of hookbuild.yaml, which are for all flavors, get a note.
func (a *app) checkReadyMade(c *cli.Context, f flavor.Flavor) error {
	for _, name := range namesOf(concat(sourceFlags(), optionFlags())) {
		switch {
		case !c.IsSet(name) || name == "source-mirror": // which says only where a source is from
		case a.fromSite(name):
			a.note("%s in %s does not apply: the kernel of %s comes ready-made from Armbian", a.site.applied[name].Key, a.site.Path, f.ID)
		default:
			return noBuildFlag(name, readyMade(f))
		}
	}
	a.tellReadyMade(f)
	return nil
}

// tellReadyMade says that KERNEL_POINT_RELEASE has no effect on a flavor of Armbian. In
// the environment it may be meant for other flavors.
func (a *app) tellReadyMade(f flavor.Flavor) {
	const variable = "KERNEL_POINT_RELEASE"
	switch {
	case a.variable(variable) == "":
	case a.isArgument(variable):
		progress.Warnf(a.sink(), "%s has no effect on %s: its kernel comes ready-made from Armbian; ARMBIAN_KERNEL_VERSION chooses another of Armbian's", a.assignment(variable), f.ID)
	default:
		a.note("%s does not apply: the kernel of %s comes ready-made from Armbian", a.assignment(variable), f.ID)
	}
}

// choosesModules reports whether a flag selects or adds modules or firmware.
func choosesModules(c *cli.Context) bool {
	return c.IsSet("module-source") || c.IsSet("modules") || c.IsSet("without-modules") || c.IsSet("firmware")
}
