package build

import (
	"fmt"
	"io"
	"strings"
	"time"

	"hookbuild/build/artifact"
	"hookbuild/build/onboard"
	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
	"hookbuild/linuxkit"
	"hookbuild/site/lock"
)

// Request is what a user asks for.
type Request struct {
	Workspace Workspace
	Flavor    flavor.Flavor
	// Template names linuxkit-templates/NAME.template.yaml; empty is the
	// flavor's.
	Template string
	// Documents are LinuxKit documents, merged in order, that take the place of a
	// checkout's template; it is assembled as it is, and needs no checkout.
	Documents []Document
	// Overlays are documents that change the template or the Documents, in
	// order; see [linuxkit.Overlay].
	Overlays []Document
	// Name is the artifacts' directory in Out and begins the tarball's name;
	// empty is "hook".
	Name string
	// Kernel names the kernel, see [kernel.Open]. Empty is a document's own, or
	// [kernel.Default] of a flavor.
	Kernel string
	// KernelOptions say what Kernel cannot. The Builder fills in what it knows
	// itself.
	KernelOptions kernel.OpenOptions
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
	Embed *onboard.Embed
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
	// SourceDate is the mtime of generated files; later mtimes are clamped to it
	// (SOURCE_DATE_EPOCH); the zero time is 1970 and no limit.
	SourceDate time.Time
	// Locked is what the lock says of this build, which then takes exactly
	// that; nil without one.
	Locked *lock.Build
	// Out is the output directory.
	Out string
}

// Document is a LinuxKit document and what it is called.
type Document struct {
	Name string // the file's name, for messages and the manifest
	Text []byte
	// Dir is where an overlay's relative `source:` is found.
	Dir string
}

// ReadDocument reads a LinuxKit document, no larger than one may be.
func ReadDocument(r io.Reader, name string) (Document, error) {
	text, err := io.ReadAll(io.LimitReader(r, linuxkit.MaxDocument+1)) // Parse refuses what is longer
	if err != nil {
		return Document{}, fmt.Errorf("reading the LinuxKit document %q: %w", name, err)
	}
	return Document{Name: name, Text: text}, nil
}

// documentNames names the documents for messages.
func (r Request) documentNames() string {
	var names []string
	for _, d := range r.Documents {
		names = append(names, d.Name)
	}
	return strings.Join(names, ", ")
}

// ISO asks for an ISO image that boots by UEFI.
type ISO struct {
	// Loader is GRUB: an EFI program, a directory or an image with one. Empty
	// is what this machine's distribution has.
	Loader string
}

// The defaults of build.sh's variables.
const (
	DefaultHookVersion    = "0.11.1"
	DefaultContainersBase = "ghcr.io/tinkerbell/hook/linuxkit/"
	DefaultOut            = "out"
)

// Check reports what is wrong with the request and can be known without the
// network: no template or document of that name, an overlay that does not fit
// it, or an output directory that is a file.
func (r Request) Check() error {
	if err := artifact.CheckOut(r.Out); err != nil {
		return err
	}
	setDefault(&r.Template, r.Flavor.Template)
	setDefault(&r.HookVersion, DefaultHookVersion)
	if len(r.Documents) > 0 || len(r.Overlays) > 0 {
		_, _, err := r.readBase(nil)
		return err
	}
	_, _, err := r.Workspace.Template(r.Template)
	return err
}

func (r *Request) fillDefaults() error {
	if r.KernelOptions.Plan.Flavor.ID == "" && len(r.Documents) == 0 {
		r.KernelOptions.Plan.Flavor, r.KernelOptions.Plan.HookDir = r.Flavor, r.Workspace.Dir
	}
	if len(r.Documents) == 0 || r.Kernel != "" {
		if err := kernel.CheckReference(r.Kernel, r.KernelOptions); err != nil {
			return err
		}
	}
	if !r.SourceDate.IsZero() {
		r.Segment.MaxTime = r.SourceDate
	}
	setDefault(&r.Name, artifact.DefaultName)
	setDefault(&r.Template, r.Flavor.Template)
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
