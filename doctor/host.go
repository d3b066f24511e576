package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"hookbuild/internal/words"
	"hookbuild/machine"
)

// The requirements for building a complete HookOS with a kernel.
const (
	wantMemory = 2_000_000_000
	wantCores  = 4
	wantDisk   = 20_000_000_000
	// leastDisk is the requirement for embedding images only, in bytes.
	leastDisk = 2_000_000_000
)

// memory judges the size of this machine's memory in bytes.
func memory(total int64, err error) Check {
	c := Check{Name: "memory"}
	switch {
	case err != nil:
		c.Status, c.Found = Warn, fmt.Sprintf("not known: %v", err)
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

// disk examines the file system of the directory dir of an option, or of its nearest
// existing parent.
func disk(option, dir string) Check {
	c := Check{Name: "disk of " + option}
	at, err := existing(dir)
	if err != nil {
		c.Status, c.Found = Warn, fmt.Sprintf("not known: %v", err)
		return c
	}
	var s unix.Statfs_t
	if err := unix.Statfs(at, &s); err != nil {
		c.Status, c.Found = Warn, fmt.Sprintf("not known: looking at %q: %v", at, err)
		return c
	}
	free := int64(s.Bavail) * int64(s.Bsize) //nolint:unconvert // the fields' types differ between systems; no disk is that large
	c.Status, c.Found = OK, fmt.Sprintf("%s free in %s", words.Bytes(free), dir)
	switch {
	case unix.Access(at, unix.W_OK) != nil:
		c.Status, c.Remedy, c.Breaks = Fail, "make it writable, or choose another place with "+option, "every command that writes there"
		c.Commands = []string{"all", "embed", "linuxkit", "kernel", "plan", "lock", "kit", "images"}
		c.Found = dir + " is not writable"
	case free < leastDisk:
		c.Status, c.Breaks = Fail, "all, embed, linuxkit, kernel"
		c.Remedy = fmt.Sprintf("at least %s are needed: make room there, or choose another place with %s", words.Bytes(leastDisk), option)
		if option == "--cache-dir" {
			c.Remedy += "; `hookbuild cache prune` removes what was not used for long"
		}
		c.Commands = []string{"all", "embed", "linuxkit", "kernel"}
	case free < wantDisk:
		c.Status, c.Remedy = Warn, "less than 20 GB may not be enough to compile a kernel; `hookbuild cache prune` makes room"
	}
	return c
}

// existing returns dir, or the nearest parent that exists.
func existing(dir string) (string, error) {
	at, err := filepath.Abs(dir)
	for ; err == nil; at = filepath.Dir(at) {
		_, err := os.Stat(at)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return at, err
		}
	}
	return "", err
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

// patience is how long a machine with only a boot sector may take.
const patience = 5 * time.Second

func qemu(ctx context.Context, limit time.Duration) Check {
	if err := machine.Try(ctx, "tcg", limit); err != nil {
		return Check{Name: "QEMU", Status: Warn, Found: err.Error(), Remedy: "`hookbuild run` and `hookbuild verify --boot` need it; nothing else does"}
	}
	return Check{Name: "QEMU", Status: OK, Found: "a machine ran its program under emulation"}
}

func kvm(ctx context.Context, limit time.Duration) Check {
	const device = "/dev/kvm"
	c := Check{Name: "KVM"}
	if _, err := os.Stat(device); err != nil {
		c.Status, c.Found, c.Remedy = Warn, "this machine has no "+device, "`hookbuild run` and `hookbuild verify --boot` emulate, which is slower"
		return c
	}
	err := machine.Try(ctx, "kvm", limit)
	switch {
	case err == nil:
		c.Status, c.Found = OK, "a machine ran its program"
	case errors.Is(err, machine.ErrNoProgram):
		c.Status, c.Found = Warn, device+" was not tried, because QEMU is not installed"
	case errors.Is(err, machine.ErrStuck):
		c.Status, c.Found, c.Remedy = Warn, device+" is there, but "+err.Error(), "do not use --accel kvm here: nested virtualisation is off or broken"
	default:
		c.Status, c.Found, c.Remedy = Warn, err.Error(), "`hookbuild run` and `hookbuild verify --boot` emulate, which is slower"
	}
	return c
}
