package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/gzip"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// Registry is how kernel images are pushed.
type Registry struct {
	// Insecure lists hosts that are spoken to over HTTP.
	Insecure []string
	// Keychain has the logins; nil means docker's configuration and its
	// helpers.
	Keychain authn.Keychain
	Progress progress.Sink
}

func (r Registry) parse(ref string) (name.Reference, error) {
	var options []name.Option
	for _, host := range r.Insecure {
		if strings.HasPrefix(ref, host+"/") {
			options = append(options, name.Insecure)
		}
	}
	parsed, err := name.ParseReference(ref, options...)
	if err != nil {
		return nil, fault.Usagef("reading the image name %q: %w", ref, err)
	}
	return parsed, nil
}

func (r Registry) options(ctx context.Context) []remote.Option {
	keychain := r.Keychain
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain)}
}

// Has tells whether the registry has the image.
func (r Registry) Has(ctx context.Context, ref string) (bool, error) {
	parsed, err := r.parse(ref)
	if err != nil {
		return false, err
	}
	_, err = remote.Head(parsed, r.options(ctx)...)
	var answer *transport.Error
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusNotFound || answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return false, nil // registries answer 401 and 403 for what does not exist
	}
	return false, fault.Outsidef("looking for the kernel image %q: %w", ref, err)
}

// Push sends the image to the registry.
func (r Registry) Push(ctx context.Context, ref string, image v1.Image) error {
	parsed, err := r.parse(ref)
	if err != nil {
		return err
	}
	task := progress.Start(r.Progress, 0, "push %s", ref)
	if err := remote.Write(parsed, image, r.options(ctx)...); err != nil {
		return task.End(fault.Outsidef("pushing the kernel image %q: %w (docker login leaves the credentials that are used)", ref, err), "")
	}
	return task.End(nil, "")
}

// DockerHas tells whether a Docker engine has the image.
func DockerHas(ctx context.Context, docker client.APIClient, ref string) (bool, error) {
	_, err := docker.ImageInspect(ctx, ref)
	switch {
	case err == nil:
		return true, nil
	case errdefs.IsNotFound(err):
		return false, nil
	}
	return false, fault.Outsidef("looking for the kernel image %q in Docker: %w", ref, err)
}

// DockerLoad puts the image into a Docker engine under its name.
func DockerLoad(ctx context.Context, docker client.APIClient, ref string, image v1.Image) error {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(writeArchive(writer, ref, image)) }()
	response, err := docker.ImageLoad(ctx, reader)
	reader.CloseWithError(err)
	if err != nil {
		return fault.Outsidef("loading the kernel image %q into Docker: %w", ref, err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return fault.Outsidef("loading the kernel image %q into Docker: %w", ref, err)
	}
	return nil
}

// writeArchive writes the image as docker save does.
func writeArchive(w io.Writer, ref string, image v1.Image) error {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return fault.Usagef("reading the image name %q: %w", ref, err)
	}
	return tarball.Write(parsed, image, w)
}

// Export writes the image to a path: a file that ends in .tar or .tar.gz gets
// the form of docker save, anything else is a directory with an OCI layout, to
// which the image is added under its name.
func Export(ctx context.Context, path, ref string, image v1.Image) error {
	var err error
	if strings.HasSuffix(path, ".tar") || strings.HasSuffix(path, ".tar.gz") {
		err = exportArchive(path, ref, image)
	} else {
		err = exportLayout(path, ref, image)
	}
	if err != nil {
		return fmt.Errorf("exporting the kernel image %q to %q: %w", ref, path, err)
	}
	return ctx.Err()
}

// exportArchive writes a file that appears complete or not at all.
func exportArchive(path, ref string, image v1.Image) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed, as it should
	var w io.WriteCloser = nopWriteCloser{f}
	if strings.HasSuffix(path, ".gz") {
		w = gzip.NewWriter(f)
	}
	err = writeArchive(w, ref, image)
	if err = errors.Join(err, w.Close(), f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

func exportLayout(path, ref string, image v1.Image) error {
	where, err := layout.FromPath(path)
	if errors.Is(err, os.ErrNotExist) {
		where, err = layout.Write(path, empty.Index)
	}
	if err != nil {
		return err
	}
	const refName = "org.opencontainers.image.ref.name"
	matches := func(d v1.Descriptor) bool { return d.Annotations[refName] == ref }
	return where.ReplaceImage(image, matches, layout.WithAnnotations(map[string]string{refName: ref}))
}
