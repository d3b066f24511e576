package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/kernel/container"
	"hookbuild/kernel/plan"
)

// OpenOptions say what a reference cannot: whose kernel it is about, and with
// what kernels are fetched and compiled.
type OpenOptions struct {
	Options
	// Client reads images.
	Client *oci.Client
	// Arch is the architecture that is wanted, "x86_64" or "aarch64"; empty
	// means any.
	Arch string
	// Plan has the flavor, which may be the zero one for references that need
	// none, and how its kernel is built. Its Modules and its Firmware hold for
	// every kernel.
	Plan plan.Request
	// Armbian says where the kernels of Armbian's flavors are.
	Armbian Armbian
	// Container compiles, and Built keeps what it compiled, a directory for
	// each flavor.
	Container container.Options
	Built     string
	// Time is the build time that the kernel reports.
	Time time.Time
}

// Default is the reference to the kernel of a release that was asked for
// ([plan.Request.PointRelease]) or that the checkout pins, and else to the
// newest published one that was built with the checkout's configuration.
const Default = ""

// source is a kind of reference.
type source struct {
	// names begin the references, before a colon; forms show them to people.
	names, forms []string
	// flavors reports that the name is the whole reference, and means a kernel
	// of the flavor.
	flavors bool
	// check finds what is wrong with a request before any work; nil for
	// nothing.
	check func(o OpenOptions) error
	// open reads the kernel. Name is the one that the reference begins with,
	// rest what follows it.
	open func(ctx context.Context, name, rest string, o OpenOptions) (*Image, error)
}

// sources lists all kinds of references, each with a file of its own.
func sources() []source {
	return []source{defaultSource(), latestSource(), buildSource(), imageSource(), debSource(), dirSource()}
}

// Forms lists how a kernel can be named, for messages and help.
func Forms() []string {
	var all []string
	for _, s := range sources() {
		all = append(all, s.forms...)
	}
	return all
}

// IsPlace reports whether a reference names one of the sources that say where
// a kernel is: image:REF, but not latest.
func IsPlace(ref string) bool {
	s, err := find(ref)
	return err == nil && !s.flavors
}

// find returns the source that a reference names.
func find(ref string) (source, error) {
	name, _, hasRest := strings.Cut(ref, ":")
	for _, s := range sources() {
		if slices.Contains(s.names, name) && hasRest != s.flavors {
			return s, nil
		}
	}
	return source{}, fault.Usagef("reading the kernel %q: it should be one of %s", web.ShowAll(ref), strings.Join(Forms(), ", "))
}

// CheckReference finds what is wrong with a reference, or with the request
// about it, before any work is done.
func CheckReference(ref string, o OpenOptions) error {
	s, err := find(ref)
	switch {
	case err != nil:
		return err
	case s.flavors && o.Plan.Flavor.ID == "":
		return fault.Usagef("reading the kernel %q: it is a flavor's, and no flavor was named; give image:REF, deb:FILE or dir:DIR", ref)
	case s.check != nil:
		return s.check(o)
	}
	return nil
}

// Open reads the kernel that ref names:
//
//	latest           the newest published kernel of the flavor's series
//	build            the flavor's kernel, compiled now
//	image:REF        a kernel image, also oci:DIR, docker-archive:FILE and so on
//	deb:FILE         a distribution's packages, paths or URLs
//	dir:DIR          what make install and modules_install left
//	[Default]        see there
//
// The modules and the firmware of o.Plan are chosen and added. The caller
// closes the image.
func Open(ctx context.Context, ref string, o OpenOptions) (*Image, error) {
	if err := CheckReference(ref, o); err != nil {
		return nil, err
	}
	s, err := find(ref)
	if err != nil {
		return nil, err
	}
	name, rest, _ := strings.Cut(ref, ":")
	return o.selected(ctx, func() (*Image, error) { return s.open(ctx, name, rest, o) })
}

// selected opens a kernel and leaves the modules that o chooses, with the
// firmware that o adds. The firmware is opened first, so that a wrong name is
// an error before a kernel is compiled.
func (o OpenOptions) selected(ctx context.Context, open func() (*Image, error)) (*Image, error) {
	firmware, err := o.firmware(ctx)
	if err != nil {
		return nil, err
	}
	m, err := open()
	choice := o.Plan.Modules
	if err != nil || firmware == nil && len(choice.Include)+len(choice.Exclude) == 0 {
		return m, err
	}
	if _, err := m.Select(ctx, choice, firmware, o.Options); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// firmware opens what the plan names; nil when it names nothing.
func (o OpenOptions) firmware(ctx context.Context) (*initramfs.Tree, error) {
	from := o.Plan.Firmware
	if from == "" {
		return nil, nil
	}
	ref, isImage := strings.CutPrefix(from, "image:")
	if !isImage {
		return DirTree(ctx, from)
	}
	image, err := o.Client.Image(ctx, ref, o.platform())
	if err != nil {
		return nil, fmt.Errorf("opening the firmware %q: %w", from, err)
	}
	return image.Tree(ctx)
}

func (o OpenOptions) platform() v1.Platform {
	return v1.Platform{OS: "linux", Architecture: DockerArch(o.Arch)}
}
