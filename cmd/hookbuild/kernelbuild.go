package main

import (
	"slices"

	"github.com/urfave/cli/v2"
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
			return usagef("--%s changes how a kernel is built, but %s", name, instead)
		}
	}
	return nil
}

// choosesModules reports whether a flag selects or adds modules or firmware.
func choosesModules(c *cli.Context) bool {
	return c.IsSet("module-source") || c.IsSet("modules") || c.IsSet("without-modules") || c.IsSet("firmware")
}
