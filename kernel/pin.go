package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/web"
	"hookbuild/kernel/container"
	"hookbuild/kernel/driver"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/patch"
	"hookbuild/kernel/plan"
)

// Pinned is a kernel by the digests of what it is made of. One of Image,
// Artifact, Build and Files is set.
type Pinned struct {
	Image    *oci.Image
	Artifact *oci.Artifact // Armbian's
	Build    *PinnedBuild
	// Files are packages. IsDir reports that there is one, a directory, whose
	// digest is that of its content.
	Files []PinnedFile
	IsDir bool
	Additions
	// HasDrivers reports that Image has the modules of Drivers already.
	HasDrivers bool
	// Builder is the image of the container that compiles the kernel or the
	// drivers; nil where nothing is compiled.
	Builder *container.Pin
}

// Additions are what is added to a kernel or to its source, by digest.
type Additions struct {
	// Firmware is nil if none is added.
	Firmware *PinnedFirmware
	// Drivers are the module sources, with the digests of all that goes into
	// them. Patches are those of the kernel's source.
	Drivers, Patches []PinnedFile
}

// PinnedFile is a file and its digest.
type PinnedFile struct{ Name, Digest string }

// PinnedFirmware is a directory by the digest of its content, or an image.
type PinnedFirmware struct {
	Image *oci.Image
	Dir   PinnedFile
}

// PinnedBuild is a kernel that is compiled.
type PinnedBuild struct {
	Plan *plan.Plan
	// Archive is the source's URL or path, SHA256 its checksum in hex.
	Archive, SHA256 string
}

// Pin finds what [Open] would read, without reading it: no layer is fetched and
// nothing is compiled. A builder image is pulled or built if the engine lacks
// it.
func Pin(ctx context.Context, ref string, o OpenOptions) (*Pinned, error) {
	if err := CheckReference(ref, o); err != nil {
		return nil, err
	}
	s, err := find(ref)
	if err != nil {
		return nil, err
	}
	name, rest, _ := strings.Cut(ref, ":")
	p, err := s.pin(ctx, name, rest, o)
	if err != nil {
		return nil, err
	}
	if p.Drivers, err = o.pinDrivers(ctx); err != nil {
		return nil, err
	}
	p.HasDrivers = len(p.Drivers) > 0 && p.Image != nil && slices.EqualFunc(p.Drivers, driversIn(p.Image), func(d PinnedFile, sum string) bool {
		return d.Digest == "sha256:"+sum
	})
	if p.Build != nil || len(p.Drivers) > 0 && !p.HasDrivers {
		if p.Builder, err = o.pinBuilder(ctx); err != nil {
			return nil, err
		}
	}
	p.Firmware, err = o.pinFirmware(ctx)
	return p, err
}

func (o OpenOptions) pinDrivers(ctx context.Context) ([]PinnedFile, error) {
	drivers, err := o.openDrivers(ctx)
	if err != nil {
		return nil, err
	}
	return pinnedDrivers(drivers), driver.CloseAll(drivers)
}

func pinnedDrivers(drivers []*driver.Driver) []PinnedFile {
	var all []PinnedFile
	for _, d := range drivers {
		name := d.Origin
		if slices.ContainsFunc(all, func(f PinnedFile) bool { return f.Name == name }) {
			name += ",name=" + d.Name // another directory of one source
		}
		all = append(all, PinnedFile{name, "sha256:" + d.Digest})
	}
	return all
}

func pinnedPatches(patches []*patch.Patch) []PinnedFile {
	var all []PinnedFile
	for _, p := range patches {
		all = append(all, PinnedFile{p.Name, p.Digest})
	}
	return all
}

func pinnedImage(image *oci.Image) *Pinned { return &Pinned{Image: image} }

