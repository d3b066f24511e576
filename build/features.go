package build

import (
	"context"
	"fmt"

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

// capabilities reads from the kernel what the store may rely on, and refuses a
// compression that the kernel would not boot from.
func (b *Builder) capabilities(ctx context.Context, k *kernel.Image, c initramfs.Compression) (embed.Capabilities, error) {
	features, err := k.Features(ctx)
	if err != nil {
		return embed.Capabilities{}, err
	}
	if option := decompressor(c); option != "" {
		switch features.Option(option) {
		case kernel.Missing:
			return embed.Capabilities{}, fault.Mark(fmt.Errorf("choosing the compression %s for %s: %s, so it could not boot; give another --compression", c, k, features.Explain(option)), fault.Invalid)
		case kernel.Unknown:
			progress.Warnf(b.Progress, "%s; if it does not boot, give another --compression", features.Explain(option))
		}
	}
	return embed.Capabilities{
		Squashfs:      support(features, "CONFIG_SQUASHFS"),
		Loop:          support(features, "CONFIG_BLK_DEV_LOOP"),
		Overlay:       support(features, "CONFIG_OVERLAY_FS"),
		SquashfsXattr: features.Option("CONFIG_SQUASHFS_XATTR").Present(),
		SquashfsGzip:  features.Option("CONFIG_SQUASHFS_ZLIB").Present(),
		SquashfsXZ:    features.Option("CONFIG_SQUASHFS_XZ").Present(),
		SquashfsZstd:  features.Option("CONFIG_SQUASHFS_ZSTD").Present(),
	}, nil
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
