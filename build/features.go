package build

import (
	"context"
	"strings"

	"hookbuild/embed"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
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

// capabilities reads from the kernel what the store, if there is to be one, may
// rely on, and refuses a compression that the kernel would not boot from.
func (b *Builder) capabilities(ctx context.Context, k *kernel.Image, c initramfs.Compression, stores bool) (embed.Capabilities, error) {
	features, err := k.Features(ctx)
	if err != nil {
		return embed.Capabilities{}, err
	}
	if option := decompressor(c); option != "" {
		switch features.Option(option) {
		case kernel.Missing:
			return embed.Capabilities{}, fault.Invalidf("choosing the compression %s for %s: %s, so it could not boot; give another --compression", c, k, features.Explain(option))
		case kernel.Unknown:
			progress.Warnf(b.Progress, "%s; if it does not boot, give another --compression", features.Explain(option))
		}
	}
	return b.storeCapabilities(features, stores), nil
}

// storeCapabilities reads what a store needs. A kernel that carries neither its
// configuration nor lists of modules is taken for one like others: nearly all
// have these options. Of the other decompressors only what is known is used.
func (b *Builder) storeCapabilities(features *kernel.Features, stores bool) embed.Capabilities {
	var unknown []string
	has := func(option string) embed.Support {
		if features.Option(option) == kernel.Unknown {
			unknown = append(unknown, option)
			return embed.BuiltIn
		}
		return support(features, option)
	}
	can := embed.Capabilities{
		Squashfs:      has("CONFIG_SQUASHFS"),
		Loop:          has("CONFIG_BLK_DEV_LOOP"),
		Overlay:       has("CONFIG_OVERLAY_FS"),
		SquashfsXattr: has("CONFIG_SQUASHFS_XATTR") != embed.Missing,
		SquashfsGzip:  has("CONFIG_SQUASHFS_ZLIB") != embed.Missing,
		SquashfsXZ:    features.Option("CONFIG_SQUASHFS_XZ").Present(),
		SquashfsZstd:  features.Option("CONFIG_SQUASHFS_ZSTD").Present(),
	}
	if stores && len(unknown) > 0 {
		progress.Warnf(b.Progress, "the kernel does not tell if it has %s, which the images need: it is taken for granted", strings.Join(unknown, ", "))
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
