package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hookbuild/kernel/container"
	"hookbuild/test/lab"
)

// place is where both sides work: a checkout with one flavor, and images in the
// machine's Docker Engine.
type place struct {
	options
	dir string
}

// The flavor and the names of images in the Docker Engine.
const (
	flavorID    = "bench-kernel"
	compiler    = "hookbuild-bench/compiler" // both sides compile in it
	withSource  = "hookbuild-bench/source"   // the old way's, the archive on board
	oldKernel   = "hookbuild-bench/kernel"
	repository  = "hookbuild-bench/hook-kernel" // ours
	configFile  = "kernel/configs/bench-6.1.y-x86_64"
	tinyKernel  = "kernel/container/testdata/tiny-x86_64.config"
	flavorsFile = `flavors:
  - {id: bench-kernel, arch: x86_64, series: 6.1, config: bench}
`
)

// oldWay is the layer that does everything. Its archive is in a layer below, so
// that it is neither fetched nor sent.
const oldWay = `FROM hookbuild-bench/source AS build
LABEL hookbuild-bench=
COPY defconfig /
RUN mkdir /linux /out && tar -xf /linux.tar.xz -C /linux --strip-components=1 --no-same-owner \
 && cd /linux && cp /defconfig .config && export ARCH=x86 CROSS_COMPILE=x86_64-linux-gnu- KCFLAGS=-fno-pie \
 && make -s olddefconfig && make -s -j"$(nproc)" bzImage modules \
 && make -s INSTALL_MOD_PATH=/modules INSTALL_MOD_STRIP=1 modules_install \
 && cp arch/x86/boot/bzImage /out/kernel && cp System.map /out && tar -C /modules -cf /out/kernel.tar .
FROM scratch
COPY --from=build /out /
`

func (p *place) prepare(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return fmt.Errorf("%w: install Docker's program", err)
	}
	for _, step := range []func(context.Context) error{p.noteVolumes, p.compile, p.fetchSource, p.writeCheckout, p.buildImages} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// noteVolumes lists the existing volumes.
func (p *place) noteVolumes(ctx context.Context) error {
	return p.command(ctx, nil, "sh", "-c", `docker volume ls -q -f name=hookbuild- >"$1"`, "sh", p.volumes())
}

func (p *place) volumes() string { return filepath.Join(p.dir, "volumes") }

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (p *place) compile(ctx context.Context) error {
	if p.hookbuild != "" {
		return nil
	}
	p.hookbuild = filepath.Join(p.dir, "hookbuild")
	return p.command(ctx, nil, "go", "build", "-trimpath", "-o", p.hookbuild, "hookbuild/cmd/hookbuild")
}

// fetchSource fetches Debian's package of the source.
func (p *place) fetchSource(ctx context.Context) error {
	if p.source != "" {
		return nil
	}
	l, err := lab.Open("")
	if err != nil {
		return err
	}
	l.Log = say
	packages, err := l.Packages(ctx, "amd64", "linux-source-6.1")
	if err != nil {
		return err
	}
	for _, deb := range packages {
		if strings.HasPrefix(filepath.Base(deb), "linux-source-6.1_") {
			p.source = filepath.Join(p.dir, "deb/usr/src/linux-source-6.1.tar.xz")
			return p.command(ctx, nil, "dpkg-deb", "-x", deb, filepath.Join(p.dir, "deb"))
		}
	}
	return fmt.Errorf("finding the kernel's source among %q: Debian has no 6.1 here; use -source FILE", packages)
}

func (p *place) writeCheckout(context.Context) error {
	config, err := os.ReadFile(tinyKernel)
	if err != nil {
		return fmt.Errorf("reading the kernel's configuration: %w; run this in the module's root", err)
	}
	return errors.Join(
		os.MkdirAll(p.checkout("kernel/configs"), 0o755), os.MkdirAll(p.checkout("linuxkit-templates"), 0o755),
		os.WriteFile(p.checkout(configFile), config, 0o644),
		os.WriteFile(p.checkout("kernel/flavors.yaml"), []byte(flavorsFile), 0o644),
	)
}

func (p *place) checkout(name string) string { return filepath.Join(p.dir, "hook", name) }

// buildImages builds the compiling image, and the old way's with the source.
func (p *place) buildImages(ctx context.Context) error {
	say("build the compiling images")
	args := []string{"--build-arg", "BASE=" + p.base, "--build-arg", "COMPILER=gcc-x86-64-linux-gnu"}
	if p.network != "" {
		args = append(args, "--network", p.network)
	}
	if err := p.image(ctx, compiler, container.Dockerfile(), nil, args...); err != nil {
		return err
	}
	return p.image(ctx, withSource, "FROM "+compiler+"\nCOPY linux.tar.xz /\n", map[string]string{"linux.tar.xz": p.source}, "--network", "none")
}

// image has Docker build a Dockerfile, with files next to it under the names
// that it uses.
func (p *place) image(ctx context.Context, tag, dockerfile string, files map[string]string, args ...string) error {
	dir, err := os.MkdirTemp(p.dir, "context-")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		return err
	}
	for name, from := range files {
		if err := p.command(ctx, nil, "cp", from, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	args = append([]string{"build", "-q", "-t", tag}, append(args, dir)...)
	return errors.Join(p.command(ctx, []string{"DOCKER_BUILDKIT=0"}, "docker", args...), os.RemoveAll(dir))
}

// command runs a program and shows its output if it fails.
func (p *place) command(ctx context.Context, env []string, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s %s: %w\n%s", program, strings.Join(args, " "), err, said)
	}
	return nil
}

// close removes what was made in the Docker Engine. The layers of images that
// others share stay.
func (p *place) close() error {
	const script = `docker images -q hookbuild-bench/'*' | sort -u | xargs -r docker rmi -f
docker image prune -f --filter label=hookbuild-bench
docker volume ls -q -f name=hookbuild- | grep -vxFf "$1" | xargs -r docker volume rm`
	return p.command(context.Background(), nil, "sh", "-c", script, "sh", p.volumes())
}
