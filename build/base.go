package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/kernel"
	"hookbuild/linuxkit"
	"hookbuild/linuxkit/containers"
	"hookbuild/linuxkit/template"
)

// embeddedVariable is the template's name for the image that carries the
// store. Its place is taken by a store of our own, or by nothing.
const embeddedVariable = "HOOK_CONTAINER_EMBEDDED_IMAGE"

// base is the system that the images are added to, before it is assembled:
// everything that it is made of is found.
type base struct {
	name     string // the document's, for messages
	text     []byte // the document, variables expanded
	document *linuxkit.Document
	// options are how the document is assembled, but for the images.
	options linuxkit.Options
	images  map[string]*oci.Image // by long reference
	layouts map[string]*oci.Index // of the volumes that hold one, by layoutKey
	// overlays are what the document was changed by, variables expanded.
	overlays []Document
	// kernel names the kernel that takes the document's place; "" for none.
	kernel string
	// ofDocuments tells a system that the user described from a HookOS.
	ofDocuments bool
}

// planBase finds what the template or document of the request is made of. With
// a nil kernel that is also the document's own.
func (b *Builder) planBase(ctx context.Context, r Request, k *kernel.Image) (*base, error) {
	p, own, err := r.readBase(k)
	if err != nil {
		return nil, err
	}
	if err := b.warnLeft(r); err != nil {
		return nil, err
	}
	p.options.ModTime, p.options.Jobs, p.options.Progress, p.options.TempDir = r.SourceDate, b.Jobs, b.Progress, b.Cache.Dir()
	if k != nil {
		p.kernel = k.Digest
		p.options.Kernel = &linuxkit.Kernel{Kernel: k.Kernel, Modules: k.Modules, Microcode: microcode(p.document, k), Origin: k.Source}
	}
	p.images, err = b.finder(r, own).find(ctx, p.references())
	if err != nil {
		return nil, err
	}
	if p.layouts, err = b.findLayouts(ctx, p.document); err != nil {
		return nil, err
	}
	p.options.Images = imageSource{p.images, p.layouts}
	return p, nil
}

// pulledImages is where pull-images.sh of a Hook checkout puts Docker's data
// root, for the image hook-embedded.
const pulledImages = "images/hook-embedded/images"

// warnLeft says that images which pull-images.sh left in the checkout do not go
// on board: the store is made from registries, by name.
func (b *Builder) warnLeft(r Request) error {
	if len(r.Documents) > 0 {
		return nil
	}
	entries, err := fs.ReadDir(r.Workspace.FS(), pulledImages)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking into %s of the checkout: %w", pulledImages, err)
	}
	left := slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") })
	if len(left) > 0 {
		progress.Warnf(b.Progress, "%s of the checkout has what pull-images.sh left, %s and others; it is not taken: name the images with --image, --images-file or --embed-from-bundle", pulledImages, left[0].Name())
	}
	return nil
}

// microcode is the file beside the kernel that the document names as such.
func microcode(d *linuxkit.Document, k *kernel.Image) *initramfs.Entry {
	if d.Kernel.UCode == nil {
		return nil
	}
	e, ok := k.File(*d.Kernel.UCode)
	if !ok {
		return nil
	}
	return &e
}

// layoutKey names what a volume asks for.
func layoutKey(ref string, platforms []string) string {
	return linuxkit.ExpandReference(ref) + " " + strings.Join(platforms, ",")
}

func (b *Builder) findLayouts(ctx context.Context, d *linuxkit.Document) (map[string]*oci.Index, error) {
	layouts := map[string]*oci.Index{}
	for _, v := range d.Volumes {
		if v.Image == "" || v.Format != "oci" {
			continue
		}
		index, err := b.Client.Layout(ctx, linuxkit.ExpandReference(v.Image), v.Platforms)
		if err != nil {
			return nil, fmt.Errorf("volume %q (line %d): %w", v.Name, v.Line, err)
		}
		layouts[layoutKey(v.Image, v.Platforms)] = index
	}
	return layouts, nil
}

// readBase reads the request's document, or the checkout's template. With the
// latter come the checkout's containers.
func (r Request) readBase(k *kernel.Image) (*base, []containers.Container, error) {
	if len(r.Documents) > 0 {
		p, err := r.mergeDocuments()
		if err != nil {
			return nil, nil, err
		}
		return p, nil, p.overlay(r, nil)
	}
	path, content, err := r.Workspace.Template(r.Template)
	if err != nil {
		return nil, nil, err
	}
	own, err := containers.List(r.Workspace.FS(), r.ContainersBase, r.Flavor.DockerArch())
	if err != nil {
		return nil, nil, err
	}
	variables := r.variables(k, own)
	text, err := template.Expand(content, variables)
	if err != nil {
		return nil, nil, fmt.Errorf("expanding the template %q: %w", path, err)
	}
	p, err := newBase(path, text)
	if err != nil {
		return nil, nil, err
	}
	p.options.WorkDir = r.Workspace.Dir
	if err := p.overlay(r, variables); err != nil {
		return nil, nil, err
	}
	p.options.Replace = map[string]*initramfs.Tree{variables[embeddedVariable]: nil}
	return p, own, nil
}

