// Command hookdemo demonstrates hookbuild from end to end, without mocks. It serves
// seven action images and the images of a miniature HookOS from a registry on
// loopback, runs hookbuild to build a HookOS with the actions embedded, boots the two
// files in QEMU, and makes the dockerd inside list its images and run one.
//
// The kernel is Debian's, unless options for hookbuild name another:
//
//	hookdemo -flavor ID -- --kernel build --set CONFIG_ICE=m
//
// It exits with 0 only if dockerd has all seven images under the names that EKS
// Anywhere uses, and the image that ran found all of its files unchanged.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hookdemo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	d := demo{story: newStory(out)}
	flags := flag.NewFlagSet("hookdemo", flag.ContinueOnError)
	flags.StringVar(&d.arch, "arch", runtime.GOARCH, "build and boot for `amd64|arm64`")
	flags.StringVar(&d.work, "work", ".demo", "keep all files in `DIR`")
	flags.StringVar(&d.checkout, "hook-dir", "testdata/hook", "the Hook checkout to build, a `DIR`")
	flags.StringVar(&d.hookbuild, "hookbuild", "", "use this hookbuild, a `FILE` (default: compile it)")
	flags.StringVar(&d.layout, "layout", "", "how hookbuild stores the images: directory or packed (default: hookbuild's)")
	flags.BoolVar(&d.all, "all", false, "run and save every image in the machine, not only run the worker")
	flags.BoolVar(&d.fresh, "fresh", false, "remove everything that earlier runs fetched and built")
	flags.StringVar(&d.flavor, "flavor", "", "build the flavor `ID` of the checkout (default: hook-latest-lts-<arch>)")
	flags.IntVar(&d.memory, "memory", 3072, "give the machine `N` MiB of RAM")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 && !strings.HasPrefix(flags.Arg(0), "--kernel") {
		return fmt.Errorf("unexpected argument %q; options for hookbuild begin with --kernel", flags.Arg(0))
	}
	d.kernel = flags.Args()
	if d.flavor == "" {
		d.flavor = "hook-latest-lts-" + d.arch
	}
	return d.play(ctx)
}
