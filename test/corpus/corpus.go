// Package corpus makes seven container images like those that EKS Anywhere
// embeds, for tests and the demonstration, and a registry on loopback that
// serves them with a bundle manifest that names them.
//
//	r, err := corpus.Start(ctx, dir, corpus.Options{Packages: source})
//	err = r.Bundle(file, corpus.Actions)   // for --bundle
//
// The images share layers and contain what is easily lost between a registry
// and a machine that booted: deleted files and directories, opaque directories,
// hard links, set-id bits, owners, capabilities, devices, names of any bytes,
// empty layers, times to the nanosecond. Every image carries a description of
// each of its files and, if [Options.Checker] is set, the program that compares
// them: running the image prints what [expect.Well] returns, or what was lost.
//
// With a [PackageSource] the programs are real ones from Debian, and the images
// have about 60 MB per architecture; without, they are noise and have less than
// 1 MB. Images are indexes over the architectures with attestations, as
// BuildKit pushes them; layers are compressed with gzip, with zstd and not at
// all. Digests depend only on the inputs.
//
// Layers are made once and kept by digest, so that a second start is quick;
// none is held in memory.
package corpus

import (
	"bytes"
	"context"
	"fmt"
	"net"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/test/corpus/expect"
)

// Options specify what to make.
type Options struct {
	// Arches are the architectures, as Docker names them; nil means amd64 and
	// arm64.
	Arches []string
	// Packages returns Debian's packages for the real programs; nil means the
	// small corpus.
	Packages PackageSource
	// Checker returns the program that checks an image, for an architecture,
	// such as [BuildChecker]; nil leaves it out, and then no image can be run.
	Checker func(ctx context.Context, arch string) (string, error)
	// GzipOnly makes no zstd layers, which Docker before 23.0 cannot read.
	GzipOnly bool
	// Listener wraps the registry's listener, such as to count bytes; nil leaves
	// it as it is.
	Listener func(net.Listener) net.Listener
}

func (o Options) arches() []string {
	if o.Arches == nil {
		return []string{"amd64", "arm64"}
	}
	return o.Arches
}

// Corpus is a set of images on disk.
type Corpus struct {
	store  *store
	arches []string
	images map[string]map[string]*image // by name, then architecture
}

type image struct {
	v1.Image
	document *expect.Document
	docker   bool
}

// build makes the images below dir, reusing layers made earlier.
func build(ctx context.Context, dir string, o Options) (*Corpus, error) {
	s, err := openStore(dir)
	if err != nil {
		return nil, err
	}
	c := &Corpus{store: s, arches: o.arches(), images: map[string]map[string]*image{}}
	for _, arch := range c.arches {
		if err := c.build(ctx, arch, o); err != nil {
			return nil, fmt.Errorf("making the corpus for %s: %w", arch, err)
		}
	}
	return c, nil
}

func (c *Corpus) build(ctx context.Context, arch string, o Options) error {
	in, err := o.ingredients(ctx, arch)
	if err != nil {
		return err
	}
	recipes := in.images()
	for _, name := range Names() {
		img, err := c.assemble(ctx, name, arch, recipes[name], o.GzipOnly)
		if err != nil {
			return fmt.Errorf("making the image %q: %w", name, err)
		}
		if c.images[name] == nil {
			c.images[name] = map[string]*image{}
		}
		c.images[name][arch] = img
	}
	return nil
}

func (o Options) ingredients(ctx context.Context, arch string) (ingredients, error) {
	program := ""
	if o.Checker != nil {
		var err error
		if program, err = o.Checker(ctx, arch); err != nil {
			return ingredients{}, err
		}
	}
	if o.Packages == nil {
		return small(program)
	}
	return debianIngredients(ctx, o.Packages, arch, program)
}

// assemble makes the layers of an image, another layer that describes them, and
// the image.
func (c *Corpus) assemble(ctx context.Context, name, arch string, r imageRecipe, gzipOnly bool) (*image, error) {
	var layers []*layer
	for _, part := range r.layers {
		if part.compression == zstded && (gzipOnly || r.docker) {
			part.compression = gzipped
		}
		l, err := c.store.layer(ctx, part)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	document := &expect.Document{Image: name, Arch: arch, Runs: r.runs}
	document.Files, document.Deleted, document.Opaque = flatten(layers)
	top, err := describing(name, document)
	if err != nil {
		return nil, err
	}
	l, err := c.store.layer(ctx, top)
	if err != nil {
		return nil, err
	}
	img, err := join(arch, append(layers, l), r)
	return &image{img, document, r.docker}, err
}

// describing returns the layer with the document.
func describing(name string, d *expect.Document) (recipe, error) {
	var content bytes.Buffer
	if err := d.Write(&content); err != nil {
		return recipe{}, err
	}
	return recipe{name: "description of " + name, compression: gzipped, files: []file{
		dir("corpus", 0o755), text(expect.DocumentPath, content.String(), 0o644),
	}}, nil
}

func join(arch string, layers []*layer, r imageRecipe) (v1.Image, error) {
	config := &v1.ConfigFile{Architecture: arch, OS: "linux", Config: r.config, RootFS: v1.RootFS{Type: "layers"}, Created: v1.Time{Time: madeAt()}}
	img, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		return nil, err
	}
	if !r.docker {
		img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	for _, l := range layers {
		img, err = mutate.Append(img, mutate.Addendum{
			Layer:     blobLayer{l, r.docker},
			History:   v1.History{Created: v1.Time{Time: madeAt()}, CreatedBy: "corpus"},
			MediaType: l.mediaType(r.docker),
		})
		if err != nil {
			return nil, err
		}
	}
	return img, nil
}

// Image returns one image of the corpus.
func (c *Corpus) Image(name, arch string) (v1.Image, error) {
	img, err := c.find(name, arch)
	if err != nil {
		return nil, err
	}
	return img.Image, nil
}

// Document describes what a container of the image sees.
func (c *Corpus) Document(name, arch string) (*expect.Document, error) {
	img, err := c.find(name, arch)
	if err != nil {
		return nil, err
	}
	return img.document, nil
}

func (c *Corpus) find(name, arch string) (*image, error) {
	img := c.images[name][arch]
	if img == nil {
		return nil, fmt.Errorf("the corpus has no image %q for %q", name, arch)
	}
	return img, nil
}
