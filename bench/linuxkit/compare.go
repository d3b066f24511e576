package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// measured is the cost and result of one way.
type measured struct {
	build, repack []time.Duration // repack: only for the old way
	size          int64
	sums          [][sha256.Size]byte // distinct
}

// compare runs both ways in turn and prints the table.
func (p *place) compare(ctx context.Context) error {
	if err := p.warmUp(ctx); err != nil {
		return err
	}
	var old, cold, unchanged, level9 measured
	for range p.rounds {
		if err := p.old(ctx, &old); err != nil {
			return err
		}
		if err := p.cold(ctx, &cold); err != nil {
			return err
		}
		if err := p.unchanged(ctx, &unchanged); err != nil {
			return err
		}
		if err := p.cold(ctx, &level9, "--level", "9"); err != nil {
			return err
		}
	}
	table(p.rounds, old, cold, unchanged, level9)
	return nil
}

// warmUp lets each side fetch its images, and hookbuild fill its cache.
func (p *place) warmUp(ctx context.Context) error {
	return errors.Join(p.linuxkitBuild(ctx), p.hookbuildRun(ctx))
}

func (p *place) linuxkitBuild(ctx context.Context) error {
	out := filepath.Join(p.dir, "old")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	return p.command(ctx, p.linuxkit, "build", "--format", "kernel+initrd", "--arch", runtime.GOARCH, "--name", "hook",
		"--cache", filepath.Join(p.dir, "linuxkit"), "--mirror", "docker.io=http://"+p.host, "--dir", out, p.document)
}

// repacking does the same as build.sh, step by step, in its directory.
const repacking = `set -e
rm -rf root repacked.cpio initramfs
mkdir root
gzip -dc hook-initrd.img > initramfs.cpio
(cd root && cpio -idmu --quiet --no-absolute-filenames < ../initramfs.cpio)
(cd root && rdfind -makehardlinks true -deleteduplicates true -makeresultsfile false . > ../rdfind.log)
(cd root && find . | cpio -o -H newc --quiet > ../repacked.cpio)
zstd -q -T0 -9 -o initramfs repacked.cpio
`

func (p *place) old(ctx context.Context, m *measured) error {
	started := time.Now()
	if err := p.linuxkitBuild(ctx); err != nil {
		return err
	}
	built := time.Now()
	if err := p.command(ctx, "sh", "-c", "cd '"+filepath.Join(p.dir, "old")+"'\n"+repacking); err != nil {
		return err
	}
	m.build = append(m.build, built.Sub(started))
	m.repack = append(m.repack, time.Since(built))
	return m.result(filepath.Join(p.dir, "old/initramfs"))
}

func (p *place) hookbuildRun(ctx context.Context, more ...string) error {
	return p.command(ctx, p.hookbuild, append([]string{"linuxkit", "--yaml", p.document, "--name", "new", "--arch", runtime.GOARCH,
		"--cache-dir", filepath.Join(p.dir, "cache"), "--mirror", "docker.io=" + p.host, "--out", p.dir, "--progress", "plain"}, more...)...)
}

// cold removes everything from hookbuild's cache except downloads.
func (p *place) cold(ctx context.Context, m *measured, more ...string) error {
	for _, kind := range []string{"segments", "boot", "reports"} {
		if err := os.RemoveAll(filepath.Join(p.dir, "cache", kind)); err != nil {
			return err
		}
	}
	return p.unchanged(ctx, m, more...)
}

func (p *place) unchanged(ctx context.Context, m *measured, more ...string) error {
	started := time.Now()
	if err := p.hookbuildRun(ctx, more...); err != nil {
		return err
	}
	m.build = append(m.build, time.Since(started))
	architectures := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}
	return m.result(filepath.Join(p.dir, "new", "initramfs-"+architectures[runtime.GOARCH]))
}

// result records the size and the hash of the result.
func (m *measured) result(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	h := sha256.New()
	m.size, err = io.Copy(h, f)
	if sum := [sha256.Size]byte(h.Sum(nil)); !slices.Contains(m.sums, sum) {
		m.sums = append(m.sums, sum)
	}
	return errors.Join(err, f.Close())
}

func (p *place) command(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = p.checkout
	cmd.Env = append(os.Environ(), "HOME="+p.dir)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w\n%s", program, err, said)
	}
	return nil
}

func median[T cmp.Ordered](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func table(rounds int, old, cold, unchanged, level9 measured) {
	build, repack := median(old.build), median(old.repack)
	fmt.Printf("| | time | the old way takes | initramfs | different results in %d runs |\n|---|---|---|---|---|\n", rounds)
	fmt.Printf("| linuxkit build, then repacking | %.2f s + %.2f s | | %.1f MB | %d |\n", build.Seconds(), repack.Seconds(), megabytes(old.size), len(old.sums))
	row := func(name string, m measured) {
		took := median(m.build)
		fmt.Printf("| %s | %.2f s | %.1f times as long | %.1f MB | %d |\n", name, took.Seconds(), float64(build+repack)/float64(took), megabytes(m.size), len(m.sums))
	}
	row("hookbuild linuxkit, only images cached", cold)
	row("hookbuild linuxkit, nothing changed", unchanged)
	row("hookbuild linuxkit --level 9, only images cached", level9)
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
