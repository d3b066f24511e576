package linuxkit

import (
	"context"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Registry returns a source of the images that client finds for the platform p.
func Registry(client *oci.Client, p v1.Platform) ImageSource {
	return &registry{client, p}
}

type registry struct {
	client   *oci.Client
	platform v1.Platform
}

var _ LayoutSource = (*registry)(nil)

// Image implements [ImageSource].
func (r *registry) Image(ctx context.Context, ref string) (*Image, error) {
	img, err := r.client.Image(ctx, ref, r.platform)
	if err != nil {
		return nil, err
	}
	return FromOCI(ctx, img)
}

// Layout implements [LayoutSource].
func (r *registry) Layout(ctx context.Context, ref string, platforms []string) (*initramfs.Tree, error) {
	index, err := r.client.Layout(ctx, ref, platforms)
	if err != nil {
		return nil, err
	}
	return index.Tree, index.Fetch(ctx)
}

// FromOCI reads an image's file system, fetching all layers at once.
func FromOCI(ctx context.Context, img *oci.Image) (*Image, error) {
	if err := img.Fetch(ctx); err != nil {
		return nil, err
	}
	tree, err := img.Tree(ctx)
	if err != nil {
		return nil, err
	}
	out := &Image{Digest: img.Digest, Config: img.Config.Config, Tree: tree}
	for _, layer := range img.Layers {
		out.Size += layer.Size
	}
	return out, nil
}
