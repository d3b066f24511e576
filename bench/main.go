// Command bench compares hookbuild with the tools that it replaces, on the
// demonstration's images, and prints tables in Markdown. README.md describes
// how to read them.
//
//	go run ./bench           embed and all, beside Docker, cpio, rdfind and zstd
//	go run ./bench -memory   the memory that hookbuild takes for a 3 GiB image
//	go run ./bench -pack     our squashfs writer beside mksquashfs
//	go run ./bench -zstd     our zstd encoder beside klauspost's and the zstd program
//	go run ./bench -boot     what an embedded store costs the machine that boots
//	go run ./bench -fleet    six flavors, on one machine and on six that share a cache
//
// Everything that is compared is measured in one run, one after the other, on
// the same files; figures of different machines or runs must not be mixed.
// Every figure is the median of -n rounds. Deliberately left out: downloading
// (everything comes from a registry on loopback, which runs in this process and
// is counted for neither side) and compiling a kernel.
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
	"syscall"
)

func main() {
	if code, yes := launched(); yes {
		os.Exit(code)
	}
	if yes, err := encoded(os.Stdin, os.Stdout); yes {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
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
	rounds                    int
	work, checkout, hookbuild string
	memory, pack, boot, zstd  bool
	fleet                     bool
	root                      string
	mib                       int
}

func parse(args []string, said io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(said)
	flags.IntVar(&o.rounds, "n", 3, "measure `N` times and print medians")
	flags.StringVar(&o.work, "work", os.TempDir(), "make temporary files below `DIR`")
	flags.StringVar(&o.checkout, "hook-dir", "testdata/hook", "the Hook checkout to build, a `DIR`")
	flags.StringVar(&o.hookbuild, "hookbuild", "", "measure this hookbuild, a `FILE` (default: compile it)")
	flags.BoolVar(&o.memory, "memory", false, "measure hookbuild's memory on a large image instead")
	flags.IntVar(&o.mib, "mib", 3072, "the size of the image for -memory, in `MiB`")
	flags.BoolVar(&o.pack, "pack", false, "compare our squashfs writer with mksquashfs instead")
	flags.BoolVar(&o.zstd, "zstd", false, "compare our zstd encoder with klauspost's and the zstd program instead")
	flags.StringVar(&o.root, "root", "", "compress this archive with -zstd, a `FILE` (default: that of the HookOS built for the comparison)")
	flags.BoolVar(&o.boot, "boot", false, "boot the layouts in QEMU and compare them instead")
	flags.BoolVar(&o.fleet, "fleet", false, "build six flavors with and without a shared cache instead, once")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(flags.Args())
}

func (o options) check(rest []string) error {
	modes := 0
	for _, mode := range []bool{o.memory, o.pack, o.boot, o.zstd, o.fleet} {
		if mode {
			modes++
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case modes > 1:
		return errors.New("-memory, -pack, -zstd, -boot and -fleet exclude one another")
	case o.rounds < 1 || o.mib < 1:
		return errors.New("-n and -mib must be 1 or more")
	}
	return nil
}

// run runs the requested comparison and prints a table to out.
func run(ctx context.Context, args []string, out, said io.Writer) (err error) {
	o, err := parse(args, said)
	if err != nil {
		return err
	}
	measure, needs := compare, comparing()
	switch {
	case o.memory:
		measure, needs = watchMemory, watching()
	case o.pack:
		measure, needs = comparePackers, packing()
	case o.zstd:
		measure, needs = compareEncoders, encoding(o.root != "")
	case o.boot:
		measure, needs = compareBoots, booting()
	case o.fleet:
		measure = compareFleet
	}
	if err := needs.check(); err != nil {
		return err
	}
	s, err := openScratch(o.work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	b := &bench{options: o, scratch: s, said: said, arches: []string{runtime.GOARCH}, moved: &meter{}}
	table, err := measure(ctx, b)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(out, table)
	return errors.Join(err, b.exceeded)
}

// bench is one run.
type bench struct {
	options
	*scratch
	said io.Writer
	// arches are the architectures of the images.
	arches []string
	// moved counts the bytes of all registries.
	moved *meter
	// exceeded says which figure exceeds its limit; the table is printed first.
	exceeded error
}

// say reports what is being done.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.said, format+"\n", args...)
}
