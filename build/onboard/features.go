package onboard

import (
	"context"
	"slices"
	"strings"

	"hookbuild/embed"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/squashfs"
	"hookbuild/kernel"
)

// decompressor returns the option that a kernel needs to unpack an initramfs of
// the compression, or "" if it needs none.
func decompressor(c initramfs.Compression) string {
	switch c {
	case initramfs.Zstd:
		return "CONFIG_RD_ZSTD"
	case initramfs.Gzip:
		return "CONFIG_RD_GZIP"
	}
	return ""
}

// Need describes what [Capabilities] looks for in a kernel.
type Need struct {
	// Initramfs is the compression of the archives.
	Initramfs initramfs.Compression
	// Store reports whether images are embedded. Layers is the requested
	// compression of their squashfs; if it is empty, package embed chooses.
	Store  bool
	Layers squashfs.Compression
	// Read are compressions of archives that the kernel is known to unpack.
	Read []initramfs.Compression
}

// recordedOptions returns the options that [RecordOptions] records: all that
// [Capabilities] looks for.
func recordedOptions() []string {
	return []string{
		"CONFIG_RD_GZIP", "CONFIG_RD_ZSTD", "CONFIG_SQUASHFS", "CONFIG_SQUASHFS_XATTR", "CONFIG_SQUASHFS_ZLIB", "CONFIG_SQUASHFS_XZ", "CONFIG_SQUASHFS_ZSTD",
		"CONFIG_BLK_DEV_LOOP", "CONFIG_OVERLAY_FS",
	}
}

// RecordOptions returns the values of the options that [Capabilities] looks for, or
// nil for a kernel that has no configuration next to it: of a vmlinuz with its own
// they can always be read.
func RecordOptions(ctx context.Context, k *kernel.Image) (map[string]string, error) {
	if k.Config == nil {
		return nil, nil
	}
	features, err := k.Features(ctx)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, option := range recordedOptions() {
		values[option] = map[kernel.State]string{kernel.BuiltIn: "y", kernel.Module: "m", kernel.Missing: "n"}[features.Option(option)]
	}
	return values, nil
}

// UseRecord makes the values that [RecordOptions] returned for a kernel its
// configuration.
func UseRecord(k *kernel.Image, values map[string]string) {
	var text strings.Builder
	for _, option := range recordedOptions() {
		if v := values[option]; v == "y" || v == "m" {
			text.WriteString(option + "=" + v + "\n")
		}
	}
	config := initramfs.BytesFile("config", []byte(text.String()), initramfs.Epoch())
	k.Config = &config
}

// Capabilities returns the features of the kernel that an embedded store may rely
// on. It returns an error if the kernel cannot unpack the compression of the
// initramfs. It warns sink, which may be nil, of options that are not known.
func Capabilities(ctx context.Context, k *kernel.Image, n Need, sink progress.Sink) (embed.Capabilities, error) {
	features, err := k.Features(ctx)
	if err != nil {
		return embed.Capabilities{}, err
	}
	if option := decompressor(n.Initramfs); option != "" {
		switch features.Option(option) {
		case kernel.Missing:
			return embed.Capabilities{}, fault.Invalidf("choosing the compression %s for %s: %s, so it could not boot; choose another --compression", n.Initramfs, k, features.Explain(option))
		case kernel.Unknown:
			if slices.Contains(n.Read, n.Initramfs) {
				break
			}
			progress.Warnf(sink, "%s; if it does not boot, choose another --compression", features.Explain(option))
		}
	}
	return storeCapabilities(features, n, sink), nil
}

// storeCapabilities returns the features that a store needs. If it is not known
// whether the kernel has an option, storeCapabilities assumes that it is built in,
// as in nearly all kernels, and warns. It assumes XZ and zstd, which fewer kernels
// read, only if the user asked for them.
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
		progress.Warnf(sink, "the images need %s, and it is not known whether the kernel has them, because it carries no configuration; assuming that it does", strings.Join(unknown, ", "))
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
