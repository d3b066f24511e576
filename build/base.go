package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/kernel"
	"hookbuild/linuxkit"
	"hookbuild/linuxkit/containers"
	"hookbuild/linuxkit/template"
)

// embeddedVariable is the template's variable for the image that holds the
// embedded images. hookbuild replaces that image by a store in a segment of the
// initramfs, or by nothing.
const embeddedVariable = "HOOK_CONTAINER_EMBEDDED_IMAGE"

// base is the system that images are added to, before it is assembled. All of
// its parts have been resolved.
type base struct {
	name     string // of the document, for messages
	text     []byte // the document, variables expanded
	document *linuxkit.Document
	// options say how to assemble the document. planBase sets the images last.
	options linuxkit.Options
	images  map[string]*oci.Image // by long reference
	layouts map[string]*oci.Index // of volumes in OCI format, by layoutKey
	// unbuilt are the checkout's containers that a survey found nowhere.
	unbuilt []unbuilt
	// kernel is the digest of the kernel that replaces the document's, or "".
	kernel string
	// ofDocuments reports that the user's documents describe the system, not a
	// checkout's template.
	ofDocuments bool
}

// planBase resolves everything that the request's template or document names. If
// k is nil, that includes the document's kernel. Found are images that were found
// already.
func (b *Builder) planBase(ctx context.Context, r Request, k *kernel.Image, found map[string]*oci.Image) (*base, error) {
	p, own, err := r.readBase(ctx, k)
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
	wanted := slices.DeleteFunc(p.references(), func(ref string) bool { return found[ref] != nil })
	p.images, p.unbuilt, err = b.finder(r, own).find(ctx, wanted)
	if err != nil {
		return nil, err
	}
	maps.Copy(p.images, found)
	if err := b.checkSite(r, p); err != nil {
		return nil, err
	}
	if p.layouts, err = b.findLayouts(ctx, p.document); err != nil {
		return nil, err
	}
	p.options.Images = imageSource{p.images, p.layouts}
	return p, nil
}

// pulledImages is the directory in a Hook checkout where pull-images.sh puts
// Docker's data root, for the image hook-embedded.
const pulledImages = "images/hook-embedded/images"

// imagesList is the file in a Hook checkout that tells pull-images.sh what to embed.
const imagesList = "images/hook-embedded/images.txt"

// isPulled reports whether an entry of pulledImages comes from pull-images.sh. A
// hidden file, such as .keep, belongs to the checkout.
func isPulled(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), ".") }

// withoutPulled is a checkout without what pull-images.sh left in it. That is not
// embedded, so it must not change the names of the containers either: they are in
// the HookOS, and a kit, which has none of it, makes the same HookOS.
type withoutPulled struct{ fs.FS }

// ReadDir implements [fs.ReadDirFS].
func (f withoutPulled) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(f.FS, name)
	if name == pulledImages {
		entries = slices.DeleteFunc(entries, isPulled)
	}
	return entries, err
}

// warnLeft warns that images which pull-images.sh left in the checkout, or would fetch,
// are not embedded: the store is made from images that the request names.
func (b *Builder) warnLeft(r Request) error {
	if len(r.Documents) > 0 {
		return nil
	}
	if _, err := fs.Stat(r.Workspace.FS(), imagesList); err == nil && r.Embed == nil {
		progress.Warnf(b.Progress, "%s in the checkout is not read, so no images are embedded; `hookbuild all %s --images-file %s` embeds what it lists", imagesList, r.Flavor.ID, words.Shell(filepath.Join(r.Workspace.Dir, imagesList)))
	}
	entries, err := fs.ReadDir(r.Workspace.FS(), pulledImages)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s in the checkout: %w", pulledImages, err)
	}
	left := slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !isPulled(e) })
	if len(left) > 0 {
		progress.Warnf(b.Progress, "%s in the checkout has files from pull-images.sh (%s and others), which are not embedded; name the images with --image, --images-file or --embed-from-bundle", pulledImages, left[0].Name())
	}
	return nil
}

