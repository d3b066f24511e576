// Command kernel compares `hookbuild kernel` with upstream's way to build a
// kernel: a Dockerfile with one layer that unpacks the source, configures it
// and compiles everything.
//
//	go run ./bench/kernel
//
// Both compile the same small kernel from Debian's source in containers of the
// same image, on the machine's Docker Engine, in one run. The next build is
// measured: with one option changed, and with nothing changed.
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
	hookbuild, work, source, base, network string
	rounds                                 int
}

func run(ctx context.Context, args []string) (err error) {
	var o options
	flags := flag.NewFlagSet("bench/kernel", flag.ContinueOnError)
	flags.StringVar(&o.hookbuild, "hookbuild", "", "measure this hookbuild, a `FILE` (default: compile it)")
	flags.StringVar(&o.work, "work", os.TempDir(), "make temporary files below `DIR`")
	flags.StringVar(&o.source, "source", "", "compile this source of Linux 6.1, a `FILE` (default: Debian's linux-source-6.1)")
	flags.StringVar(&o.base, "base", "debian:stable", "base the compiling image on the Debian `REF`")
	flags.StringVar(&o.network, "network", "", "build that image in this Docker `NETWORK`, such as host")
	flags.IntVar(&o.rounds, "n", 3, "measure `N` times and print medians")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if most := len(switches()); o.rounds < 1 || o.rounds > most {
		return fmt.Errorf("-n is %d; use 1 to %d", o.rounds, most)
	}
	dir, err := os.MkdirTemp(o.work, "bench-kernel-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := &place{options: o, dir: dir}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.prepare(ctx); err != nil {
		return err
	}
	return p.compare(ctx)
}
