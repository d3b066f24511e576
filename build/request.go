package build

import (
	"context"
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
	"hookbuild/site/profile"
)

// Request describes a build.
type Request struct {
	Workspace Workspace
	Flavor    flavor.Flavor
	// Template names linuxkit-templates/NAME.template.yaml. Empty means the
	// flavor's.
	Template string
	// Documents are LinuxKit documents, merged in order, that replace a checkout's
	// template. They are assembled unchanged and need no checkout.
	Documents []Document
	// Overlays are documents that change the template or the Documents, in order.
	// See [linuxkit.Overlay].
	Overlays []Document
	// Site is what the site set. It is applied after the Overlays. Nil sets nothing.
	Site *profile.Site
	// Name is the name of the artifacts' directory in Out and the beginning of the
	// tarball's name. Empty means "hook".
	Name string
	// Kernel names the kernel, see [kernel.Open]. Empty means the document's own
	// kernel, or [kernel.Default] for a flavor.
	Kernel string
	// KernelOptions are the options to open Kernel with. The Builder adds its own
	// cache, clients and progress.
	KernelOptions kernel.OpenOptions
	// ContainersBase is the prefix of the references of the checkout's containers
	// (HOOK_LK_CONTAINERS_OCI_BASE).
	ContainersBase string
	// NoBuildContainers makes a container of the checkout that is neither
	// published nor in the Docker Engine an error, which says WhyNoBuild.
	NoBuildContainers bool
	WhyNoBuild        string
	// ContainersEngine is the address or the context of the Docker Engine that
	// builds containers; empty means Builder.Engine.
	ContainersEngine string
	// HookVersion is the value of the template's variable HOOK_VERSION.
	HookVersion string
	// OutputID is the ID in the artifacts' names, such as vmlinuz-ID and
	// hook_ID.tar.gz. Empty means the flavor's.
	OutputID string
	// Embed is the set of images to embed, or nil for none.
	Embed *onboard.Embed
	// Layout is the store's layout. Empty means embed's default. Packing applies
	// to the packed layout.
	Layout  embed.Layout
	Packing embed.Packing
	// Segment says how to compress the initramfs.
	Segment initramfs.SegmentOptions
	// Tar asks for the root file system as a tar archive with its file list.
	Tar bool
	// ISO asks for an ISO image. Nil means none.
	ISO *ISO
	// NoSBOM leaves out sbom.spdx.json and provenance.json.
	NoSBOM bool
	// MaxSize is the size limit of the initramfs in bytes. 0 means no limit.
	MaxSize int64
	// SourceDate is the mtime of generated files, and later mtimes are clamped to
	// it (SOURCE_DATE_EPOCH). The zero time means 1970, and clamps nothing.
	SourceDate time.Time
	// Names maps paths of this machine to the names that the lock has for them.
	Names map[string]string
	// Moved maps absolute paths of files that documents may name to where these files
	// are instead, if they do not exist or may not be read.
	Moved map[string]string
	// WorkDir is what relative paths in Documents start from. Empty is the current
	// directory.
	WorkDir string
	// Inputs are further files that were read for the request: they are locked.
	Inputs []lock.Input
	// Locked is what the lock says of this build, which then takes exactly
	// that; nil without one.
	Locked *lock.Build
	// Out is the output directory.
	Out string
}

// Document is a LinuxKit document.
type Document struct {
	Name string // the file's name, for messages and the manifest
	Text []byte
	// Dir is the directory that an overlay's relative `source:` starts from.
	Dir string
}

// ReadDocument reads a LinuxKit document, up to just over the size limit.
func ReadDocument(r io.Reader, name string) (Document, error) {
	text, err := io.ReadAll(io.LimitReader(r, linuxkit.MaxDocument+1)) // Parse refuses longer ones
	if err != nil {
		return Document{}, fmt.Errorf("reading the LinuxKit document %q: %w", name, err)
	}
	return Document{Name: name, Text: text}, nil
}

// documentNames returns the documents' names, for messages.
func (r Request) documentNames() string {
	var names []string
	for _, d := range r.Documents {
		names = append(names, d.Name)
	}
	return strings.Join(names, ", ")
}

// ISO describes an ISO image that boots with UEFI.
type ISO struct {
	// Loader names GRUB as an EFI program: the file, or a directory or image that
	// has it. Empty means the one that this machine's distribution installed.
	Loader string
}

// The defaults of build.sh's variables.
const (
	defaultHookVersion    = "0.11.1"
	DefaultContainersBase = "ghcr.io/tinkerbell/hook/linuxkit/"
	defaultOut            = "out"
)

// Check returns an error if the request is wrong in a way that can be found
// without the network: a template that does not exist, an invalid document, an
// overlay that does not fit it, an output directory that cannot be written, or a
// boot loader for --iso that is not installed.
func (r Request) Check(ctx context.Context) error {
	if err := artifact.CheckOut(r.Out); err != nil {
		return err
	}
	if err := r.checkLoader(); err != nil {
		return err
	}
	setDefault(&r.Template, r.Flavor.Template)
	setDefault(&r.HookVersion, defaultHookVersion)
	if len(r.Documents) > 0 || len(r.Overlays) > 0 || r.Site != nil {
		_, _, err := r.readBase(ctx, nil)
		return err
	}
	_, _, err := r.Workspace.template(r.Template)
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
	setDefault(&r.HookVersion, defaultHookVersion)
	setDefault(&r.OutputID, r.Flavor.OutputID(""))
	setDefault(&r.Out, defaultOut)
	return nil
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}
