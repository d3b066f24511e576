package peertest

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/linuxkit"
)

// Registry returns a source of the images that client finds for the platform p.
func Registry(client *oci.Client, p v1.Platform) linuxkit.ImageSource {
	return &source{client, p}
}

type source struct {
	client   *oci.Client
	platform v1.Platform
}

var _ linuxkit.LayoutSource = (*source)(nil)

// Image implements [linuxkit.ImageSource].
func (r *source) Image(ctx context.Context, ref string) (*linuxkit.Image, error) {
	img, err := r.client.Image(ctx, ref, r.platform)
	if err != nil {
		return nil, err
	}
	return linuxkit.FromOCI(ctx, img)
}

// Layout implements [linuxkit.LayoutSource].
func (r *source) Layout(ctx context.Context, ref string, platforms []string) (*initramfs.Tree, error) {
	index, err := r.client.Layout(ctx, ref, platforms)
	if err != nil {
		return nil, err
	}
	return index.Tree, index.Fetch(ctx)
}
