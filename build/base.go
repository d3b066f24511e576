package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/kernel"
	"hookbuild/linuxkit"
	"hookbuild/linuxkit/containers"
	"hookbuild/linuxkit/template"
)

// embeddedVariable is the template's name for the image that carries the
// store. Its place is taken by a store of our own, or by nothing.
const embeddedVariable = "HOOK_CONTAINER_EMBEDDED_IMAGE"

// base is the HookOS that the images are added to, before it is assembled.
type base struct {
	document *linuxkit.Document
	text     []byte // the document, variables expanded
	workDir  string
	images   map[string]*oci.Image // by reference
	embedded string                // the reference of the checkout's own store image
	kernel   *kernel.Image
}

func (b *Builder) planBase(ctx context.Context, r Request, k *kernel.Image) (*base, error) {
	path, content, err := r.Workspace.Template(r.Template)
	if err != nil {
		return nil, err
	}
	variables, err := r.variables(k)
	if err != nil {
		return nil, err
	}
	text, err := template.Expand(content, variables)
	if err != nil {
		return nil, fmt.Errorf("expanding the template %q: %w", path, err)
	}
	p := &base{text: text, workDir: r.Workspace.Dir, embedded: variables[embeddedVariable], kernel: k}
	if p.document, err = linuxkit.Parse(text); err != nil {
		return nil, fmt.Errorf("reading the template %q: %w", path, err)
	}
	p.images, err = b.resolveAll(ctx, p.references(), platformOf(r.Flavor.DockerArch()))
	return p, err
}

// variables gives the template's variables their values.
func (r Request) variables(k *kernel.Image) (map[string]string, error) {
	list, err := containers.List(r.Workspace.FS(), r.ContainersBase, r.Flavor.DockerArch())
	if err != nil {
		return nil, err
	}
	values := map[string]string{
		"HOOK_VERSION":        r.HookVersion,
		"HOOK_KERNEL_IMAGE":   kernelReference(k, r.KernelRepository),
		"HOOK_KERNEL_ID":      r.Flavor.ID,
		"HOOK_KERNEL_VERSION": k.Release,
	}
	for _, c := range list {
		values[c.Variable] = c.Reference
	}
	return values, nil
}

// options are how the document is assembled, but for the images.
func (p *base) options() linuxkit.Options {
	return linuxkit.Options{
		Kernel:  &linuxkit.Kernel{Kernel: p.kernel.Kernel, Modules: p.kernel.Modules, Origin: p.kernel.Source},
		Replace: map[string]*initramfs.Tree{p.embedded: nil},
		WorkDir: p.workDir,
	}
}

// references lists the images that must be fetched: neither the kernel, which
// is at hand, nor the checkout's own store.
func (p *base) references() []string { return p.document.References(p.options()) }

// resolveAll finds the images of the references; their layers stay where they
// are until someone reads them.
func (b *Builder) resolveAll(ctx context.Context, refs []string, p v1.Platform) (map[string]*oci.Image, error) {
	images := make(map[string]*oci.Image, len(refs))
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(b.Jobs, 4))
	for _, ref := range refs {
		g.Go(func() error {
			img, err := b.Client.Image(ctx, ref, p)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			images[ref] = img
			return nil
		})
	}
	return images, g.Wait()
}

func platformOf(dockerArch string) v1.Platform {
	return v1.Platform{OS: "linux", Architecture: dockerArch}
}

// baseSegment is the compressed archive of the assembled root file system.
func (b *Builder) baseSegment(ctx context.Context, p *base, o initramfs.SegmentOptions) (*cache.File, error) {
	key, err := b.baseKey(p, o)
	if err != nil {
		return nil, err
	}
	return b.derive(ctx, "assemble the root file system", key, func(w io.Writer) error {
		options := p.options()
		options.Images, options.Jobs, options.Progress = imageSource{p.images}, b.Jobs, b.Progress
		result, err := linuxkit.Assemble(ctx, p.document, options)
		if err != nil {
			return err
		}
		if init, ok := result.Tree.Lookup("init"); !ok || init.Type == initramfs.Dir {
			return fault.Mark(errors.New("assembling the root file system: it has no /init, so the kernel would not start it; the template's `init:` must list an image with one, such as linuxkit/init"), fault.Invalid)
		}
		return initramfs.WriteSegment(ctx, w, result.Tree, o)
	})
}

func (b *Builder) baseKey(p *base, o initramfs.SegmentOptions) (string, error) {
	digests := map[string]string{}
	for ref, img := range p.images {
		digests[ref] = img.ID.String()
	}
	sources, err := p.sourceDigests()
	if err != nil {
		return "", err
	}
	return keyOf(struct {
		Salt, Document, Kernel, Compression string
		Level                               int
		Images, Sources                     map[string]string
	}{b.Salt, string(p.text), p.kernel.Digest, string(o.Compression), o.Level, digests, sources})
}

// sourceDigests hashes the workspace's files that the document takes in.
func (p *base) sourceDigests() (map[string]string, error) {
	paths, err := p.document.Sources(p.options())
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for source, path := range paths {
		if digests[source], err = hashFile(path); err != nil {
			return nil, fmt.Errorf("reading the source %q of the template: %w", source, err)
		}
	}
	return digests, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// imageSource gives linuxkit the images that the plan found.
type imageSource struct {
	images map[string]*oci.Image
}

// Image implements [linuxkit.ImageSource].
func (s imageSource) Image(ctx context.Context, ref string) (*linuxkit.Image, error) {
	img, ok := s.images[ref]
	if !ok {
		return nil, fmt.Errorf("finding the image %q: the plan did not foresee it (known: %s)", ref, strings.Join(slices.Sorted(maps.Keys(s.images)), ", "))
	}
	if err := img.Fetch(ctx); err != nil {
		return nil, err
	}
	tree, err := img.Tree(ctx)
	if err != nil {
		return nil, err
	}
	var size int64
	for _, l := range img.Layers {
		size += l.Size
	}
	return &linuxkit.Image{Digest: img.Digest, Config: img.Config.Config, Tree: tree, Size: size}, nil
}

var _ linuxkit.ImageSource = imageSource{}
