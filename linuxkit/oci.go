package linuxkit

import (
	"context"

	"hookbuild/internal/oci"
)

// FromOCI reads an image's file system, fetching all layers at once.
func FromOCI(ctx context.Context, img *oci.Image) (*Image, error) {
	if err := img.Fetch(ctx); err != nil {
		return nil, err
	}
	tree, err := img.Tree(ctx)
	if err != nil {
		return nil, err
	}
	out := &Image{Digest: img.Identity(), Config: img.Config.Config, Tree: tree}
	for _, layer := range img.Layers {
		out.Size += layer.Size
	}
	return out, nil
}
