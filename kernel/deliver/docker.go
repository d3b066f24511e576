package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/engine"
	"hookbuild/internal/fault"
)

// docker holds the images of a Docker engine.
type docker struct{ api client.APIClient }

func (docker) String() string { return "Docker" }

func (d docker) find(ctx context.Context, ref string) (Producer, error) {
	_, err := d.api.ImageInspect(ctx, ref)
	switch {
	case errdefs.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fault.Outsidef("looking for the kernel image %q in Docker: %w", ref, err)
	}
	return func(ctx context.Context) (*Made, error) {
		made, err := savedByDocker(ctx, ref)
		if err != nil {
			return nil, fault.Outsidef("reading the kernel image %q from Docker: %w", ref, err)
		}
		return made, nil
	}, nil
}

// InDocker reports whether the local Docker has the image with this name. A Docker that
// cannot be asked counts as having none.
func InDocker(ctx context.Context, ref string) bool {
	api, err := dockerhost.Connect(ctx)
	if err != nil {
		return false
	}
	p, err := docker{api}.find(ctx, ref)
	return errors.Join(err, api.Close()) == nil && p != nil
}

// savedByDocker reads an image from the output of docker save, which preserves
// its configuration and therefore its ID.
func savedByDocker(ctx context.Context, ref string) (_ *Made, err error) {
	tag, err := name.NewTag(ref)
	if err != nil {
		return nil, err
	}
	api, err := dockerhost.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, api.Close()) }()
	stream, err := api.ImageSave(ctx, []string{ref})
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp("", "hookbuild-kernel-*.tar")
	if err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	discard := func() error { return os.Remove(file.Name()) }
	_, err = io.Copy(file, stream)
	if err := errors.Join(err, stream.Close(), file.Close()); err != nil {
		return nil, errors.Join(err, discard())
	}
	image, err := tarball.ImageFromPath(file.Name(), &tag)
	if err != nil {
		return nil, errors.Join(err, discard())
	}
	return &Made{image, discard}, nil
}

// put loads the image.
func (d docker) put(ctx context.Context, ref string, image v1.Image) error {
	parsed, err := parse(ref)
	if err != nil {
		return err
	}
	if err := engine.Load(ctx, d.api, parsed, image); err != nil {
		return fmt.Errorf("loading the kernel image %q into Docker: %w", ref, err)
	}
	return nil
}

var _ place = docker{}
