// Command linuxkit compares `hookbuild linuxkit` with the way it replaces: the
// linuxkit tool's `build --format kernel+initrd`, followed by build.sh's
// repacking of its initramfs (gunzip, cpio, rdfind, cpio, zstd -9).
//
//	go run ./bench/linuxkit -linuxkit PROGRAM
//
// Both assemble the miniature HookOS of testdata/hook from the same document,
// with the same images, in one run. Downloads are not counted for either:
// before the rounds each side has its images in its own cache, and "cold" means
// that hookbuild has nothing else. Left out in the old way's favour: its Docker
// container for the repacking, and the report that it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	linuxkit, hookbuild, work, checkout string
	rounds                              int
}

func run(ctx context.Context, args []string) (err error) {
	var o options
	flags := flag.NewFlagSet("bench/linuxkit", flag.ContinueOnError)
	flags.StringVar(&o.linuxkit, "linuxkit", "linuxkit", "the linuxkit program, a `FILE`")
	flags.StringVar(&o.hookbuild, "hookbuild", "", "measure this hookbuild, a `FILE` (default: compile it)")
	flags.StringVar(&o.work, "work", os.TempDir(), "make temporary files below `DIR`")
	flags.StringVar(&o.checkout, "hook-dir", "testdata/hook", "the Hook checkout to build, a `DIR`")
	flags.IntVar(&o.rounds, "n", 3, "measure `N` times and print medians")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.rounds < 1 {
		return fmt.Errorf("-n is %d; use 1 or more", o.rounds)
	}
	dir, err := os.MkdirTemp(o.work, "bench-linuxkit-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := openPlace(ctx, o, dir)
	if err != nil {
		return err
	}
	defer p.close()
	return p.compare(ctx)
}