// microcode returns the file in the kernel image that the document names as
// microcode, or nil.
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

// layoutKey returns the key of a volume's image in layouts.
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

// readBase reads the request's documents, or the checkout's template and the list
// of the checkout's containers.
func (r Request) readBase(ctx context.Context, k *kernel.Image) (*base, []containers.Container, error) {
	if len(r.Documents) > 0 {
		p, err := r.mergeDocuments()
		if err != nil {
			return nil, nil, err
		}
		p.options.WorkDir, p.options.Moved = r.WorkDir, r.Moved
		return p, nil, p.overlay(r, nil)
	}
	path, content, err := r.Workspace.template(r.Template)
	if err != nil {
		return nil, nil, err
	}
	own, err := containers.List(ctx, withoutPulled{r.Workspace.FS()}, r.ContainersBase, r.Flavor.DockerArch())
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
	p.options.WorkDir, p.options.Moved = r.Workspace.Dir, r.Moved
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
	}
	if r.Site == nil {
		return nil
	}
	o, err := r.Site.Overlay(p.document, variables)
	if err != nil {
		return err
	}
	p.document, err = p.document.Overlay(p.name, o)
	return err
}

// checkSite looks for what the site needs of the images, and names the secrets that
// become readable.
func (b *Builder) checkSite(r Request, p *base) error {
	if r.Site == nil {
		return nil
	}
	if secrets := r.Site.Secrets(); len(secrets) > 0 {
		progress.Warnf(b.Progress, "the initramfs will have %s: everyone who can fetch it from the boot server can read that", strings.Join(secrets, ", "))
	}
	if len(p.unbuilt) > 0 { // a survey does not know these images
		return nil
	}
	return r.Site.CheckImages(p.document, func(ref string) []string {
		if img, ok := p.images[ref]; ok {
			return img.Config.Config.Env
		}
		return nil
	})
}

func newBase(path string, text []byte) (*base, error) {
	document, err := linuxkit.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	return &base{name: path, text: text, document: document}, nil
}

// mergeDocuments returns the base that the request's documents describe together.
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
	for _, d := range r.Documents { // the key depends on where each ends
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

// references returns the images that must be fetched, without the image of a
// kernel that was opened already and the checkout's own store.
func (p *base) references() []string { return p.document.References(p.options) }

// key returns a hash of everything that the root file system is made of.
func (p *base) key(ctx context.Context, salt string) (string, error) {
	digests := map[string]string{}
	for ref, img := range p.images {
		digests[ref] = img.ID.String()
	}
	for name, l := range p.layouts {
		digests[name] = l.Digest.String()
	}
	sources, err := p.sourceDigests(ctx)
	if err != nil {
		return "", err
	}
	document, err := json.Marshal(p.document) // the text has neither overlays nor site
	if err != nil {
		return "", fmt.Errorf("naming the root file system: %w", err)
	}
	return digest.Key(struct {
		Salt, Text, Document, Kernel string
		Images, Sources              map[string]string
		ModTime                      int64
	}{salt, string(p.text), string(document), p.kernel, digests, sources, p.options.ModTime.Unix()})
}

// sourceDigests returns the hashes of the document's source: files.
func (p *base) sourceDigests(ctx context.Context) (map[string]string, error) {
	paths, err := p.document.Sources(p.options)
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for source, path := range paths {
		if digests[source], err = digest.OfFile(ctx, path); err != nil {
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
		return nil, fmt.Errorf("finding the image %q: it is not in the plan, which has %s", ref, strings.Join(slices.Sorted(maps.Keys(s.images)), ", "))
	}
	return linuxkit.FromOCI(ctx, img)
}

// Layout implements [linuxkit.LayoutSource].
func (s imageSource) Layout(ctx context.Context, ref string, platforms []string) (*initramfs.Tree, error) {
	l, ok := s.layouts[layoutKey(ref, platforms)]
	if !ok {
		return nil, fmt.Errorf("finding the image %q: it is not in the plan", ref)
	}
	return l.Tree, l.Fetch(ctx)
}

var _ linuxkit.LayoutSource = imageSource{}
