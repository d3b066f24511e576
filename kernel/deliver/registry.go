package deliver

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// Registry is the registry in an image's name.
type Registry struct {
	// Client reads images, through mirrors.
	Client *oci.Client
	// Itself looks for images in the registry itself and not in its mirror, as a
	// push requires.
	Itself bool
	// Web sends images; nil means a client with the default limits.
	Web *web.Client
	// Insecure lists hosts that may use plain HTTP.
	Insecure []string
	// Keychain provides the logins; nil means those of docker login and its
	// helpers.
	Keychain authn.Keychain
	Progress progress.Sink
}

// String returns the name of the place for messages.
func (Registry) String() string { return "the registry" }

func (r Registry) remote() oci.Remote {
	return oci.Remote{Web: r.Web, Insecure: r.Insecure, Keychain: r.Keychain}
}

func (r Registry) find(ctx context.Context, ref string) (Producer, error) {
	if r.Itself {
		return r.findItself(ctx, ref)
	}
	image, err := r.Client.Verbatim(ctx, ref)
	switch {
	case oci.IsMissing(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("looking for the kernel image: %w", err)
	}
	return func(context.Context) (*Made, error) { return &Made{image, func() error { return nil }}, nil }, nil
}

// findItself asks the registry and no mirror.
func (r Registry) findItself(ctx context.Context, ref string) (Producer, error) {
	parsed, err := r.remote().Parse(ref)
	if err != nil {
		return nil, err
	}
	_, err = remote.Head(parsed, r.remote().Options(ctx)...)
	switch {
	case err == nil:
	case oci.IsMissing(err):
		return nil, nil
	default:
		return nil, fmt.Errorf("looking for the kernel image %q: %w", ref, oci.Explain(parsed.Context().RegistryStr(), err))
	}
	return func(ctx context.Context) (*Made, error) {
		image, err := r.Client.Verbatim(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("fetching the kernel image: %w", err)
		}
		return &Made{image, func() error { return nil }}, nil
	}, nil
}

// put sends the image to the registry.
func (r Registry) put(ctx context.Context, ref string, image v1.Image) error {
	parsed, err := r.remote().Parse(ref)
	if err != nil {
		return err
	}
	task := progress.Start(r.Progress, 0, "push %s", ref)
	if err := remote.Write(parsed, image, r.remote().Options(ctx)...); err != nil {
		return task.End(fault.Outsidef("pushing the kernel image %q: %w (%s)", ref, err, oci.PushRemedy(err)), "")
	}
	return task.End(nil, "")
}

var _ place = Registry{}

// Has reports whether the registry has the image with this name.
func (r Registry) Has(ctx context.Context, ref string) (bool, error) {
	p, err := r.find(ctx, ref)
	return p != nil, err
}
