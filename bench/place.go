package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"hookbuild/linuxkit/containers"
	"hookbuild/test/corpus"
	"hookbuild/test/lab"
)

// place is where both sides work: a registry with the seven images and those of
// a miniature HookOS, a bundle, a kernel package, and a HookOS without images.
type place struct {
	*bench
	arch       string
	registry   *corpus.Registry
	containers []containers.Container
	// Files: the kernel's package, the bundle's manifest, and what an
	// initramfs is embedded into, with the kernel that boots it.
	deb, bundle, initramfs, vmlinuz string
}

// openPlace makes the place; the scratch removes it.
func openPlace(ctx context.Context, b *bench) (*place, error) {
	p := &place{bench: b, arch: runtime.GOARCH, bundle: filepath.Join(b.dir, "bundle.yaml")}
	b.say("preparing images, kernel and hookbuild")
	if err := p.copyCheckout(); err != nil {
		return nil, err
	}
	l, err := lab.Open("")
	if err != nil {
		return nil, err
	}
	l.Log = b.say
	if p.deb, err = l.Kernel(ctx, p.arch); err != nil {
		return nil, err
	}
	if err := p.openRegistry(ctx, l); err != nil {
		return nil, err
	}
	if err := p.pushContainers(ctx, l); err != nil {
		return nil, err
	}
	if err := errors.Join(p.writeBundle(), p.compile(ctx)); err != nil {
		return nil, err
	}
	return p, p.buildBase(ctx)
}

// copyCheckout protects the comparison from changes in the checkout: its
// containers are named by the hash of their files.
func (p *place) copyCheckout() error {
	copied := filepath.Join(p.dir, "checkout")
	if err := os.CopyFS(copied, os.DirFS(p.checkout)); err != nil {
		return fmt.Errorf("copying the checkout: %w; choose another with -hook-dir", err)
	}
	p.checkout = copied
	return nil
}

// openRegistry serves the seven images, whose layers the lab keeps between
// runs. They have no zstd layers: Docker before 23.0 cannot pull them.
func (p *place) openRegistry(ctx context.Context, l *lab.Lab) (err error) {
	p.registry, err = corpus.Start(ctx, filepath.Join(l.Dir(), "bench"), corpus.Options{
		Arches: p.arches, Packages: l.Packages, Checker: corpus.BuildChecker(p.dir), GzipOnly: true, Listener: p.moved.wrap,
	})
	if err != nil {
		return err
	}
	p.atEnd(p.registry.Close)
	return nil
}

// base returns the prefix of the references of the HookOS images.
func (p *place) base() string { return p.registry.Addr() + "/hook/" }

func (p *place) pushContainers(ctx context.Context, l *lab.Lab) error {
	checkout := os.DirFS(p.checkout)
	images, err := l.Images(ctx, p.arch, checkout)
	if err != nil {
		return err
	}
	if p.containers, err = containers.List(ctx, checkout, p.base(), p.arch); err != nil {
		return err
	}
	return images.Push(ctx, p.base())
}

func (p *place) writeBundle() error {
	f, err := os.Create(p.bundle)
	if err != nil {
		return err
	}
	return errors.Join(p.registry.Bundle(f, corpus.Actions), f.Close())
}

func (p *place) compile(ctx context.Context) error {
	if p.hookbuild != "" {
		return nil
	}
	p.hookbuild = filepath.Join(p.dir, "hookbuild")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", p.hookbuild, "hookbuild/cmd/hookbuild")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling hookbuild: %w: %s", err, said)
	}
	return nil
}

// buildBase makes the HookOS without images. Its initramfs does not stay next
// to the kernel: Debian's kernel does not say what it can mount, and hookbuild
// embed would refuse to guess; without a kernel it assumes one like HookOS's
// own.
func (p *place) buildBase(ctx context.Context) error {
	out := filepath.Join(p.dir, "base")
	c := p.command(filepath.Join(p.dir, "base-cache"), "linuxkit", p.flavor(), "--hook-dir", p.checkout, "--kernel", "deb:"+p.deb, "--out", out)
	if _, err := c.run(ctx); err != nil {
		return err
	}
	initramfs, vmlinuz, err := artifacts(out)
	if err != nil {
		return err
	}
	p.initramfs, p.vmlinuz = filepath.Join(p.dir, filepath.Base(initramfs)), vmlinuz
	return os.Rename(initramfs, p.initramfs)
}

// packAsReleased compresses the HookOS that images are embedded into as
// build.sh does, because users have releases in that form.
func (p *place) packAsReleased(ctx context.Context) error {
	_, err := script(`zstd -q -d --long=27 -c "$1" | zstd -q -9 -T0 -o "$1.released"; mv "$1.released" "$1"`, p.initramfs).run(ctx)
	return err
}

// artifacts returns the two files in the directory given as --out, under the
// names that EKS Anywhere requests.
func artifacts(out string) (initramfs, vmlinuz string, err error) {
	for name, file := range map[string]*string{"initramfs": &initramfs, "vmlinuz": &vmlinuz} {
		found, err := filepath.Glob(filepath.Join(out, "hook", name+"-*"))
		if err != nil {
			return "", "", err
		}
		found = slices.DeleteFunc(found, func(path string) bool {
			arch := strings.TrimPrefix(filepath.Base(path), name+"-")
			return arch != "x86_64" && arch != "aarch64"
		})
		if len(found) != 1 {
			return "", "", fmt.Errorf("looking for %s in %q: there are %d, not one", name, out, len(found))
		}
		*file = found[0]
	}
	return initramfs, vmlinuz, nil
}

func sizeOf(file string) (int64, error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
