package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"hookbuild/internal/fault"
)

// exitDevice makes QEMU exit with the code value<<1|1 when a value is written
// to its port.
const exitDevice = "isa-debug-exit,iobase=0xf4,iosize=0x04"

// proof returns a boot sector that writes 0x10 to the port 0xf4 and halts:
//
//	mov al, 0x10
//	out 0xf4, al
//	hlt
//
// proofCode is the resulting exit code of QEMU.
func proof() []byte { return []byte{0xb0, 0x10, 0xe6, 0xf4, 0xf4} }

const proofCode = 0x10<<1 | 1

// ErrStuck is wrapped by the error about a machine that starts but does not run
// its program.
var ErrStuck = errors.New("a machine starts, but does not run")

// ErrNoProgram is wrapped by the error of [Try] without QEMU.
var ErrNoProgram = errors.New("its program is not installed")

// Try boots a machine with only a boot sector on this host's processor with the
// accelerator, and returns nil if its program ran within limit. It proves what
// the presence of a device such as /dev/kvm only suggests.
func Try(ctx context.Context, accel string, limit time.Duration) error {
	k := kinds()["x86_64"]
	program, err := exec.LookPath(k.program)
	if err != nil {
		return fault.Outsidef("trying QEMU: %w: %s, which Debian has in the package %s", ErrNoProgram, k.program, k.debian)
	}
	dir, err := os.MkdirTemp("", "hookbuild-try-")
	if err != nil {
		return fmt.Errorf("trying QEMU: %w", err)
	}
	err = try(ctx, program, accel, filepath.Join(dir, "disk"), limit)
	return errors.Join(err, os.RemoveAll(dir))
}

func try(ctx context.Context, program, accel, disk string, limit time.Duration) error {
	const sector = 512
	boot := append(proof(), make([]byte, sector-len(proof()))...)
	boot[sector-2], boot[sector-1] = 0x55, 0xaa
	if err := os.WriteFile(disk, boot, 0o600); err != nil {
		return fmt.Errorf("trying QEMU: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, program, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
		"-machine", "pc", "-accel", accel, "-m", "16", "-device", exitDevice, "-drive", "format=raw,file="+disk)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("trying QEMU with the accelerator %s: %w within %s", accel, ErrStuck, limit)
	case errors.As(err, &exit) && exit.ExitCode() == proofCode:
		return nil
	case err == nil:
		return fmt.Errorf("trying QEMU with the accelerator %s: the machine ended without running its program", accel)
	}
	text := strings.TrimSpace(string(said))
	if accel == "kvm" && strings.Contains(text, "Permission denied") {
		return fault.Outsidef("trying QEMU with the accelerator kvm: this user may not open /dev/kvm; add it to the group kvm and log in again")
	}
	return fmt.Errorf("trying QEMU with the accelerator %s: %w: %s", accel, err, text)
}

// tryLimit is how long a machine with only a boot sector may take.
const tryLimit = 5 * time.Second

// ChooseAccel returns the accelerator for machines of arch on this host. "auto"
// becomes "kvm" if a machine runs with it, else "tcg", and why says why kvm is
// not used. Other names are returned unchanged.
func ChooseAccel(ctx context.Context, want, arch string) (accel, why string, err error) {
	if want != "auto" {
		return want, "", nil
	}
	const device = "/dev/kvm"
	if runtime.GOARCH != "amd64" || arch != "x86_64" {
		return "tcg", "kvm is tried for x86_64 on x86_64 only", nil
	}
	if _, err := os.Stat(device); err != nil {
		return "tcg", "this host has no " + device, nil //nolint:nilerr // a device that cannot be seen is the reason
	}
	err = Try(ctx, "kvm", tryLimit)
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case err != nil:
		return "tcg", err.Error(), nil //nolint:nilerr // the reason for not using KVM, not a fault
	}
	return "kvm", "", nil
}
