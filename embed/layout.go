package embed

import (
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/squashfs"
)

// Layout is the form that a store has inside the initramfs.
type Layout string

const (
	// Packed keeps all layers in one squashfs, which the boot script mounts: the
	// smallest in RAM, exact, but the kernel needs squashfs, loop and overlay.
	Packed Layout = "packed"
	// Directory unpacks all layers into the initramfs: any kernel with overlay
	// will do.
	Directory Layout = "directory"
	// Auto is Packed where the kernel can mount it and Directory elsewhere.
	Auto Layout = "auto"
)

// ParseLayout reads a layout's name as a user writes it.
func ParseLayout(s string) (Layout, error) {
	switch l := Layout(s); l {
	case Packed, Directory, Auto:
		return l, nil
	}
	return "", fault.Usagef("choosing the layout %q: it must be packed, directory or auto", s)
}

// Packing says how the squashfs of the packed layout is made. The zero value is
// good for most.
type Packing struct {
	// Compression is the best that the kernel reads, xz last, when empty.
	Compression squashfs.Compression
	// BlockSize is how many bytes are compressed at a time, 128 KiB when 0.
	BlockSize int
}

// Check refuses what no squashfs can be made with.
func (p Packing) Check() error {
	return squashfs.Options{Compression: p.Compression, BlockSize: p.BlockSize}.Check()
}

// Support says how a kernel offers a feature.
type Support int

// The kinds of support.
const (
	Missing Support = iota // the kernel does not have it
	Module                 // a module, which the boot script loads
	BuiltIn
)

// Capabilities is what the machine's kernel can do for a store. The zero value
// means that nothing is known about the kernel; then it is taken for one of
// HookOS's own, which have everything but zstd built in.
type Capabilities struct {
	// Squashfs, Loop and Overlay are CONFIG_SQUASHFS, CONFIG_BLK_DEV_LOOP and
	// CONFIG_OVERLAY_FS.
	Squashfs, Loop, Overlay Support
	// SquashfsXattr is CONFIG_SQUASHFS_XATTR.
	SquashfsXattr bool
	// SquashfsGzip, SquashfsXZ and SquashfsZstd are CONFIG_SQUASHFS_ZLIB, _XZ and _ZSTD.
	SquashfsGzip, SquashfsXZ, SquashfsZstd bool
}

func hookKernel() Capabilities {
	return Capabilities{Squashfs: BuiltIn, Loop: BuiltIn, Overlay: BuiltIn, SquashfsXattr: true, SquashfsGzip: true, SquashfsXZ: true}
}

// missing lists the options that the kernel lacks for the packed layout.
func (c Capabilities) missing() []string {
	var options []string
	for _, need := range []struct {
		has    bool
		option string
	}{
		{c.Overlay != Missing, "CONFIG_OVERLAY_FS"},
		{c.Loop != Missing, "CONFIG_BLK_DEV_LOOP"},
		{c.Squashfs != Missing, "CONFIG_SQUASHFS"},
		{c.SquashfsGzip || c.SquashfsXZ || c.SquashfsZstd, "CONFIG_SQUASHFS_ZLIB"},
	} {
		if !need.has {
			options = append(options, need.option)
		}
	}
	return options
}

// chooseLayout settles what the options leave open. A kernel that cannot do
// what is asked is an error that names its option.
func chooseLayout(o Options) (Layout, Capabilities, error) {
	kernel := o.Kernel
	if kernel == (Capabilities{}) {
		kernel = hookKernel()
	}
	if kernel.Overlay == Missing {
		return "", kernel, fault.Invalidf("making the image store: the kernel has no CONFIG_OVERLAY_FS, which Docker needs: build it with that, or choose another kernel")
	}
	missing := strings.Join(kernel.missing(), ", ")
	switch {
	case o.Layout == Directory:
		return Directory, kernel, nil
	case missing == "":
		return Packed, kernel, nil
	case o.Layout == Auto:
		progress.Notef(o.Progress, "the images are laid out as directories: for the packed layout the kernel lacks %s", missing)
		return Directory, kernel, nil
	}
	return "", kernel, fault.Invalidf("choosing the packed layout: the kernel has no %s: build it with that, or allow the directory layout (--layout auto)", missing)
}
