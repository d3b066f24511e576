package embed

import (
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/squashfs"
)

// Layout is the form of a store inside the initramfs.
type Layout string

const (
	// Packed keeps all layers in one squashfs, which the boot script mounts: it
	// needs the least RAM and is exact, but the kernel needs squashfs, loop and
	// overlay.
	Packed Layout = "packed"
	// Directory unpacks all layers into the initramfs: any kernel with overlay
	// works.
	Directory Layout = "directory"
	// Auto is Packed if the kernel can mount it and Directory otherwise.
	Auto Layout = "auto"
)

// ParseLayout parses the name of a layout.
func ParseLayout(s string) (Layout, error) {
	switch l := Layout(s); l {
	case Packed, Directory, Auto:
		return l, nil
	}
	return "", fault.Usagef("choosing the layout %q: it must be packed, directory or auto", s)
}

// Packing specifies how the squashfs of the packed layout is made. The zero
// value suits most uses.
type Packing struct {
	// Compression is the compression; empty means the best that the kernel
	// reads, with xz as the last choice.
	Compression squashfs.Compression
	// BlockSize is the number of bytes compressed at a time; 0 means 128 KiB.
	BlockSize int
}

// Check rejects options with which no squashfs can be made.
func (p Packing) Check() error {
	return squashfs.Options{Compression: p.Compression, BlockSize: p.BlockSize}.Check()
}

// Support is how a kernel provides a feature.
type Support int

// The kinds of support.
const (
	Missing Support = iota // the kernel does not have it
	Module                 // a module, which the boot script loads
	BuiltIn
)

// Capabilities describes the features of the machine's kernel that a store
// needs. The zero value means that nothing is known about the kernel; it is
// then assumed to be one of HookOS's own, which have everything but zstd built
// in.
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

// missing returns the options that the kernel lacks for the packed layout.
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

// chooseLayout resolves what the options leave open. If the kernel cannot do
// what is requested, the error names its option.
func chooseLayout(o Options) (Layout, Capabilities, error) {
	kernel := o.Kernel
	if kernel == (Capabilities{}) {
		kernel = hookKernel()
	}
	if kernel.Overlay == Missing {
		return "", kernel, fault.Invalidf("making the image store: the kernel has no CONFIG_OVERLAY_FS, which Docker needs; build it with that option, or choose another kernel")
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
	return "", kernel, fault.Invalidf("choosing the packed layout: the kernel has no %s; build it with that option, or allow the directory layout (--layout auto)", missing)
}
