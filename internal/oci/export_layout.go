package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"hookbuild/internal/initramfs"
)

// Layout returns the index that src, a registry reference, names as an OCI
// image layout (OCI image specification, "Image Layout"): oci-layout,
// index.json, and below blobs/sha256 the unchanged index and the images for the
// platforms ("linux/arm64"), or all images if none are given. Layers are
// fetched when their files are opened. The digest is the index's.
func (c *Client) Layout(ctx context.Context, src string, platforms []string) (*Index, error) {
	s, root, err := c.find(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("finding image %q: %w", src, err)
	}
	l := &layoutWriter{ctx: ctx, src: src, from: s}
	if err := l.write(root, platforms); err != nil {
		return nil, fmt.Errorf("laying out image %q: %w", src, err)
	}
	return &Index{Tree: &l.tree, Digest: root, layers: l.layers, jobs: cap(c.slots)}, nil
}

// Index is an image index as the files of an OCI layout.
type Index struct {
	// Tree holds the layout. Opening a layer that was not fetched fetches it.
	Tree   *initramfs.Tree
	Digest v1.Hash
	layers []*ArtifactFile
	jobs   int
}

// Fetch fetches the layers into the cache, several at once.
func (x *Index) Fetch(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(x.jobs)
	for _, layer := range x.layers {
		g.Go(func() error {
			f, err := layer.Open(ctx)
			if err != nil {
				return err
			}
			return f.Close()
		})
	}
	return g.Wait()
}

// layoutWriter builds one layout.
type layoutWriter struct {
	ctx    context.Context
	src    string
	from   *registrySource
	tree   initramfs.Tree
	layers []*ArtifactFile
}

func (l *layoutWriter) write(root v1.Hash, platforms []string) error {
	wanted, err := parsePlatforms(platforms)
	if err != nil {
		return err
	}
	raw, err := l.from.manifest(l.ctx, root)
	if err != nil {
		return err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return err
	}
	top := v1.Descriptor{MediaType: types.OCIImageIndex, Size: int64(len(raw)), Digest: root, Annotations: map[string]string{"org.opencontainers.image.ref.name": l.src}}
	if m.Manifests == nil {
		top.MediaType = types.OCIManifestSchema1
		err = l.addImage(root)
	} else {
		err = l.addImages(m.Manifests, wanted)
	}
	if err != nil {
		return err
	}
	if err := l.addFile(blobPath(root), raw); err != nil {
		return err
	}
	index, err := json.MarshalIndent(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{top}}, "", "   ")
	if err != nil {
		return err
	}
	if err := l.addFile("index.json", index); err != nil {
		return err
	}
	return l.addFile("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

func parsePlatforms(texts []string) ([]v1.Platform, error) {
	var all []v1.Platform
	for _, text := range texts {
		p, err := v1.ParsePlatform(text)
		if err != nil {
			return nil, invalid("%q is not a platform such as linux/arm64: %w", text, err)
		}
		all = append(all, *p)
	}
	return all, nil
}

// addImages adds the wanted images of an index.
func (l *layoutWriter) addImages(offered []v1.Descriptor, wanted []v1.Platform) error {
	added := 0
	for _, d := range offered {
		fitting := slices.ContainsFunc(wanted, func(p v1.Platform) bool {
			return d.Platform != nil && d.Platform.OS == p.OS && d.Platform.Architecture == p.Architecture && (p.Variant == "" || p.Variant == d.Platform.Variant)
		})
		if len(wanted) > 0 && !fitting || !d.MediaType.IsImage() {
			continue
		}
		if err := l.addImage(d.Digest); err != nil {
			return err
		}
		added++
	}
	if added == 0 {
		var names []string
		for _, p := range wanted {
			names = append(names, p.String())
		}
		return invalid("it is not available for %s, only for %s", strings.Join(names, ", "), listPlatforms(offered))
	}
	return nil
}

// addImage adds manifest, configuration and layers.
func (l *layoutWriter) addImage(h v1.Hash) error {
	raw, err := l.from.manifest(l.ctx, h)
	if err != nil {
		return err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return err
	}
	if err := l.addFile(blobPath(h), raw); err != nil {
		return err
	}
	config, err := l.from.config(l.ctx, m.Config)
	if err != nil {
		return err
	}
	if err := l.addFile(blobPath(m.Config.Digest), config); err != nil {
		return err
	}
	for _, d := range m.Layers {
		if err := l.addLayer(d); err != nil {
			return err
		}
	}
	return nil
}

func (l *layoutWriter) addFile(name string, content []byte) error {
	return l.tree.Add(initramfs.BytesFile(name, content, initramfs.Epoch()))
}

// addLayer adds a layer as it is in the registry, compressed.
func (l *layoutWriter) addLayer(d v1.Descriptor) error {
	if d.Size < 0 {
		return invalid("the size %d of its layer %s is invalid", d.Size, d.Digest)
	}
	file := &ArtifactFile{Name: d.Digest.String(), Digest: d.Digest, Size: d.Size, artifact: l.src, source: l.from, blob: d}
	l.layers = append(l.layers, file)
	opening := context.WithoutCancel(l.ctx) // the tree outlives the call that made it
	return l.tree.Add(initramfs.Entry{
		Path: blobPath(d.Digest), Type: initramfs.Regular, Mode: 0o644, Size: d.Size, ModTime: initramfs.Epoch(), Origin: l.src,
		Open: func() (io.ReadCloser, error) {
			f, err := file.Open(opening)
			if err != nil {
				return nil, err
			}
			return struct {
				*io.SectionReader
				io.Closer
			}{io.NewSectionReader(f, 0, f.Size()), f}, nil
		},
	})
}
