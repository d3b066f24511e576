package build

import (
	"context"
	"time"

	"hookbuild/embed"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
)

// Request is what a user asks for.
type Request struct {
	Workspace Workspace
	Flavor    flavor.Flavor
	// Template names linuxkit-templates/NAME.template.yaml; empty is the
	// flavor's.
	Template string
	// Document is the path of a LinuxKit document that takes the place of a
	// checkout's template; it is assembled as it is, and needs no checkout.
	Document string
	// Name is the artifacts' directory in Out and begins the tarball's name;
	// empty is "hook".
	Name string
	// Kernel says where the kernel comes from: "latest", "built" (the one of
	// PointRelease that hookbuild kernel or build.sh made of this checkout),
	// "image:REF", "deb:FILE" (or a URL), "dir:DIR". Empty is a document's own.
	Kernel string
	// KernelFlavor is the one whose kernel is meant by "latest" and "built",
	// when that is not Flavor (USE_KERNEL_ID).
	KernelFlavor *flavor.Flavor
	// PointRelease is the last number of a kernel's version
	// (KERNEL_POINT_RELEASE), for "built".
	PointRelease string
	// Armbian says where the kernels of Armbian's flavors come from.
	Armbian Armbian
	// BuildKernel gives the kernel that "build" stands for: the caller knows the
	// Docker that compiles.
	BuildKernel func(context.Context) (*kernel.Image, error)
	// ChooseModules leaves some modules of a kernel that is not built out, or
	// adds firmware; nil for neither.
	ChooseModules func(context.Context, *kernel.Image) error
	// KernelRepository is where "latest" looks (HOOK_KERNEL_OCI_BASE).
	KernelRepository string
	// ContainersBase begins the references of the checkout's containers
	// (HOOK_LK_CONTAINERS_OCI_BASE).
	ContainersBase string
	// NoBuildContainers makes a container of the checkout that is neither
	// published nor in the Docker Engine an error.
	NoBuildContainers bool
	// HookVersion is what the template calls HOOK_VERSION.
	HookVersion string
	// OutputID names OUT/hook_<id>.tar.gz and the device trees; empty is the
	// flavor's.
	OutputID string
	// Embed is the set of images to carry; nil carries none.
	Embed *Embed
	// Layout of the store; empty is embed's default. Packing is for the packed one.
	Layout  embed.Layout
	Packing embed.Packing
	// Segment says how the archives are compressed.
	Segment initramfs.SegmentOptions
	// Tar asks for the root file system as a tar archive with its file list.
	Tar bool
	// ISO asks for an ISO image; nil for none.
	ISO *ISO
	// MaxSize is the most bytes that the initramfs may have; 0 is no limit.
	MaxSize int64
	// SourceDate is the time of what no image holds, and later times become it
	// (SOURCE_DATE_EPOCH); the zero time is 1970 and no limit.
	SourceDate time.Time
	// Out is the output directory.
	Out string
}

// Armbian says where Armbian's kernels are.
type Armbian struct {
	// Base begins the artifacts' references (ARMBIAN_BASE_ORAS_REF); empty is
	// Armbian's own.
	Base string
	// Version is an artifact's tag (ARMBIAN_KERNEL_VERSION); empty is the
	// newest.
	Version string
}

// ISO asks for an ISO image that boots by UEFI.
type ISO struct {
	// Loader is GRUB: an EFI program, a directory or an image with one. Empty
	// is what this machine's distribution has.
	Loader string
}

// The defaults of build.sh's variables.
const (
	DefaultHookVersion      = "0.11.1"
	DefaultKernelRepository = "ghcr.io/tinkerbell/hook/kernel/hook-kernel"
	DefaultContainersBase   = "ghcr.io/tinkerbell/hook/linuxkit/"
	DefaultName             = "hook"
	DefaultOut              = "out"
)

func (r *Request) fillDefaults() error {
	if r.Kernel == "" && r.Document == "" {
		return fault.Usagef("choosing the kernel of %q: none was given; say --kernel latest, image:REF, deb:FILE or dir:DIR", r.Flavor.ID)
	}
	if r.KernelFlavor == nil {
		r.KernelFlavor = &r.Flavor
	}
	if !r.SourceDate.IsZero() {
		r.Segment.MaxTime = r.SourceDate
	}
	setDefault(&r.Name, DefaultName)
	setDefault(&r.Template, r.Flavor.Template)
	setDefault(&r.KernelRepository, DefaultKernelRepository)
	setDefault(&r.ContainersBase, DefaultContainersBase)
	setDefault(&r.HookVersion, DefaultHookVersion)
	setDefault(&r.OutputID, r.Flavor.OutputID(""))
	setDefault(&r.Out, DefaultOut)
	return nil
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}
