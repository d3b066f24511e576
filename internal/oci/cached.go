package oci

import (
	"context"
	"errors"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
)

// Part is a file of an image or artifact: what a registry sends of it.
type Part struct {
	// Key identifies the content. It is the digest of the file in the cache.
	Key v1.Hash
	// Size is the number of bytes that the registry sends.
	Size int64
	// Cached reports that the cache has the content.
	Cached bool
}

// Parts returns the layers of the image that come from a registry. Those of an
// image in a file or in a Docker Engine are not among them.
func (m *Image) Parts(ctx context.Context) ([]Part, error) {
	var all []Part
	for _, l := range m.Layers {
		if l.host == "" {
			continue
		}
		has, err := isCached(ctx, l.client.cache, layerKind, l.DiffID)
		if err != nil {
			return nil, err
		}
		all = append(all, Part{l.DiffID, l.Size, has})
	}
	return all, nil
}

// Parts returns the artifact's files.
func (a *Artifact) Parts(ctx context.Context) ([]Part, error) { return partsOf(ctx, a.Files) }

// Parts returns the layers of the layout.
func (x *Index) Parts(ctx context.Context) ([]Part, error) { return partsOf(ctx, x.layers) }

func partsOf(ctx context.Context, files []*ArtifactFile) ([]Part, error) {
	var all []Part
	for _, f := range files {
		has, err := isCached(ctx, f.source.client.cache, blobKind, f.Digest)
		if err != nil {
			return nil, err
		}
		all = append(all, Part{f.Digest, f.Size, has})
	}
	return all, nil
}

func isCached(ctx context.Context, c *cache.Cache, kind string, h v1.Hash) (bool, error) {
	f, err := c.Blob(ctx, kind, h)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}
