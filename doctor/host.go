package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"hookbuild/internal/words"
	"hookbuild/machine"
)

// What Hook's recipe asks for to compile a kernel, beside disk.
const (
	wantMemory = 2_000_000_000
	wantCores  = 4
)

// memory judges the size of this machine's memory in bytes.
func memory(total int64, err error) Check {
	c := Check{Name: "memory"}
	switch {
	case err != nil:
		c.Status, c.Found, c.Remedy = Warn, fmt.Sprintf("not known: %v", err), "compiling a kernel takes 2 GB: see that the machine has that"
	case total < wantMemory:
		c.Status, c.Found = Warn, words.Bytes(total)+", less than 2 GB"
		c.Remedy = "compile kernels on another machine (DOCKER_HOST), or add swap; embedding images needs less than 300 MB"
	default:
		c.Status, c.Found = OK, words.Bytes(total)
	}
	return c
}

func cores(n int) Check {
	if n < wantCores {
		return Check{Name: "cores", Status: Warn, Found: words.Count(n, "core"), Remedy: "kernels compile slowly with fewer than 4 cores; use a published one with --kernel latest"}
	}
	return Check{Name: "cores", Status: OK, Found: words.Count(n, "core")}
}

func terminal(o Options) Check {
	for _, stream := range []any{o.Stdin, o.Stdout} {
		f, ok := stream.(*os.File)
		if !ok || !term.IsTerminal(int(f.Fd())) {
			return Check{
				Name: "terminal", Status: Warn, Found: "standard input and output are not both a terminal",
				Remedy: "the menu of kernel-config needs one; --set and --fragment do not",
			}
		}
	}
	return Check{Name: "terminal", Status: OK, Found: "standard input and output are a terminal"}
}

func qemu(ctx context.Context, limit time.Duration) Check {
	took, err := machine.Try(ctx, "tcg", limit)
	if err == nil {
		return Check{Name: "QEMU", Status: OK, Found: "an emulated machine entered 64-bit mode and took timer interrupts, in " + inSeconds(took)}
	}
	c := Check{Name: "QEMU", Status: Warn, Found: err.Error(), Remedy: "see what `qemu-system-x86_64 -version` says, and install it anew if that fails", Breaks: "run, qemu and verify --boot", Commands: []string{"run", "qemu"}}
	switch {
	case errors.Is(err, machine.ErrNoProgram):
		c.Remedy = "install it, to boot a result here"
	case errors.Is(err, machine.ErrStuck): // as on a busy machine, where a boot is only slow
		c.Remedy, c.Breaks, c.Commands = "run doctor again when this machine is less busy; if it stays so, a boot here takes very long", "", nil
	}
	return c
}

func kvm(ctx context.Context, limit time.Duration) Check {
	const device = "/dev/kvm"
	c := Check{Name: "KVM"}
	if _, err := os.Stat(device); err != nil {
		c.Status, c.Found, c.Remedy = Warn, "this machine has no "+device, "`hookbuild run` and `hookbuild verify --boot` emulate, which is slower"
		return c
	}
	took, emulated, err := machine.TryKVM(ctx, limit)
	switch {
	case err == nil:
		c.Status, c.Found = OK, fmt.Sprintf("a machine entered 64-bit mode and took timer interrupts, in %s; emulated, in %s", inSeconds(took), inSeconds(emulated))
	case errors.Is(err, machine.ErrNoProgram):
		c.Status, c.Found, c.Remedy = Warn, device+" was not tried, because QEMU is not installed", "install QEMU first"
	case errors.Is(err, machine.ErrStuck):
		c.Status, c.Found, c.Remedy = Warn, device+" is there, but "+err.Error(), "do not use --accel kvm here: nested virtualisation is off, broken or slow; --accel auto emulates"
	default:
		c.Status, c.Found, c.Remedy = Warn, err.Error(), "`hookbuild run` and `hookbuild verify --boot` emulate, which is slower"
	}
	return c
}

func inSeconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
