package embed

import (
	"fmt"

	"hookbuild/internal/fault"
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

// ParseLayout reads a layout's name as a user gives it.
func ParseLayout(s string) (Layout, error) {
	switch l := Layout(s); l {
	case Packed, Directory, Auto:
		return l, nil
	}
	return "", fault.Mark(fmt.Errorf("choosing the layout %q: it must be packed, directory or auto", s), fault.Usage)
}

// Support says how a kernel offers a feature.
type Support int

// The kinds of support.
const (
	Missing Support = iota // the kernel does not have it
	Module                 // a module that must be loaded
	BuiltIn
)

// Capabilities is what the machine's kernel can do for the packed layout. The
// zero value can do nothing.
type Capabilities struct {
	// Squashfs, Loop and Overlay are CONFIG_SQUASHFS, CONFIG_BLK_DEV_LOOP and
	// CONFIG_OVERLAY_FS.
	Squashfs, Loop, Overlay Support
	// SquashfsXattr is CONFIG_SQUASHFS_XATTR.
	SquashfsXattr bool
	// SquashfsGzip, SquashfsXZ and SquashfsZstd are CONFIG_SQUASHFS_ZLIB, _XZ and _ZSTD.
	SquashfsGzip, SquashfsXZ, SquashfsZstd bool
}
