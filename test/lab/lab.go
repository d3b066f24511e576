// Package lab makes small but real HookOS machines for the demonstration and
// for tests: the container images that the miniature checkout testdata/hook is
// assembled from, Debian's kernels, and a QEMU to boot the result in.
//
//	l, err := lab.Open("")                               // the user's cache directory
//	images, err := l.Images(ctx, "arm64", os.DirFS("testdata/hook"))
//	err = images.Push(ctx, "127.0.0.1:5000/hook/")       // what --hook-dir testdata/hook needs
//	deb, err := l.Kernel(ctx, "arm64")                   // for --kernel deb:FILE
//	console, err := lab.Boot(ctx, lab.Machine{Arch: "arm64", Kernel: "out/hook/vmlinuz-aarch64", ...})
//
// The programs in the images are Debian's (dockerd, containerd, runc, docker,
// busybox), taken out of .deb packages that apt fetches into directories of its
// own; neither root nor Docker is needed, and any architecture can be made on
// any other. Our own are the scripts of testdata/hook and guest/labinit, the
// stand-in for LinuxKit's init.
//
// What was fetched is kept and used again without asking whether it is the
// newest; [Lab.Forget] throws it away. Images are made anew when anything that
// goes into them has changed.
//
// A boot tells what happened on its console in lines that [ParseConsole] reads.
// A further initramfs segment with an executable etc/hookbuild-lab/check.sh is
// run by the machine where dockerd and the docker command are at hand.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Lab is a directory that keeps what was fetched and made. Several processes
// may share it.
type Lab struct {
	dir string
	// Log is told each step that takes time; nil means silence.
	Log func(format string, args ...any)
}

// dirEnv names the variable that says where a lab is kept.
const dirEnv = "HOOKBUILD_LAB_DIR"

// Open returns the lab in dir; "" means $HOOKBUILD_LAB_DIR or else a directory of
// the user's cache.
func Open(dir string) (*Lab, error) {
	if dir == "" {
		dir = os.Getenv(dirEnv)
	}
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("choosing a directory for the lab: %w; set %s", err, dirEnv)
		}
		dir = filepath.Join(cache, "hookbuild-lab")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the lab: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening the lab: %w", err)
	}
	return &Lab{dir: dir}, nil
}

// Forget removes everything that was fetched and made.
func (l *Lab) Forget() error {
	return os.RemoveAll(l.dir)
}

func (l *Lab) logf(format string, args ...any) {
	if l.Log != nil {
		l.Log(format, args...)
	}
}

// locked runs do while no other process does anything under the same name.
func (l *Lab) locked(ctx context.Context, name string, do func(context.Context) error) error {
	lock, err := os.OpenFile(filepath.Join(l.dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("locking the lab: %w", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	if err == nil {
		err = do(ctx)
	}
	return errors.Join(err, lock.Close()) // closing it unlocks it
}

// checkArch refuses what the lab has no recipe for.
func checkArch(arch string) error {
	if _, ok := architectures()[arch]; !ok {
		return fmt.Errorf("the lab makes machines of amd64 and arm64, not of %q", arch)
	}
	return nil
}

// architecture is what differs between the two kinds of machines.
type architecture struct {
	triplet string // Debian's name for the library directory
	qemu    []string
	// kernel are parameters for the kernel. On a busy host an emulated timer
	// may tick too late for the kernel's test of it, which then panics.
	kernel string
}

func architectures() map[string]architecture {
	return map[string]architecture{
		"amd64": {
			triplet: "x86_64-linux-gnu", kernel: "console=ttyS0 no_timer_check",
			// A processor that says it moves strings fast (erms, fsrm) makes the
			// kernel copy byte by byte, which is the slowest way under emulation.
			// QEMU 7.2 now and then spoils the flags at a cmpxchg16b, which kernels
			// use to allocate memory where there is one: a double fault at boot.
			qemu: []string{"qemu-system-x86_64", "-machine", "q35", "-cpu", "max,erms=off,fsrm=off,cx16=off"},
		},
		"arm64": {
			triplet: "aarch64-linux-gnu", kernel: "console=ttyAMA0",
			qemu: []string{"qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57"},
		},
	}
}
