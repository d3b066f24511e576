package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// certificates is where Linux distributions keep the authorities that they
// trust; the image gets those of the machine that makes it.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// pushImage pushes hookbuild for the platforms as one image to a registry, with
// the credentials that `docker login` left, and returns the reference with the
// digest. The image holds the program, certificates and licences, and no shell.
func pushImage(ctx context.Context, ref string, platforms []string, epoch string) (string, error) {
	at, err := name.ParseReference(ref)
	if err != nil {
		return "", fmt.Errorf("reading the image's name: %w", err)
	}
	work, err := os.MkdirTemp("", "hookbuild-image-")
	if err != nil {
		return "", fmt.Errorf("making a directory for the programs: %w", err)
	}
	defer os.RemoveAll(work)
	trusted, err := os.ReadFile(certificates)
	if err != nil {
		return "", fmt.Errorf("reading the certificates for the image: %w; install ca-certificates", err)
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range platforms {
		p, err := buildProgram(ctx, work, platform)
		if err != nil {
			return "", err
		}
		image, err := p.image(ctx, trusted, epoch)
		if err != nil {
			return "", fmt.Errorf("making the image for %s: %w", platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.goos, Architecture: p.arch}},
		})
	}
	if err := remote.WriteIndex(at, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("pushing %s: %w", at, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return "", err
	}
	return at.Context().Digest(digest.String()).String(), nil
}

// image returns an image with the program as its entry point.
func (p *program) image(ctx context.Context, trusted []byte, epoch string) (v1.Image, error) {
	stamp, err := p.stamp(epoch)
	if err != nil {
		return nil, err
	}
	modules, err := modulesOf(ctx, p.info)
	if err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("reading the program: %w", err)
	}
	entries := []entry{
		{name: "usr/local/bin/hookbuild", mode: 0o755, content: binary},
		{name: certificates[1:], mode: 0o644, content: trusted},
	}
	for _, e := range licences(modules) {
		e.name = "usr/share/doc/hookbuild/" + e.name
		entries = append(entries, e)
	}
	layer, err := layerOf(entries, stamp)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1), layer)
	if err != nil {
		return nil, err
	}
	layered, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, p.config(layered.RootFS, stamp))
}

// config returns the image's configuration: the program works in /work, where
// a user mounts a directory, and keeps its cache and temporary files in /tmp.
func (p *program) config(root v1.RootFS, stamp time.Time) *v1.ConfigFile {
	c := &v1.ConfigFile{OS: p.goos, Architecture: p.arch, Created: v1.Time{Time: stamp}, RootFS: root}
	c.Config = v1.Config{
		Entrypoint: []string{"/usr/local/bin/hookbuild"}, WorkingDir: "/work",
		Env: []string{"PATH=/usr/local/bin", "HOME=/tmp"},
		Labels: map[string]string{
			"org.opencontainers.image.title":    "hookbuild",
			"org.opencontainers.image.version":  p.version(),
			"org.opencontainers.image.revision": p.setting("vcs.revision"),
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return c
}

// layerOf returns a layer with the entries, and with /tmp and /work for every
// user.
func layerOf(entries []entry, stamp time.Time) (v1.Layer, error) {
	var buf bytes.Buffer
	t := tar.NewWriter(&buf)
	for _, dir := range []string{"tmp/", "work/"} {
		h := &tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o1777, ModTime: stamp, Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("adding %s: %w", dir, err)
		}
	}
	if err := writeEntries(t, "", entries, stamp); err != nil {
		return nil, err
	}
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("ending the layer: %w", err)
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}
