package machine

import (
	"bytes"
	"context"
	_ "embed" // for the trial
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"hookbuild/internal/fault"
)

// exitDevice makes QEMU exit with the code value<<1|1 when a value is written
// to its port.
const exitDevice = "isa-debug-exit,iobase=0xf4,iosize=0x04"

// trial is the program of a boot sector that does what every kernel does first: it
// enters 64-bit mode with page tables, writes to megabytes of memory and waits for the
// timer's interrupts. Then it writes 0x10 to the port 0xf4. Its source is trial/boot.s.
//
//go:embed trial/boot.bin
var trial []byte

// trialCode is QEMU's exit code for that.
const trialCode = 0x10<<1 | 1

// ErrStuck is wrapped by the error about a machine that starts but does not run
// its program.
var ErrStuck = errors.New("a machine starts, but does not run")

// ErrNoProgram is wrapped by the error of [Try] without QEMU.
var ErrNoProgram = errors.New("its program is not installed")

// Try boots a machine with only a boot sector on this host's processor with the
// accelerator, and returns how long that took; 0 and an error if it took longer than limit.
// Its program does in little what a kernel does, so it proves what the presence of a
// device such as /dev/kvm only suggests.
func Try(ctx context.Context, accel string, limit time.Duration) (took time.Duration, err error) {
	k := kinds()["x86_64"]
	program, err := exec.LookPath(k.program)
	if err != nil {
		return 0, fault.Outsidef("trying QEMU: %w: %s, which Debian has in the package %s", ErrNoProgram, k.program, k.debian)
	}
	dir, err := os.MkdirTemp("", "hookbuild-try-")
	if err != nil {
		return 0, fmt.Errorf("trying QEMU: %w", err)
	}
	begun := time.Now()
	err = try(ctx, program, accel, filepath.Join(dir, "disk"), limit)
	took = time.Since(begun)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return 0, err
	}
	return took, nil
}

// TryKVM is [Try] with KVM, if that is of use: where a hypervisor lacks nested
// virtualisation, KVM may run a short program and yet be many times slower than
// emulation. So KVM may take half as long again as emulated, which is how long Try with
// "tcg" took, or leastTrial, and never more than limit. Because a busy host may be late,
// it has three attempts. Without that time (0), limit alone counts.
func TryKVM(ctx context.Context, emulated, limit time.Duration) (took time.Duration, err error) {
	if emulated <= 0 {
		return Try(ctx, "kvm", limit)
	}
	most := min(limit, max(leastTrial, emulated*3/2))
	for range 3 {
		if took, err = Try(ctx, "kvm", most); !errors.Is(err, ErrStuck) {
			return took, err
		}
	}
	if most < limit {
		err = fmt.Errorf("%w; emulated, the same takes %.1fs", err, emulated.Seconds())
	}
	return 0, err
}

// leastTrial is what a trial may take however fast emulation is: a program that starts
// is not equally fast each time.
const leastTrial = 600 * time.Millisecond

func try(ctx context.Context, program, accel, disk string, limit time.Duration) error {
	const sector = 512
	boot := append(bytes.Clone(trial), make([]byte, sector-len(trial))...)
	boot[sector-2], boot[sector-1] = 0x55, 0xaa
	if err := os.WriteFile(disk, boot, 0o600); err != nil {
		return fmt.Errorf("trying QEMU: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := []string{"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
		"-machine", "pc", "-accel", accel, "-m", "16", "-device", exitDevice, "-drive", "format=raw,file=" + disk}
	if accel == "kvm" {
		args = append(args, "-cpu", "host") // as Machine does
	}
	cmd := exec.CommandContext(limited, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("trying QEMU with the accelerator %s: %w within %s", accel, ErrStuck, limit.Round(10*time.Millisecond))
	case errors.As(err, &exit) && exit.ExitCode() == trialCode:
		return nil
	case err == nil:
		return fmt.Errorf("trying QEMU with the accelerator %s: the machine ended without running its program", accel)
	}
	text := strings.TrimSpace(string(said))
	if accel == "kvm" && strings.Contains(text, "Permission denied") {
		return fault.Outsidef("trying QEMU with the accelerator kvm: %s", deniedKVM)
	}
	return fmt.Errorf("trying QEMU with the accelerator %s: %w: %s", accel, err, text)
}

const (
	kvmDevice = "/dev/kvm"
	noKVM     = "this host has no " + kvmDevice
	deniedKVM = "this user may not open " + kvmDevice + "; add it to the group kvm and log in again"
)

// instead is the remedy where an accelerator is of no use.
const instead = "use tcg, which emulates the processor"

// hostArch returns this host's architecture in [Machine]'s words.
func hostArch() string {
	if arch, ok := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]; ok {
		return arch
	}
	return runtime.GOARCH
}

// CheckAccel returns an error if name, which may have options of QEMU after a comma, is
// not an accelerator that QEMU can use on this host for a machine of arch; "" is one
// of this host's architecture.
func CheckAccel(name, arch string) error {
	accel, _, options := strings.Cut(name, ",")
	known := []string{"auto", "tcg", "kvm", "hvf"}
	switch {
	case !slices.Contains(known, accel):
		return fault.Usagef("%q is not one of %s", name, strings.Join(known, ", "))
	case accel == "auto" && options:
		return fault.Usagef("%q: auto takes no options; give them with the name of an accelerator", name)
	case accel == "hvf" && runtime.GOOS != "darwin":
		return fault.Usagef("%q is only on macOS; use auto", name)
	case (accel == "kvm" || accel == "hvf") && arch != "" && arch != hostArch():
		return fault.Usagef("%s: it runs machines of this host's architecture, %s, and this one is of %s; %s", accel, hostArch(), arch, instead)
	case accel == "kvm":
		return checkKVM(kvmDevice)
	}
	return nil
}

// checkKVM returns an error if this user cannot open KVM's device.
func checkKVM(device string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrPermission):
		return fault.Outsidef("kvm: %s, or %s", deniedKVM, instead)
	case errors.Is(err, fs.ErrNotExist):
		return fault.Outsidef("kvm: %s; %s", noKVM, instead)
	}
	return fault.Outsidef("kvm: %w; %s", err, instead)
}

// TryLimit is how long a machine with only a boot sector may take.
const TryLimit = 5 * time.Second

// ChooseAccel returns the accelerator for machines of arch on this host. "auto"
// becomes "kvm" if [TryKVM] finds it of use, else "tcg", and why says why kvm is
// not used. Other names are returned unchanged.
func ChooseAccel(ctx context.Context, want, arch string) (accel, why string, err error) {
	if want != "auto" {
		return want, "", nil
	}
	if runtime.GOARCH != "amd64" || arch != "x86_64" {
		return "tcg", "kvm is tried for x86_64 on x86_64 only", nil
	}
	if _, err := os.Stat(kvmDevice); err != nil {
		return "tcg", noKVM, nil //nolint:nilerr // a device that cannot be seen is the reason
	}
	emulated, failed := Try(ctx, "tcg", TryLimit)
	_, err = TryKVM(ctx, emulated, TryLimit)
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case errors.Is(err, ErrStuck) && failed != nil:
		return "tcg", fmt.Sprintf("%v, and nothing is known to compare that with: %v", err, failed), nil
	case err != nil:
		return "tcg", err.Error(), nil //nolint:nilerr // the reason for not using KVM, not a fault
	}
	return "kvm", "", nil
}
