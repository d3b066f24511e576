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

// qemu judges a trial of emulation.
func qemu(emulate func() (time.Duration, error)) Check {
	took, err := emulate()
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

// kvm tries KVM, and compares it with emulation where that works.
func kvm(ctx context.Context, emulate func() (time.Duration, error), limit time.Duration) Check {
	const device = "/dev/kvm"
	c := Check{Name: "KVM", Status: Warn, Remedy: "`hookbuild run` and `hookbuild verify --boot` emulate, which is slower"}
	if _, err := os.Stat(device); err != nil {
		c.Found = "this machine has no " + device
		return c
	}
	emulated, failed := emulate()
	took, err := machine.TryKVM(ctx, emulated, limit)
	ran := "a machine entered 64-bit mode and took timer interrupts, in " + inSeconds(took)
	switch {
	case errors.Is(err, machine.ErrNoProgram):
		c.Found, c.Remedy = device+" was not tried, because QEMU is not installed", "install QEMU first"
	case errors.Is(err, machine.ErrStuck) && failed != nil:
		c.Found, c.Remedy = device+" is there, but "+err.Error()+notCompared, notComparedRemedy
	case errors.Is(err, machine.ErrStuck):
		c.Found, c.Remedy = device+" is there, but "+err.Error(), "do not use --accel kvm here: nested virtualisation is off, broken or slow; --accel auto emulates"
	case err != nil:
		c.Found = err.Error()
	case failed != nil:
		c.Found, c.Remedy = ran+notCompared, notComparedRemedy
	default:
		c.Status, c.Found, c.Remedy = OK, ran+"; emulated, in "+inSeconds(emulated), ""
	}
	return c
}

// Without a time of emulation, whether KVM is of use is not known.
const (
	notCompared       = "; not compared with emulation, which failed (see QEMU)"
	notComparedRemedy = "do what the check QEMU says, and run doctor again"
)

func inSeconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
