package main

import (
	"runtime"

	"github.com/urfave/cli/v2"

	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/squashfs"
)

// The flags that several commands share, by subject.

func concat(groups ...[]cli.Flag) []cli.Flag {
	var all []cli.Flag
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// globalFlags returns the options of every command.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "take what the command line does not say from `FILE`; none uses no file (default: hookbuild.yaml in the current directory or its nearest parent that has one)"},
		&cli.StringFlag{Name: "hook-dir", Usage: "use the Hook checkout in `DIR` (default: the current directory or its nearest parent that is one)"},
		&cli.StringFlag{Name: "out", Value: "out", Usage: "write the artifacts to `DIR` (default: out, beside hookbuild.yaml or else in the checkout that the current directory is in)"},
		&cli.StringFlag{Name: "arch", Usage: "build for `ARCH`, amd64 (x86_64) or arm64 (aarch64) (default: the flavor's, else amd64)"},
		&cli.StringFlag{Name: "cache-dir", Usage: "keep downloads and converted layers in `DIR` (default: $CACHE_DIR, else hookbuild in the user's cache directory)"},
		&cli.StringFlag{Name: "cache-limit", Value: "20GB", Usage: "after each command, remove the least recently used files until the cache fits `SIZE`; none sets no limit"},
		&cli.StringSliceFlag{Name: "cache-from", Usage: "take results that other machines made from `REPOSITORY` in a registry (repeatable)"},
		&cli.StringFlag{Name: "cache-to", Usage: "push results to `REPOSITORY` in a registry"},
		&cli.BoolFlag{Name: "offline", Usage: "use only what is in the cache; contact no registry or server"},
		&cli.StringSliceFlag{Name: "kit", Usage: "take everything from the kit in `FILE` instead of the network (repeatable)"},
		&cli.StringSliceFlag{Name: "mirror", Usage: "apply the mirror `FROM=TO`: pull images of registry FROM from TO (repeatable)"},
		&cli.BoolFlag{Name: "mirror-by-tag", Usage: "take a mirror's image of the bundle's tag although nothing proves that it is the bundle's image; a warning names both digests"},
		&cli.StringSliceFlag{Name: "insecure-registry", Usage: "allow plain HTTP and unknown certificates for the registry at `HOST` (repeatable)"},
		&cli.StringSliceFlag{Name: "ca-file", Usage: "also trust the certificate authorities in `FILE` (PEM) for everything that is fetched (repeatable)"},
		&cli.StringFlag{Name: "max-layer", Usage: "refuse layers that unpack to more than `SIZE` (default: 1 GiB or 250 times the compressed size, whichever is more)"},
		&cli.StringFlag{Name: "progress", Value: "auto", Usage: "show progress in `FORMAT`: auto, tty, plain, github or json"},
		&cli.BoolFlag{Name: "debug", Usage: "show more detail"},
		&cli.IntFlag{Name: "jobs", DefaultText: "the number of processors", Value: runtime.GOMAXPROCS(0), Usage: "run up to `N` tasks in parallel"},
	}
}

// hookFlags returns the flags that choose the parts of a HookOS.
func hookFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "kernel", Usage: "use the kernel `KERNEL`: latest, build, image:REF, deb:FILE or dir:DIR (default: the newest published one built with the checkout's configuration, or that of the pinned release)"},
		&cli.StringFlag{Name: "template", Usage: "use the template `NAME` in linuxkit-templates/ instead of the flavor's"},
		&cli.BoolFlag{Name: "no-build-containers", Usage: "do not build containers of the checkout that are not published (DO_BUILD_LK_CONTAINERS=no)"},
	}
}

func compressionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "compression", Value: string(initramfs.Zstd), Usage: "compress the initramfs with `METHOD`: zstd, gzip or none"},
		&cli.IntFlag{Name: "level", Usage: "compress at level `N`, 1 to 9 for gzip, 1 to 22 for zstd (default: 3 for zstd, 6 for gzip)"},
	}
}

func layoutFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "layout", Value: string(embed.Packed), Usage: "store the images as `LAYOUT`: packed, directory, or auto (packed if the kernel can mount it)"},
		&cli.StringFlag{Name: "pack-compression", Usage: "compress the packed layout with `METHOD`: gzip, zstd, or xz, the smallest and slowest (default: zstd if the kernel reads it, else gzip)"},
		&cli.IntFlag{Name: "pack-block", Usage: "compress the packed layout in blocks of `KIB`, a power of two from 4 to 1024 (default: 128)"},
	}
}

