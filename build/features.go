package build

import (
	"context"
	"strings"

	"hookbuild/embed"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/squashfs"
	"hookbuild/kernel"
)

// decompressor names the option by which a kernel reads an initramfs of the
// compression; "" where it needs none.
func decompressor(c initramfs.Compression) string {
	switch c {
	case initramfs.Zstd:
		return "CONFIG_RD_ZSTD"
	case initramfs.Gzip:
		return "CONFIG_RD_GZIP"
	}
	return ""
}

// need says what capabilities must find in a kernel.
type need struct {
	// initramfs is how the archives are compressed.
	initramfs initramfs.Compression
	// store reports whether images are embedded, layers how their squashfs was
	// asked to be compressed; empty leaves the choice to package embed.
	store  bool
	layers squashfs.Compression
}

// capabilities reads from the kernel what an embedded store may rely on. It
// refuses a compression of the initramfs that the kernel cannot unpack.
func (b *Builder) capabilities(ctx context.Context, k *kernel.Image, n need) (embed.Capabilities, error) {
	features, err := k.Features(ctx)
	if err != nil {
		return embed.Capabilities{}, err
	}
	if option := decompressor(n.initramfs); option != "" {
		switch features.Option(option) {
		case kernel.Missing:
			return embed.Capabilities{}, fault.Invalidf("choosing the compression %s for %s: %s, so it could not boot; give another --compression", n.initramfs, k, features.Explain(option))
		case kernel.Unknown:
			progress.Warnf(b.Progress, "%s; if it does not boot, give another --compression", features.Explain(option))
		}
	}
	return b.storeCapabilities(features, n), nil
}

// storeCapabilities reads what a store needs. An option that the kernel does not
// tell of is assumed to be built in, with a warning: nearly all kernels have
// them. Zstd is the exception, because few kernels read it: it is assumed only
// where the user asked for it.
func (b *Builder) storeCapabilities(features *kernel.Features, n need) embed.Capabilities {
	var unknown []string
	has := func(option string) embed.Support {
		if features.Option(option) == kernel.Unknown {
			unknown = append(unknown, option)
			return embed.BuiltIn
		}
		return support(features, option)
	}
	hasIfAsked := func(c squashfs.Compression, option string) bool {
		if n.layers == c {
			return has(option) != embed.Missing
		}
		return features.Option(option).Present()
	}
	can := embed.Capabilities{
		Squashfs:      has("CONFIG_SQUASHFS"),
		Loop:          has("CONFIG_BLK_DEV_LOOP"),
		Overlay:       has("CONFIG_OVERLAY_FS"),
		SquashfsXattr: has("CONFIG_SQUASHFS_XATTR") != embed.Missing,
		SquashfsGzip:  has("CONFIG_SQUASHFS_ZLIB") != embed.Missing,
		SquashfsXZ:    hasIfAsked(squashfs.XZ, "CONFIG_SQUASHFS_XZ"),
		SquashfsZstd:  hasIfAsked(squashfs.Zstd, "CONFIG_SQUASHFS_ZSTD"),
	}
	if n.store && len(unknown) > 0 {
		progress.Warnf(b.Progress, "whether the kernel has %s, which the images need, is not known: it carries no configuration; assuming that it has", strings.Join(unknown, ", "))
	}
	return can
}

func support(f *kernel.Features, option string) embed.Support {
	switch f.Option(option) {
	case kernel.BuiltIn:
		return embed.BuiltIn
	case kernel.Module:
		return embed.Module
	}
	return embed.Missing
}
