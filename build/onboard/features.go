package onboard

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

// Need says what [Capabilities] must find in a kernel.
type Need struct {
	// Initramfs is how the archives are compressed.
	Initramfs initramfs.Compression
	// Store reports whether images are embedded, Layers how their squashfs was
	// asked to be compressed; empty leaves the choice to package embed.
	Store  bool
	Layers squashfs.Compression
}

// Capabilities reads from the kernel what an embedded store may rely on. It
// refuses a compression of the initramfs that the kernel cannot unpack. Options
// that are not known are reported to sink, which may be nil.
func Capabilities(ctx context.Context, k *kernel.Image, n Need, sink progress.Sink) (embed.Capabilities, error) {
	features, err := k.Features(ctx)
	if err != nil {
		return embed.Capabilities{}, err
	}
	if option := decompressor(n.Initramfs); option != "" {
		switch features.Option(option) {
		case kernel.Missing:
			return embed.Capabilities{}, fault.Invalidf("choosing the compression %s for %s: %s, so it could not boot; give another --compression", n.Initramfs, k, features.Explain(option))
		case kernel.Unknown:
			progress.Warnf(sink, "%s; if it does not boot, give another --compression", features.Explain(option))
		}
	}
	return storeCapabilities(features, n, sink), nil
}

// storeCapabilities reads what a store needs. An option that the kernel does not
// tell of is assumed to be built in, with a warning: nearly all kernels have
// them. Zstd is the exception, because few kernels read it: it is assumed only
// where the user asked for it.
func storeCapabilities(features *kernel.Features, n Need, sink progress.Sink) embed.Capabilities {
	var unknown []string
	has := func(option string) embed.Support {
		if features.Option(option) == kernel.Unknown {
			unknown = append(unknown, option)
			return embed.BuiltIn
		}
		return support(features, option)
	}
	hasIfAsked := func(c squashfs.Compression, option string) bool {
		if n.Layers == c {
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
	if n.Store && len(unknown) > 0 {
		progress.Warnf(sink, "whether the kernel has %s, which the images need, is not known: it carries no configuration; assuming that it has", strings.Join(unknown, ", "))
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