// layoutOf returns how the flags say to store images.
func layoutOf(c *cli.Context) (layout embed.Layout, p embed.Packing, err error) {
	if layout, err = embed.ParseLayout(c.String("layout")); err != nil {
		return "", p, err
	}
	if layout == embed.Directory && (c.IsSet("pack-compression") || c.IsSet("pack-block")) {
		return "", p, usagef("--pack-compression and --pack-block apply only to the packed layout; leave out these options or --layout directory")
	}
	p.Compression, p.BlockSize = squashfs.Compression(c.String("pack-compression")), c.Int("pack-block")<<10
	if err := p.Check(); err != nil {
		return "", p, usagef("packing the images: %v", err)
	}
	return layout, p, nil
}

// segmentOptions returns how the flags say to compress the initramfs.
func segmentOptions(c *cli.Context) (o initramfs.SegmentOptions, err error) {
	if o.Compression, err = initramfs.ParseCompression(c.String("compression")); err != nil {
		return o, usagef("--compression: %v", err)
	}
	o.Level, o.Jobs = c.Int("level"), c.Int("jobs")
	most := map[initramfs.Compression]int{initramfs.Gzip: 9, initramfs.Zstd: 22}[o.Compression]
	switch {
	case !c.IsSet("level"):
	case most == 0:
		return o, usagef("--level %d: --compression %s has no levels; leave out --level", o.Level, o.Compression)
	case o.Level < 1 || o.Level > most:
		return o, usagef("--level %d: --compression %s has the levels 1 to %d", o.Level, o.Compression, most)
	}
	return o, nil
}

// bundleFlags returns the flags that choose a bundle and its images.
func bundleFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cluster", Usage: "take the EKS Anywhere release, the registry mirror, the proxy and the templates' images from the cluster specification `FILE`"},
		&cli.StringFlag{Name: "bundle", Usage: "read the EKS Anywhere bundle manifest at `FILE|URL`"},
		&cli.StringFlag{Name: "eksa-version", Usage: "use the bundle of EKS Anywhere `VERSION`, such as v0.24.1, or latest"},
		&cli.StringFlag{Name: "releases-url", Usage: "read the list of releases at `URL`, for sites with their own copy"},
		&cli.StringFlag{Name: "kube-version", Usage: "choose the images for Kubernetes `VERSION` if the bundle has several"},
		&cli.StringFlag{Name: "worker-image", Usage: "embed the worker image `REF` instead of the bundle's"},
		&cli.StringFlag{Name: "worker-from", Usage: "take the worker from a released HookOS, the initramfs at `FILE|URL`"},
		&cli.BoolFlag{Name: "no-worker", Usage: "embed no worker"},
		&cli.BoolFlag{Name: "require-signature", Usage: "refuse a bundle that AWS has not signed (a wrong signature is always refused)"},
		&cli.BoolFlag{Name: "keep-source-names", Usage: "also keep the names that the images have in the bundle (default: for releases whose actions use them)"},
	}
}

// imageFlags returns the flags that name images other than a bundle's.
func imageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "images-file", Usage: "embed the images listed in `FILE`, which has the format of images.txt (repeatable)"},
		&cli.StringSliceFlag{Name: "image", Usage: "embed `SRC[=NAME]`: the image SRC, under the name NAME (repeatable)"},
	}
}

func documentFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "yaml", Usage: "assemble the LinuxKit document in `FILE`, or standard input if -, without a Hook checkout; several are merged as the linuxkit tool does; their source: files are relative to the current directory (repeatable)"},
		&cli.StringFlag{Name: "name", Usage: "write the document's artifacts to the directory `NAME` in --out and begin the tarball's name with it (default: the file's name)"},
	}
}

// overlayFlags returns the flags that change a HookOS for a site.
func overlayFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "overlay", Usage: "change the template by the LinuxKit overlay in `FILE`, which adds, changes and removes files, services and the rest by name (repeatable)"},
		&cli.StringFlag{Name: "site", Usage: "put in what the site profile `FILE` says: certificate authorities, registries, proxy, addresses, SSH keys, console"},
	}
}

// outputFlags returns the flags for outputs other than kernel and initramfs, and
// for the size limit.
func outputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "tar", Usage: "also write the root file system as a tar archive, and its file list (OUTPUT_TARBALL_FILELIST=yes)"},
		&cli.BoolFlag{Name: "iso", Usage: "also write an ISO image that boots with UEFI (LINUXKIT_ISO=yes)"},
		&cli.StringFlag{Name: "iso-loader", Usage: "take the ISO's boot loader, GRUB as an EFI program, from `FILE|DIR|REF` (default: the distribution's package)"},
		&cli.BoolFlag{Name: "report", Usage: "report what makes up the size of the initramfs, as manifest.json does too"},
		noSBOMFlag(),
		&cli.StringFlag{Name: "max-size", Usage: "fail if the initramfs is larger than `SIZE`, such as 180MB or 170MiB"},
	}
}

func noSBOMFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-sbom", Usage: "write neither sbom.spdx.json nor provenance.json"}
}
