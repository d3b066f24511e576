package main

import (
	"github.com/urfave/cli/v2"
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

// choosesModules reports whether a flag leaves modules out or adds firmware.
func choosesModules(c *cli.Context) bool {
	return c.IsSet("modules") || c.IsSet("without-modules") || c.IsSet("firmware")
}
