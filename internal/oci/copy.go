package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/fault"
)

// Copy is an image or artifact as its source has it, blob by blob.
type Copy struct {
	// Root describes the index, or the manifest of an image without an index.
	Root v1.Descriptor
	// Blobs are the index, the manifests, the configurations and the layers.
	// The same blob may come twice.
	Blobs []CopyBlob
}

// CopyBlob is one part of a [Copy].
type CopyBlob struct {
	v1.Descriptor
	// Open starts reading the blob. Its Read returns an error in the place of
	// [io.EOF] where the digest or the size is another.
	Open func(context.Context) (io.ReadCloser, error)
	// Remote reports whether Open asks the registry.
	Remote bool
}

// Copy finds the blobs of what a registry reference names, for keeping them
// unchanged. Of an index it takes the manifest with the digest only, or all of
// them if that is zero. The layers are fetched as they are read, and not cached.
func (c *Client) Copy(ctx context.Context, src string, only v1.Hash) (*Copy, error) {
	s, root, err := c.find(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("finding image %q: %w", src, err)
	}
	found := &copier{source: s, seen: map[v1.Hash]bool{}}
	if found.Root, err = found.manifest(ctx, root, only); err != nil {
		return nil, fmt.Errorf("reading image %q: %w", src, err)
	}
	return &found.Copy, nil
}

type copier struct {
	Copy
	source *registrySource
	// seen are the manifests and indexes that were added. Without it, indexes
	// that name each other many times over would multiply.
	seen map[v1.Hash]bool
}

// manifest adds a manifest or index and what it names.
func (c *copier) manifest(ctx context.Context, h, only v1.Hash) (v1.Descriptor, error) {
	c.seen[h] = true
	raw, err := c.source.manifest(ctx, h)
	if err != nil {
		return v1.Descriptor{}, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: typeOfManifest(raw, m), Digest: h, Size: int64(len(raw))}
	c.add(d, bytesOf(raw), false)
	for _, inner := range m.Manifests {
		if c.seen[inner.Digest] || only != (v1.Hash{}) && inner.Digest != only {
			continue
		}
		if _, err := c.manifest(ctx, inner.Digest, v1.Hash{}); err != nil {
			return d, err
		}
	}
	if m.Manifests != nil {
		return d, nil
	}
	config, err := c.source.config(ctx, m.Config)
	if err != nil {
		return d, err
	}
	c.add(v1.Descriptor{MediaType: m.Config.MediaType, Digest: m.Config.Digest, Size: int64(len(config))}, bytesOf(config), false)
	for _, layer := range m.Layers {
		if layer.Size < 0 {
			return d, invalid("the size %d of %s is no size", layer.Size, layer.Digest)
		}
		c.add(layer, c.blob(layer), true)
	}
	return d, nil
}

func (c *copier) add(d v1.Descriptor, open func(context.Context) (io.ReadCloser, error), remote bool) {
	c.Blobs = append(c.Blobs, CopyBlob{v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, open, remote})
}

func (c *copier) blob(d v1.Descriptor) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		if c.source.client.offline {
			return nil, fault.Outsidef("the cache does not keep layers as registries have them, compressed; leave out --offline, or name a kit that has them with --kit")
		}
		return c.source.verified(ctx, d)
	}
}

func bytesOf(raw []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
}

// typeOfManifest returns what a manifest says that it is or, where it says
// nothing, what its content is.
func typeOfManifest(raw []byte, m *manifest) types.MediaType {
	var says struct {
		MediaType types.MediaType `json:"mediaType"`
	}
	switch err := json.Unmarshal(raw, &says); {
	case err == nil && says.MediaType != "":
		return says.MediaType
	case m.Manifests != nil:
		return types.OCIImageIndex
	}
	return types.OCIManifestSchema1
}

// CopyLocal returns an image of this machine, such as one of a Docker Engine, in
// the form that a registry would have: with a manifest, and layers that are not
// compressed. It brings the layers into the cache.
func (m *Image) CopyLocal(ctx context.Context) (*Copy, error) {
	if err := m.Fetch(ctx); err != nil {
		return nil, err
	}
	c := &Copy{}
	made := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: m.ID, Size: int64(len(m.RawConfig))},
	}
	c.Blobs = append(c.Blobs, CopyBlob{Descriptor: made.Config, Open: bytesOf(m.RawConfig)})
	for _, l := range m.Layers {
		f, err := l.Tar(ctx)
		if err != nil {
			return nil, err
		}
		d := v1.Descriptor{MediaType: types.OCIUncompressedLayer, Digest: l.DiffID, Size: f.Size()}
		if err := f.Close(); err != nil {
			return nil, err
		}
		made.Layers = append(made.Layers, d)
		c.Blobs = append(c.Blobs, CopyBlob{Descriptor: d, Open: l.uncompressed})
	}
	raw, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	c.Root = v1.Descriptor{MediaType: made.MediaType, Digest: hashOf(raw), Size: int64(len(raw))}
	c.Blobs = append(c.Blobs, CopyBlob{Descriptor: c.Root, Open: bytesOf(raw)})
	return c, nil
}

// uncompressed reads the layer's uncompressed archive.
func (l *Layer) uncompressed(ctx context.Context) (io.ReadCloser, error) {
	f, err := l.Tar(ctx)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, 0, f.Size()), f}, nil
}
