package container

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/engine"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// Pin identifies a builder image.
type Pin struct {
	// Name is the image's name in its registry or in the engine.
	Name string
	// Digest is that of its manifest in the registry, for the engine's
	// architecture. It is empty for an image that the engine built.
	Digest string
	// ID is the digest of its configuration: the image's ID in the engine.
	ID string
}

// Images finds an image by its reference, for copying it into the engine.
type Images interface {
	Verbatim(ctx context.Context, src string) (v1.Image, error)
}

// Identify returns the builder image for targets of an architecture. It makes
// the engine pull or build an image that it lacks.
func (b *Builder) Identify(ctx context.Context, arch string) (Pin, error) {
	tools, err := toolchainOf(arch)
	if err != nil {
		return Pin{}, err
	}
	ref, err := b.obtainImage(ctx, tools)
	if err != nil {
		return Pin{}, err
	}
	info, err := b.docker.ImageInspect(ctx, ref)
	if err != nil {
		return Pin{}, outside("looking for the builder image %q: %w", ref, err)
	}
	return Pin{Name: ref, ID: info.ID}, nil
}

// Load makes sure that the engine has the pinned image.
func (b *Builder) Load(ctx context.Context) error {
	_, err := b.pinnedImage(ctx, *b.o.Pin)
	return err
}

// Arch returns the engine's architecture: "x86_64" or "aarch64".
func (b *Builder) Arch() string { return engineArch(b.arch) }

// pinnedImage returns the ID of the pinned builder image. An image that the
// engine lacks is copied from where Images finds it.
func (b *Builder) pinnedImage(ctx context.Context, pin Pin) (string, error) {
	_, err := b.docker.ImageInspect(ctx, pin.ID)
	switch {
	case err == nil:
		return pin.ID, nil
	case !errdefs.IsNotFound(err):
		return "", outside("looking for the builder image %q: %w", pin.Name, err)
	}
	task := progress.Start(b.o.Progress, 0, "load the builder image %s into Docker", pin.Name)
	return pin.ID, task.End(b.loadPinned(ctx, pin), "")
}

func (b *Builder) loadPinned(ctx context.Context, pin Pin) error {
	ref := pin.Name
	if pin.Digest != "" {
		ref += "@" + pin.Digest
	}
	image, err := b.o.Images.Verbatim(ctx, ref)
	if err != nil && pin.Digest == "" {
		return fault.Outsidef("finding the builder image %q with the ID %s, which is neither in Docker nor in a kit: %w; give a kit that has it with --kit, or pin another with `hookbuild lock --update builder`", pin.Name, pin.ID, err)
	}
	if err != nil {
		return fault.Outsidef("finding the builder image %q: %w", ref, err)
	}
	got, err := image.ConfigName()
	if err != nil {
		return outside("reading the builder image %q: %w", ref, err)
	}
	if got.String() != pin.ID {
		return fault.Invalidf("reading the builder image %q: its ID is %s and the lock says %s; pin it again with `hookbuild lock --update builder`", ref, got, pin.ID)
	}
	tag, err := name.NewTag(pin.Name)
	if err != nil {
		return fault.Invalidf("loading the builder image %q into Docker: %w", pin.Name, err)
	}
	if err := engine.Load(ctx, b.docker, tag, image); err != nil {
		return outside("loading the builder image %q into Docker: %w", pin.Name, err)
	}
	return nil
}
