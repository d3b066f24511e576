package kernel

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/kernel/container"
	"hookbuild/kernel/driver"
	"hookbuild/kernel/modules"
	"hookbuild/kernel/plan"
)

// OpenOptions hold what a reference cannot say: which flavor's kernel is meant,
// and how kernels are fetched and compiled.
type OpenOptions struct {
	Options
	// Client reads images.
	Client *oci.Client
	// Arch is the wanted architecture, "x86_64" or "aarch64"; empty means any.
	Arch string
	// Plan has the flavor and how its kernel is built. The flavor may be the
	// zero value for references that do not need one. Modules and Firmware
	// apply to every kernel.
	Plan plan.Request
	// Drivers are the sources of modules from outside the kernel's source that
	// are built for any kernel and added to its modules.
	Drivers []driver.Spec
	// Armbian selects the source of the kernels of Armbian's flavors.
	Armbian Armbian
	// Container compiles kernels. Built holds the compiled ones in one
	// directory per flavor.
	Container container.Options
	Built     string
	// Fresh compiles a kernel even if the shared cache has it.
	Fresh bool
	// Time is the build time that the kernel reports.
	Time time.Time
	// Survey makes [Pin] fetch no kernel package and no archive of a kernel's
	// source, and accept a directory of source. Their digests stay empty.
	Survey bool
}

// defaultReference refers to the kernel of a release that was requested
// ([plan.Request.PointRelease]) or that the checkout pins. Without one it
// refers to the newest published kernel that was built with the checkout's
// configuration.
const defaultReference = ""

// source is a kind of reference.
type source struct {
	// names are the prefixes of the references, without the colon; forms are
	// how messages show the references.
	names, forms []string
	// flavors reports whether the name is the whole reference and means a
	// kernel of the flavor.
	flavors bool
	// check validates a request, and what follows the prefix of the reference,
	// before any work is done; nil accepts every request.
	check func(rest string, o OpenOptions) error
	// pin finds what open would read, by digest.
	pin func(ctx context.Context, name, rest string, o OpenOptions) (*Pinned, error)
	// arches implements [Arches]; nil if nothing is known of such a reference.
	arches func(ctx context.Context, name, rest string, o OpenOptions) ([]string, error)
	// open reads the kernel. Name is the prefix of the reference and rest is
	// what follows it.
	open func(ctx context.Context, name, rest string, o OpenOptions) (*Image, error)
}

// sources returns all kinds of references. Each has a file of its own.
func sources() []source {
	return []source{defaultSource(), latestSource(), buildSource(), imageSource(), debSource(), dirSource()}
}

// forms returns the ways to name a kernel, for messages and help.
func forms() []string {
	var all []string
	for _, s := range sources() {
		all = append(all, s.forms...)
	}
	return all
}

// IsPlace reports whether a reference says where a kernel is: image:REF does,
// latest does not.
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
	meant := ""
	if strings.HasSuffix(ref, ".deb") && !hasRest {
		meant = "; did you mean deb:" + web.ShowAll(ref) + "?"
	}
	return source{}, fault.Usagef("reading the kernel %q: use one of %s%s", web.ShowAll(ref), strings.Join(forms(), ", "), meant)
}

// CheckReference validates a reference and the request about it before any work
// is done.
func CheckReference(ref string, o OpenOptions) error {
	s, err := find(ref)
	switch {
	case err != nil:
		return err
	case s.flavors && o.Plan.Flavor.ID == "":
		return fault.Usagef("reading the kernel %q: it refers to the kernel of a flavor, but no flavor was named; use image:REF, deb:FILE or dir:DIR", ref)
	case s.check != nil:
		_, rest, _ := strings.Cut(ref, ":")
		return s.check(rest, o)
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
//	[defaultReference]        see there
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

// selected opens a kernel, adds the modules of o's drivers, and reduces it to the
// modules that o chooses, with the firmware that o adds. It opens the drivers and
// the firmware first, so that a wrong name is reported before a kernel is
// compiled.
func (o OpenOptions) selected(ctx context.Context, open func() (*Image, error)) (*Image, error) {
	drivers, err := o.openDrivers(ctx)
	if err != nil {
		return nil, err
	}
	firmware, err := o.pinFirmware(ctx)
	var files *initramfs.Tree
	if err == nil && firmware != nil {
		files, err = firmware.tree(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, driver.CloseAll(drivers))
	}
	m, err := open()
	if err != nil {
		return nil, errors.Join(err, driver.CloseAll(drivers))
	}
	m.Added.Drivers, m.Added.Firmware = pinnedDrivers(drivers), firmware
	if len(drivers) > 0 {
		if err := o.addDrivers(ctx, m, drivers); err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	choice := o.Plan.Modules
	if m.choice != "" && m.choice == choiceKey(choice) {
		choice = modules.Choice{} // which would find nothing to leave out
	}
	if files == nil && len(choice.Include)+len(choice.Exclude) == 0 {
		return m, nil
	}
	if _, err := m.keepChosen(ctx, choice, files, o.Options); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (o OpenOptions) platform() v1.Platform {
	return v1.Platform{OS: "linux", Architecture: DockerArch(o.Arch)}
}
