// Package container configures and compiles kernels in containers, through the
// Docker API alone: nothing is bind-mounted, so that the engine may be on
// another machine. What goes in and out are tar streams; what stays are named
// volumes: the unpacked source, the objects of each flavor, and ccache's cache.
// The next build compiles only what changed.
//
// A container's name is its lock: two hookbuilds that work on one flavor have
// the same volumes and therefore the same name, and the second waits. So do two
// that unpack one archive, which their flavors share.
package container

import (
	"context"
	"crypto/sha256"
	_ "embed" // the scripts that run in the container
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/docker/docker/client"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// Options say how kernels are built.
type Options struct {
	// Image is a builder image of the site's own; empty means the one that
	// hookbuild builds from [Dockerfile].
	Image string
	// Base is the base of hookbuild's own builder image; empty means
	// "debian:stable".
	Base string
	// Network is the Docker network that the own builder image is built in
	// ("host"); empty means the engine's default. Kernels are built without a
	// network.
	Network string
	// Jobs is how many compilers run at once; 0 means one for each of the
	// engine's cores.
	Jobs int
	// LogDir gets the complete output of each build; it is made when missing.
	LogDir   string
	Progress progress.Sink
}

// Builder builds kernels with one Docker engine.
type Builder struct {
	o      Options
	docker client.APIClient
	// arch and cores are the engine's.
	arch  string
	cores int
	// sent has the volumes that this builder has copied a directory into.
	sent sync.Map
}

// Open connects to the Docker engine that the environment or the current
// context names.
func Open(ctx context.Context, o Options) (*Builder, error) {
	docker, err := dockerhost.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("building a kernel: %w (without Docker, kernels come by --kernel image:REF, latest, deb:FILE or dir:DIR)", err)
	}
	info, err := docker.Info(ctx)
	if err != nil {
		return nil, outside("asking the Docker engine what it is: %w", err)
	}
	return &Builder{o: o, docker: docker, arch: info.Architecture, cores: info.NCPU}, nil
}

// Close ends the connection.
func (b *Builder) Close() error { return b.docker.Close() }

// Target is a kernel to configure or compile.
type Target struct {
	// Flavor names the volume with the objects.
	Flavor string
	// Arch is "x86_64" or "aarch64".
	Arch string
	// Source is the kernel's source.
	Source Source
	// Defconfig is the configuration, a defconfig or a whole .config.
	Defconfig []byte
}

// Source is where a kernel's source is. One of Archive and Dir is set.
type Source struct {
	// Archive is a tar file, compressed by xz, gzip, bzip2 or zstd, with one
	// directory at its top; SHA256 is its checksum in hex.
	Archive, SHA256 string
	// Dir is an unpacked source, which is copied for each build.
	Dir string
}

// id names the source's content, or for a directory its place.
func (s Source) id() string {
	if s.Dir != "" {
		return "dir-" + shortHash(s.Dir)
	}
	return s.SHA256[:min(len(s.SHA256), 12)]
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// toolchain holds what differs between the architectures.
type toolchain struct {
	kernelArch string // the kernel's own name
	cross      string // prefix of the compiler's programs
	compiler   string // Debian's package of that compiler
	target     string // make's target of the image
	image      string // the image's path below the objects
}

// toolchainOf is called with checked architectures only.
func toolchainOf(arch string) (toolchain, error) {
	switch arch {
	case "x86_64":
		return toolchain{"x86", "x86_64-linux-gnu-", "gcc-x86-64-linux-gnu", "bzImage", "arch/x86/boot/bzImage"}, nil
	case "aarch64":
		return toolchain{"arm64", "aarch64-linux-gnu-", "gcc-aarch64-linux-gnu", "Image", "arch/arm64/boot/Image"}, nil
	}
	return toolchain{}, fault.Usagef("building a kernel for %q: only x86_64 and aarch64 are known", arch)
}

func (b *Builder) jobs() int {
	if b.o.Jobs > 0 {
		return b.o.Jobs
	}
	return max(b.cores, 1)
}

// sourceVolume names the volume of the source. A directory's is the flavor's own:
// it is copied for each build, which must not happen during another's.
func (t Target) sourceVolume() string {
	if t.Source.Dir != "" {
		return "hookbuild-source-" + t.Flavor + "-" + t.Source.id()
	}
	return "hookbuild-source-" + t.Source.id()
}

// container names what works on the flavor's volumes.
func (t Target) container() string { return "hookbuild-" + t.Flavor + "-" + t.Source.id() }

// unpacker names what fills the volume of the source.
func (t Target) unpacker() string {
	if t.Source.Dir != "" {
		return t.container()
	}
	return t.sourceVolume()
}

// volumes names the target's volumes by where they are mounted.
func (t Target) volumes() map[string]string {
	return map[string]string{
		"/src":    t.sourceVolume(),
		"/obj":    "hookbuild-objects-" + t.Flavor + "-" + t.Source.id(),
		"/ccache": "hookbuild-ccache",
	}
}

// environment is set in all containers for the target.
func (b *Builder) environment(tools toolchain) []string {
	return []string{
		"ARCH=" + tools.kernelArch, "CROSS_COMPILE=" + tools.cross,
		"KERNEL_TARGET=" + tools.target, "KERNEL_IMAGE=" + tools.image,
		"KBUILD_BUILD_USER=hook", "KBUILD_BUILD_HOST=tinkerbell", "KCFLAGS=-fno-pie",
		// The #1 in the kernel's version string. By default the kernel counts
		// the links in the objects' directory, so that a kernel that was built
		// there again would differ from one that was built once.
		"KBUILD_BUILD_VERSION=1",
		fmt.Sprintf("JOBS=%d", b.jobs()),
		"CCACHE_DIR=/ccache", "CCACHE_MAXSIZE=5G",
	}
}

// outside marks an error as Docker's.
func outside(format string, args ...any) error {
	return fault.Outsidef(format, args...)
}

// engineArch names the engine's architecture as targets do.
func engineArch(arch string) string {
	switch strings.ToLower(arch) {
	case "x86_64", "amd64":
		return "x86_64"
	case "aarch64", "arm64":
		return "aarch64"
	case "":
		return runtime.GOARCH
	}
	return arch
}
