package build

import (
	"fmt"

	"hookbuild/embed"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel/flavor"
)

// Request is what a user asks for.
type Request struct {
	Workspace Workspace
	Flavor    flavor.Flavor
	// Template names linuxkit-templates/NAME.template.yaml; empty is the
	// flavor's.
	Template string
	// Kernel says where the kernel comes from: "latest", "image:REF",
	// "deb:FILE" (or a URL), "dir:DIR".
	Kernel string
	// KernelRepository is where "latest" looks (HOOK_KERNEL_OCI_BASE).
	KernelRepository string
	// ContainersBase begins the references of the checkout's containers
	// (HOOK_LK_CONTAINERS_OCI_BASE).
	ContainersBase string
	// HookVersion is what the template calls HOOK_VERSION.
	HookVersion string
	// OutputID names OUT/hook_<id>.tar.gz and the device trees; empty is the
	// flavor's.
	OutputID string
	// Embed is the set of images to carry; nil carries none.
	Embed *Embed
	// Layout of the store; empty is embed's default.
	Layout embed.Layout
	// Segment says how the archives are compressed.
	Segment initramfs.SegmentOptions
	// Out is the output directory.
	Out string
}

// The defaults of build.sh's variables.
const (
	DefaultHookVersion      = "0.11.1"
	DefaultKernelRepository = "ghcr.io/tinkerbell/hook/kernel/hook-kernel"
	DefaultContainersBase   = "ghcr.io/tinkerbell/hook/linuxkit/"
	DefaultOut              = "out"
)

func (r *Request) fillDefaults() error {
	if r.Kernel == "" {
		return fault.Mark(fmt.Errorf("choosing the kernel of %q: none was given; say --kernel latest, image:REF, deb:FILE or dir:DIR", r.Flavor.ID), fault.Usage)
	}
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
