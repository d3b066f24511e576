// Package container configures and compiles kernels in containers. It uses only
// the Docker API: nothing is bind-mounted, so the engine may be on another
// machine. Inputs and outputs are tar streams. Named volumes keep the unpacked
// source, the objects of each flavor, and ccache's cache, so the next build
// compiles only what changed.
//
// A container's name is its lock: two hookbuilds that work on one flavor use
// the same volumes and therefore the same name, so the second waits. The same
// holds for two that unpack the same archive, which their flavors share.
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
	"sync/atomic"

	"github.com/docker/docker/client"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/kernel/patch"
)

// Options configure how kernels are built.
type Options struct {
	// Engine is the address or the context of the Docker engine; empty means
	// the one that the environment or the current context names.
	Engine string
	// Image is the user's own builder image; empty means the one that
	// hookbuild builds from [Dockerfile].
	Image string
	// Base is the base of hookbuild's own builder image; empty means
	// "debian:stable".
	Base string
	// Pin is the builder image that a lock names, which takes the place of
	// Image and Base; nil means none. Images finds it where the engine lacks
	// it.
	Pin    *Pin
	Images Images
	// Network is the Docker network in which hookbuild's own builder image is
	// built ("host"); empty means the engine's default. Kernels are built
	// without a network.
	Network string
	// Jobs is the number of compilers that run at once; 0 means one per core
	// of the engine.
	Jobs int
	// LogDir receives the complete output of each build. It is created if
	// missing.
	LogDir   string
	Progress progress.Sink
}

// BuilderName says which builder image the options mean, without asking an
// engine.
func (o Options) BuilderName() string {
	switch {
	case o.Pin != nil:
		return o.Pin.Name
	case o.Image != "":
		return o.Image
	case o.Base != "":
		return "built from " + o.Base
	}
	return "built from " + defaultBase
}

// Builder builds kernels with one Docker engine.
type Builder struct {
	o      Options
	docker client.APIClient
	// arch and cores are those of the engine.
	arch  string
	cores int
	// sent holds the volumes into which this builder has copied a directory.
	sent sync.Map

	patience patience
	// gaveUp is set when the engine stayed away for too long.
	gaveUp atomic.Bool
}

// Open connects to the Docker engine that the options name, or else the
// environment or the current context.
func Open(ctx context.Context, o Options) (*Builder, error) {
	docker, err := dockerhost.ConnectTo(ctx, o.Engine)
	if err != nil {
		return nil, fmt.Errorf("building a kernel: %w (without Docker, `hookbuild build` and `hookbuild all` take a kernel from elsewhere: --kernel image:REF, latest, deb:FILE or dir:DIR)", err)
	}
	info, err := docker.Info(ctx)
	if err != nil {
		return nil, outside("asking the Docker engine for its version: %w", err)
	}
	return &Builder{o: o, docker: docker, arch: info.Architecture, cores: info.NCPU, patience: defaultPatience()}, nil
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
	// Patches are applied to the source, in order.
	Patches []*patch.Patch
}

// Source is the location of a kernel's source. Either Archive or Dir is set.
type Source struct {
	// Archive is a tar file, compressed by xz, gzip, bzip2 or zstd, with a
	// single top directory. SHA256 is its checksum in hex.
	Archive, SHA256 string
	// Dir is an unpacked source, which is copied for each build.
	Dir string
}

// id identifies the source's content, or a directory's path.
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

// toolchain holds the differences between the architectures.
type toolchain struct {
	kernelArch string // the kernel's own name
	cross      string // prefix of the compiler's programs
	compiler   string // Debian's package of that compiler
	target     string // make's target of the image
	image      string // the image's path below the objects
}

// toolchainOf returns the toolchain for an architecture that was checked
// before.
func toolchainOf(arch string) (toolchain, error) {
	switch arch {
	case "x86_64":
		return toolchain{"x86", "x86_64-linux-gnu-", "gcc-x86-64-linux-gnu", "bzImage", "arch/x86/boot/bzImage"}, nil
	case "aarch64":
		return toolchain{"arm64", "aarch64-linux-gnu-", "gcc-aarch64-linux-gnu", "Image", "arch/arm64/boot/Image"}, nil
	}
	return toolchain{}, fault.Usagef("building a kernel for %q: only x86_64 and aarch64 are supported", arch)
}

func (b *Builder) jobs() int {
	if b.o.Jobs > 0 {
		return b.o.Jobs
	}
	return max(b.cores, 1)
}

// sourceVolume returns the volume of the source. A directory has one per
// flavor: it is copied for each build, which must not happen during another
// build. So has a patched source, whose files change with the patches.
func (t Target) sourceVolume() string {
	if t.Source.Dir != "" || len(t.Patches) > 0 {
		return "hookbuild-source-" + t.Flavor + "-" + t.Source.id() + t.patched()
	}
	return "hookbuild-source-" + t.Source.id()
}

// patched ends the names of the volumes of patched kernels.
func (t Target) patched() string {
	if len(t.Patches) > 0 {
		return "-patched"
	}
	return ""
}

// PatchesID identifies the patches. It is empty if there are none.
func (t Target) PatchesID() string {
	var all []string
	for _, p := range t.Patches {
		all = append(all, p.Digest)
	}
	return strings.Join(all, " ")
}

// container returns the name of the container that works on the flavor's
// volumes.
func (t Target) container() string { return "hookbuild-" + t.Flavor + "-" + t.Source.id() }

// unpacker returns the name of the container that fills the volume of the
// source.
func (t Target) unpacker() string {
	if t.Source.Dir != "" || len(t.Patches) > 0 {
		return t.container()
	}
	return t.sourceVolume()
}

// volumes returns the target's volumes by mount point.
func (t Target) volumes() map[string]string {
	return map[string]string{
		"/src":    t.sourceVolume(),
		"/obj":    "hookbuild-objects-" + t.Flavor + "-" + t.Source.id() + t.patched(),
		"/ccache": "hookbuild-ccache",
	}
}

// environment returns the variables that are set in all containers for the
// target.
func (b *Builder) environment(tools toolchain) []string {
	return []string{
		"ARCH=" + tools.kernelArch, "CROSS_COMPILE=" + tools.cross,
		"KERNEL_TARGET=" + tools.target, "KERNEL_IMAGE=" + tools.image,
		"KBUILD_BUILD_USER=hook", "KBUILD_BUILD_HOST=tinkerbell", "KCFLAGS=-fno-pie",
		// The #1 in the kernel's version string. By default the kernel counts
		// the links in the objects' directory, so a kernel that was rebuilt
		// there would differ from one that was built once.
		"KBUILD_BUILD_VERSION=1",
		fmt.Sprintf("JOBS=%d", b.jobs()),
		"CCACHE_DIR=/ccache", "CCACHE_MAXSIZE=5G",
	}
}

// outside returns an error about Docker.
func outside(format string, args ...any) error {
	return fault.Outsidef(format, args...)
}

// engineArch returns the engine's architecture by the name that targets use.
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