// pinLatest finds the newest published kernel; see [OpenOptions.latest].
func (o OpenOptions) pinLatest(ctx context.Context, ownOnly bool) (*Pinned, error) {
	if o.Plan.Flavor.Method == flavor.Armbian {
		ref, err := o.armbianRef(ctx)
		if err != nil {
			return nil, err
		}
		artifact, err := o.Client.Artifact(ctx, ref)
		return &Pinned{Artifact: artifact}, err
	}
	w, err := o.wanted(ownOnly)
	if err != nil {
		return nil, err
	}
	image, err := o.findWanted(ctx, w)
	return pinnedImage(image), err
}

func (o OpenOptions) pinBuild(ctx context.Context) (*Pinned, error) {
	p, err := o.resolve(ctx)
	if err != nil {
		return nil, err
	}
	b := &PinnedBuild{Plan: p}
	if b.Archive, b.SHA256, err = o.archive(ctx, p); err != nil {
		return nil, err
	}
	return &Pinned{Build: b, Additions: Additions{Patches: pinnedPatches(p.Patches)}}, nil
}

// archive returns the name and checksum of the source to compile.
func (o OpenOptions) archive(ctx context.Context, p *plan.Plan) (name, sum string, err error) {
	r := p.Request
	if o.Survey && (web.IsURL(r.Source) || isDir(r.Source)) {
		return r.Source, r.SHA256, nil
	}
	return p.Archive(ctx)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// pinBuilder finds the builder image for a kernel: a user's in its registry, else
// in the engine; hookbuild's own in the engine.
func (o OpenOptions) pinBuilder(ctx context.Context) (_ *container.Pin, err error) {
	if pin := o.Container.Pin; pin != nil {
		return pin, nil
	}
	builder, err := container.Open(ctx, o.Container)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, builder.Close()) }()
	if ref := o.Container.Image; ref != "" {
		image, err := o.Client.Image(ctx, ref, v1.Platform{OS: "linux", Architecture: DockerArch(builder.Arch())})
		if err == nil {
			return &container.Pin{Name: ref, Digest: image.Digest.String(), ID: image.ID.String()}, nil
		}
		if !oci.IsMissing(err) {
			return nil, err
		}
	}
	arch := o.Plan.Flavor.Arch
	if arch == "" {
		arch = o.Arch
	}
	pin, err := builder.Identify(ctx, arch)
	return &pin, err
}

// pinFiles hashes files, which it fetches if they are URLs and o does not forbid
// it.
func pinFiles(ctx context.Context, sources []string, o OpenOptions) (*Pinned, error) {
	p := &Pinned{}
	for _, source := range sources {
		if o.Survey && web.IsURL(source) {
			p.Files = append(p.Files, PinnedFile{Name: source})
			continue
		}
		f, err := fetch.Open(ctx, source, fetch.Options{Cache: o.Cache, Web: o.Web, Offline: o.Offline, Progress: o.Progress})
		if err != nil {
			return nil, fmt.Errorf("reading the kernel's package: %w", err)
		}
		sum, err := fetch.Digest(ctx, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("reading the kernel's package %q: %w", web.Show(source), err)
		}
		p.Files = append(p.Files, PinnedFile{source, sum})
	}
	return p, nil
}

func (o OpenOptions) pinFirmware(ctx context.Context) (*PinnedFirmware, error) {
	from := o.Plan.Firmware
	if from == "" {
		return nil, nil
	}
	if ref, ok := strings.CutPrefix(from, "image:"); ok {
		image, err := o.Client.Image(ctx, ref, o.platform())
		if err != nil {
			return nil, fmt.Errorf("opening the firmware %q: %w", from, err)
		}
		return &PinnedFirmware{Image: image}, nil
	}
	tree, err := openDirTree(ctx, from)
	if err != nil {
		return nil, err
	}
	sum, err := contentDigest(ctx, tree)
	return &PinnedFirmware{Dir: PinnedFile{from, sum}}, fault.Mark(err, fault.Invalid)
}

// tree returns the firmware's files.
func (f *PinnedFirmware) tree(ctx context.Context) (*initramfs.Tree, error) {
	if f.Image != nil {
		return f.Image.Tree(ctx)
	}
	return openDirTree(ctx, f.Dir.Name)
}
