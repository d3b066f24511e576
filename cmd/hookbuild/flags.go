package main

import (
	"github.com/urfave/cli/v2"

	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/squashfs"
)

// The flags that several commands share, by what they are about.

func concat(groups ...[]cli.Flag) []cli.Flag {
	var all []cli.Flag
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// hookFlags say what a HookOS is made of.
func hookFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "kernel", Usage: "`latest`, build, image:REF, deb:FILE or dir:DIR (default: the published one with the checkout's configuration, of a pinned release if there is one)"},
		&cli.StringFlag{Name: "template", Usage: "the template's `NAME` in linuxkit-templates/, in the place of the flavor's"},
		&cli.BoolFlag{Name: "no-build-containers", Usage: "do not build the checkout's containers that are not published (DO_BUILD_LK_CONTAINERS=no)"},
	}
}

func compressionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "compression", Value: string(initramfs.Zstd), Usage: "of the initramfs: zstd, gzip or none"},
		&cli.IntFlag{Name: "level", Usage: "of the compression, 1 to 9 for gzip, 1 to 22 for zstd (default: a good one)"},
	}
}

func layoutFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "layout", Value: string(embed.Packed), Usage: "how the images are stored: packed, directory, or auto (packed where the kernel can mount it)"},
		&cli.StringFlag{Name: "pack-compression", Usage: "of the packed layout: gzip, zstd or xz, the smallest and slowest (default: zstd where the kernel reads it, else gzip)"},
		&cli.IntFlag{Name: "pack-block", Usage: "`KIB` that the packed layout compresses at a time, a power of two from 4 to 1024 (default: 128)"},
	}
}

// layoutOf reads the flags that say how images are stored.
func layoutOf(c *cli.Context) (layout embed.Layout, p embed.Packing, err error) {
	if layout, err = embed.ParseLayout(c.String("layout")); err != nil {
		return "", p, err
	}
	if layout == embed.Directory && (c.IsSet("pack-compression") || c.IsSet("pack-block")) {
		return "", p, usagef("--pack-compression and --pack-block are for the packed layout; leave them or --layout directory out")
	}
	p.Compression, p.BlockSize = squashfs.Compression(c.String("pack-compression")), c.Int("pack-block")<<10
	if err := p.Check(); err != nil {
		return "", p, usagef("how to pack the images: %v", err)
	}
	return layout, p, nil
}

// segmentOptions reads the flags that say how the initramfs is compressed.
func segmentOptions(c *cli.Context) (o initramfs.SegmentOptions, err error) {
	if o.Compression, err = initramfs.ParseCompression(c.String("compression")); err != nil {
		return o, usagef("--compression: %v", err)
	}
	o.Level, o.Jobs = c.Int("level"), c.Int("jobs")
	most := map[initramfs.Compression]int{initramfs.Gzip: 9, initramfs.Zstd: 22}[o.Compression]
	switch {
	case !c.IsSet("level"):
	case most == 0:
		return o, usagef("--level %d: --compression %s has no levels; leave --level out", o.Level, o.Compression)
	case o.Level < 1 || o.Level > most:
		return o, usagef("--level %d: --compression %s has the levels 1 to %d", o.Level, o.Compression, most)
	}
	return o, nil
}

// bundleFlags say which bundle is meant, and what of it.
func bundleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "bundle", Usage: "the EKS Anywhere bundle manifest, a `FILE|URL`"},
		&cli.StringFlag{Name: "eksa-version", Usage: "the bundle of this EKS Anywhere release, such as v0.24.1"},
		&cli.StringFlag{Name: "releases-url", Usage: "where the list of releases is, for a site with a copy of its own"},
		&cli.StringFlag{Name: "kube-version", Usage: "choose where a bundle's images differ between Kubernetes versions"},
		&cli.StringFlag{Name: "worker-image", Usage: "the `REF` of the worker, in the place of the bundle's"},
		&cli.StringFlag{Name: "worker-from", Usage: "take the worker out of the initramfs of a released HookOS, a `FILE|URL`"},
		&cli.BoolFlag{Name: "no-worker", Usage: "go on without a worker on board"},
		&cli.BoolFlag{Name: "require-signature", Usage: "refuse a bundle that AWS has not signed; a wrong signature is always refused"},
		&cli.BoolFlag{Name: "keep-source-names", Usage: "images also keep the names that they have in the bundle (default: for the releases that ask for them)"},
	}
}

// imageFlags say which images are meant beside a bundle's.
func imageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "images-file", Usage: "embed the images that `FILE` lists, in the form of images.txt (repeatable)"},
		&cli.StringSliceFlag{Name: "image", Usage: "embed one more image, `SRC[=NAME]` (repeatable)"},
	}
}

func documentFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "yaml", Usage: "assemble the LinuxKit document `FILE`, - for standard input, which needs no Hook checkout; several are merged as the linuxkit tool does (repeatable); their `source:` files are found from this directory"},
		&cli.StringFlag{Name: "name", Usage: "the directory of the document's artifacts in --out, and the beginning of the tarball's name (default: the file's name)"},
	}
}

// outputFlags say what is made beside the kernel and the initramfs, and how
// large that may be.
func outputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "tar", Usage: "also write the root file system as a tar archive with its file list (OUTPUT_TARBALL_FILELIST=yes)"},
		&cli.BoolFlag{Name: "iso", Usage: "also write an ISO image that boots by UEFI (LINUXKIT_ISO=yes)"},
		&cli.StringFlag{Name: "iso-loader", Usage: "the ISO's boot loader: GRUB as an EFI program, a `FILE|DIR|REF` with one (default: the distribution's package)"},
		&cli.BoolFlag{Name: "report", Usage: "show what the initramfs weighs and why; manifest.json has the same"},
		&cli.StringFlag{Name: "max-size", Usage: "fail when the initramfs is larger than `SIZE`, such as 180MB or 170MiB"},
	}
}
