package main

import (
	"github.com/urfave/cli/v2"
)

// buildKernelFlags returns the kernel command's flags that apply to --kernel build.
// Those that choose modules and firmware apply to other kernels too.
func buildKernelFlags() []cli.Flag {
	return concat(sourceFlags(), optionFlags(), builderFlags(), moduleFlags())
}

// refuseBuildFlags rejects flags that apply only to a kernel that is built.
func refuseBuildFlags(c *cli.Context, instead string) error {
	for _, flag := range append(concat(sourceFlags(), optionFlags(), builderFlags()), noStripFlag()) {
		if name := flag.Names()[0]; c.IsSet(name) {
			return usagef("--%s changes how a kernel is built, but %s", name, instead)
		}
	}
	return nil
}

// choosesModules reports whether a flag selects modules or adds firmware.
func choosesModules(c *cli.Context) bool {
	return c.IsSet("modules") || c.IsSet("without-modules") || c.IsSet("firmware")
}
