package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/tarball"
)

// The files at the root of an OCI kernel image.
const (
	ociKernel    = "kernel"
	ociModules   = "kernel.tar"
	ociDTBs      = "dtbs.tar.gz"
	ociSystemMap = "System.map"
	ociConfig    = "config"
)

// The labels of kernel images with the digests of the module sources whose modules are
// in them, and with the key of the choice that their modules are.
const (
	driversLabel = "org.hookbuild.module-sources"
	choiceLabel  = "org.hookbuild.module-choice"
)

// imageSource reads a kernel image from any place that [oci.Client.Image]
// supports. Images that are not in a registry may be named without "image:".
func imageSource() source {
	return source{
		names: []string{"image", "oci", "oci-archive", "docker-archive", "daemon"}, forms: []string{"image:REF"},
		pin: func(ctx context.Context, name, rest string, o OpenOptions) (*Pinned, error) {
			image, err := o.image(ctx, imageSourceName(name, rest))
			return pinnedImage(image), err
		},
		arches: imageArches,
		open: func(ctx context.Context, name, rest string, o OpenOptions) (*Image, error) {
			image, err := o.image(ctx, imageSourceName(name, rest))
			if err != nil {
				return nil, err
			}
			return fromKernelImage(ctx, image, o.Options)
		},
	}
}

// imageSourceName returns what [oci.Client.Image] calls a kernel image.
func imageSourceName(name, rest string) string {
	if name == "image" {
		return rest
	}
	return name + ":" + rest
}

// image finds a kernel image for the wanted architecture. If any architecture
// will do, x86_64 is preferred.
func (o OpenOptions) image(ctx context.Context, src string) (*oci.Image, error) {
	if o.Arch != "" {
		return o.Client.Image(ctx, src, o.platform())
	}
	image, err := o.Client.Image(ctx, src, v1.Platform{OS: "linux", Architecture: "amd64"})
	if err == nil || fault.KindOf(err) != fault.Invalid {
		return image, err
	}
	if other, wrong := o.Client.Image(ctx, src, v1.Platform{OS: "linux", Architecture: "arm64"}); wrong == nil {
		return other, nil
	}
	return nil, err
}

// fromKernelImage reads an OCI kernel image as the HookOS builds make them: kernel and
// kernel.tar at its root, usually dtbs.tar.gz and System.map, and config in
// images that hookbuild built.
func fromKernelImage(ctx context.Context, image *oci.Image, o Options) (*Image, error) {
	m, err := fromOCI(ctx, image, o)
	if err != nil {
		return nil, err
	}
	if err := m.complete(ctx, o); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if err := checkArch(m, image); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func fromOCI(ctx context.Context, image *oci.Image, o Options) (*Image, error) {
	root, err := image.Tree(ctx)
	if err != nil {
		return nil, err
	}
	m := &Image{Modules: &initramfs.Tree{}, DTBs: &initramfs.Tree{}, Source: "image:" + image.Source, Digest: image.Identity().String(), root: root}
	if m.drivers = driversIn(image); image.Config != nil {
		m.choice = image.Config.Config.Labels[choiceLabel]
	}
	if err := m.fillFromParts(ctx, root, o); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// driversIn returns the digests of the module sources whose modules an image has.
func driversIn(image *oci.Image) []string {
	if image.Config == nil {
		return nil
	}
	return strings.Fields(image.Config.Config.Labels[driversLabel])
}

// fillFromParts reads the files of a kernel image.
func (m *Image) fillFromParts(ctx context.Context, root *initramfs.Tree, o Options) error {
	kernel, ok := root.Lookup(ociKernel)
	if !ok || kernel.Type != initramfs.Regular {
		return invalid("reading the kernel %q: it has no file %q at its root, so it is not a kernel image", m.Source, ociKernel)
	}
	m.Kernel = *renamed(kernel, ociKernel)
	m.SystemMap, m.Config = optional(root, ociSystemMap), optional(root, ociConfig)
	if err := m.unpack(ctx, root, ociModules, o, addShipped, m.Modules); err != nil {
		return err
	}
	return m.unpack(ctx, root, ociDTBs, o, addDTB, m.DTBs)
}

func optional(root *initramfs.Tree, name string) *initramfs.Entry {
	e, ok := root.Lookup(name)
	if !ok || e.Type != initramfs.Regular {
		return nil
	}
	return &e
}

// unpack adds the files of the archive called name inside the image to tree. A
// missing or empty archive adds nothing.
func (m *Image) unpack(ctx context.Context, root *initramfs.Tree, name string, o Options, add func(*initramfs.Tree, initramfs.Entry) error, tree *initramfs.Tree) error {
	archive := optional(root, name)
	if archive == nil || archive.Size == 0 {
		return nil
	}
	origin := m.Source + ":" + name
	plain, err := plainTar(ctx, o.Cache, digest.OfStrings("kernel archive v1", m.Digest, name), *archive)
	if err != nil {
		return fmt.Errorf("unpacking %q: %w", origin, err)
	}
	m.files = append(m.files, plain)
	entries, err := tarball.Entries(plain, plain.Size(), origin)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := add(tree, e); err != nil {
			return err
		}
	}
	return nil
}

// plainTar returns the uncompressed archive in e from the cache.
func plainTar(ctx context.Context, c *cache.Cache, key string, e initramfs.Entry) (*cache.File, error) {
	plain, _, err := c.Derived(ctx, "kernels", key, func(w io.Writer) error {
		packed, err := e.Open()
		if err != nil {
			return err
		}
		defer packed.Close()
		r, err := tarball.Decompress(packed)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	})
	return plain, err
}

// addDTB adds a file or directory of a device tree archive to the tree.
func addDTB(t *initramfs.Tree, e initramfs.Entry) error {
	if e.Path == "" {
		return nil
	}
	return t.Add(e)
}

// checkArch compares the image's platform with the kernel in it: an image that
// was built on another machine may claim that machine's platform.
func checkArch(m *Image, image *oci.Image) error {
	if image.Config == nil || image.Config.Architecture == "" || image.Config.Architecture == DockerArch(m.Arch) {
		return nil
	}
	return invalid("reading the kernel image %q: it is labelled %s, but its kernel is for %s; rebuild it with the platform of the target",
		image.Source, image.Config.Architecture, m.Arch)
}

// DockerArch returns an architecture's name in image platforms: "amd64" for
// "x86_64", "arm64" for "aarch64".
func DockerArch(arch string) string {
	switch arch {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return arch
}