// overlay applies the request's overlays, whose variables have the template's
// values. Without a template they have none.
func (p *base) overlay(r Request, variables map[string]string) error {
	for _, d := range r.Overlays {
		text := d.Text
		var err error
		if variables != nil {
			if text, err = template.Expand(text, variables); err != nil {
				return fmt.Errorf("expanding the overlay %q: %w", d.Name, err)
			}
		}
		o, err := linuxkit.ParseOverlay(text, d.Name, d.Dir)
		if err != nil {
			return err
		}
		if p.document, err = p.document.Overlay(p.name, o); err != nil {
			return err
		}
		p.overlays = append(p.overlays, Document{Name: d.Name, Text: text})
	}
	return nil
}

func newBase(path string, text []byte) (*base, error) {
	document, err := linuxkit.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	return &base{name: path, text: text, document: document}, nil
}

// mergeDocuments is the base that the request's documents describe together.
func (r Request) mergeDocuments() (*base, error) {
	merged := &base{name: r.documentNames(), ofDocuments: true}
	var parsed []*linuxkit.Document
	for _, d := range r.Documents {
		p, err := newBase(d.Name, d.Text)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, p.document)
		merged.text = append(merged.text, d.Text...)
	}
	if len(parsed) == 1 {
		merged.document = parsed[0]
		return merged, nil
	}
	for _, d := range r.Documents { // where each ends is part of what was read
		merged.text = fmt.Appendf(merged.text, "\n# %d bytes", len(d.Text))
	}
	var err error
	if merged.document, err = linuxkit.Merge(parsed...); err != nil {
		return nil, fmt.Errorf("merging %s: %w", r.documentNames(), err)
	}
	return merged, nil
}

// variables returns the values of the template's variables.
func (r Request) variables(k *kernel.Image, own []containers.Container) map[string]string {
	values := map[string]string{"HOOK_VERSION": r.HookVersion, "HOOK_KERNEL_ID": r.Flavor.ID}
	if k == nil { // only the form of the document counts
		values["HOOK_KERNEL_IMAGE"], values["HOOK_KERNEL_VERSION"] = "kernel", "0"
	} else {
		values["HOOK_KERNEL_IMAGE"], values["HOOK_KERNEL_VERSION"] = kernelReference(k, r.KernelOptions.Plan.ImageRepository()), k.Version()
	}
	for _, c := range own {
		values[c.Variable] = c.Reference
	}
	return values
}

// references lists the images that must be fetched: neither a kernel that is at
// hand, nor the checkout's own store.
func (p *base) references() []string { return p.document.References(p.options) }

// key names everything that the root file system is made of.
func (p *base) key(salt string) (string, error) {
	digests := map[string]string{}
	for ref, img := range p.images {
		digests[ref] = img.ID.String()
	}
	for name, l := range p.layouts {
		digests[name] = l.Digest.String()
	}
	sources, err := p.sourceDigests()
	if err != nil {
		return "", err
	}
	return digest.Key(struct {
		Salt, Document, Kernel string
		Images, Sources        map[string]string
		Overlays               []string
		ModTime                int64
	}{salt, string(p.text), p.kernel, digests, sources, p.overlayDigests(), p.options.ModTime.Unix()})
}

// overlayDigests hashes what changed the document.
func (p *base) overlayDigests() []string {
	var all []string
	for _, d := range p.overlays {
		all = append(all, digest.OfBytes(d.Text))
	}
	return all
}

// sourceDigests hashes the files that the document takes in.
func (p *base) sourceDigests() (map[string]string, error) {
	paths, err := p.document.Sources(p.options)
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for source, path := range paths {
		if digests[source], err = digest.OfFile(path); err != nil {
			return nil, fmt.Errorf("reading the source %q of the document: %w", source, err)
		}
	}
	return digests, nil
}

// imageSource provides linuxkit with the images that the plan found.
type imageSource struct {
	images  map[string]*oci.Image
	layouts map[string]*oci.Index
}

// Image implements [linuxkit.ImageSource].
func (s imageSource) Image(ctx context.Context, ref string) (*linuxkit.Image, error) {
	img, ok := s.images[ref]
	if !ok {
		return nil, fmt.Errorf("finding the image %q: the plan did not foresee it (known: %s)", ref, strings.Join(slices.Sorted(maps.Keys(s.images)), ", "))
	}
	return linuxkit.FromOCI(ctx, img)
}

// Layout implements [linuxkit.LayoutSource].
func (s imageSource) Layout(ctx context.Context, ref string, platforms []string) (*initramfs.Tree, error) {
	l, ok := s.layouts[layoutKey(ref, platforms)]
	if !ok {
		return nil, fmt.Errorf("finding the image %q: the plan did not foresee it", ref)
	}
	return l.Tree, l.Fetch(ctx)
}

var _ linuxkit.LayoutSource = imageSource{}

// digestOfImage identifies an image; one of the Docker Engine, which has no
// manifest, by its ID.
func digestOfImage(img *oci.Image) v1.Hash {
	if img.Digest != (v1.Hash{}) {
		return img.Digest
	}
	return img.ID
}
