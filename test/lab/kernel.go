package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Kernel returns the file of Debian's cloud kernel package, which boots in QEMU
// in two seconds.
func (l *Lab) Kernel(ctx context.Context, arch string) (string, error) {
	if err := checkArch(arch); err != nil {
		return "", err
	}
	meta := "linux-image-cloud-" + arch
	dir, list, err := l.debs(ctx, "kernel", arch, func(ctx context.Context, a apt) ([]string, error) {
		names, err := a.closure(ctx, meta)
		// The closure holds the meta package, the kernel and the tools.
		return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, "linux-image-") || n == meta }), err
	})
	if err != nil {
		return "", err
	}
	if len(list) != 1 {
		return "", fmt.Errorf("choosing a kernel for %s: %d packages fit; Debian has changed their names", arch, len(list))
	}
	return filepath.Join(dir, list[0].File), nil
}

// Vmlinuz returns the bare kernel of [Lab.Kernel]'s package, for [Machine.Kernel].
func (l *Lab) Vmlinuz(ctx context.Context, arch string) (string, error) {
	deb, err := l.Kernel(ctx, arch)
	if err != nil {
		return "", err
	}
	vmlinuz := filepath.Join(filepath.Dir(deb), "vmlinuz")
	err = l.locked(ctx, "vmlinuz-"+arch, func(ctx context.Context) error {
		if _, err := os.Stat(vmlinuz); err == nil {
			return nil
		}
		return l.takeVmlinuz(ctx, deb, vmlinuz)
	})
	if err != nil {
		return "", fmt.Errorf("taking the kernel out of %q: %w", deb, err)
	}
	return vmlinuz, nil
}

func (l *Lab) takeVmlinuz(ctx context.Context, deb, vmlinuz string) (err error) {
	work, err := os.MkdirTemp(l.dir, "making-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, work).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, tail(string(out)))
	}
	found, err := filepath.Glob(filepath.Join(work, "boot/vmlinuz-*"))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("it has %d files boot/vmlinuz-*", len(found))
	}
	return os.Rename(found[0], vmlinuz)
}
