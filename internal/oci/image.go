package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"hookbuild/internal/fault"
)

// mostConfig limits the size of a configuration. Real ones are below 100 kB.
const mostConfig = 8 << 20

// Image is one image for one platform.
type Image struct {
	// Source is the name under which the image was requested.
	Source string
	// Reference is the registry reference; nil for other sources.
	Reference name.Reference
	// Digest is that of the platform's manifest, as the registry has it;
	// IndexDigest is that of the index that the reference names, or equal to
	// Digest if there is no index. Both are zero if there is no manifest, as in
	// the output of docker save.
	Digest, IndexDigest v1.Hash
	// Asked is the digest that the reference names where the image is a mirror's
	// of the same tag instead, which nothing proves to be the same
	// ([Options.MirrorByTag]); zero otherwise.
	Asked v1.Hash
	// ID is the digest of RawConfig: Docker's image ID.
	ID        v1.Hash
	RawConfig []byte
	Config    *v1.ConfigFile
	// Layers are in the order of application. A layer may occur twice.
	Layers []*Layer
}

// Identity returns the digest that tells the image from all others: that of its manifest,
// or the ID of an image without one, as those of a Docker Engine.
func (m *Image) Identity() v1.Hash {
	if m.Digest != (v1.Hash{}) {
		return m.Digest
	}
	return m.ID
}

// source provides the parts of an image.
type source interface {
	// manifest returns the manifest or index with the digest, verified.
	manifest(ctx context.Context, h v1.Hash) ([]byte, error)
	// config returns a configuration, verified.
	config(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// blob opens a layer. Its content is not verified.
	blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
}

// hostOf returns the registry of a source, "" if it has none.
func hostOf(s source) string {
	if registry, ok := s.(*registrySource); ok {
		return registry.ref.Context().RegistryStr()
	}
	return ""
}

// load reads the image for p that the manifest or index root leads to.
func (c *Client) load(ctx context.Context, src string, s source, root v1.Hash, p v1.Platform) (*Image, error) {
	digest, m, err := selectManifest(ctx, s, root, p)
	if err == nil {
		err = checkManifest(m)
	}
	if err != nil {
		return nil, fmt.Errorf("choosing image %q: %w", src, err)
	}
	raw, err := s.config(ctx, m.Config)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of image %q: %w", src, err)
	}
	config, err := parseConfig(raw, len(m.Layers))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of image %q: %w", src, err)
	}
	image := &Image{Source: src, Digest: digest, IndexDigest: root, ID: m.Config.Digest, RawConfig: raw, Config: config}
	for i, d := range m.Layers {
		if err := checkLayer(d); err != nil {
			return nil, fmt.Errorf("reading layer %d of image %q: %w", i+1, src, err)
		}
		image.Layers = append(image.Layers, &Layer{
			Digest: d.Digest, DiffID: config.RootFS.DiffIDs[i], Size: d.Size, MediaType: d.MediaType,
			client: c, image: src, number: i + 1, count: len(m.Layers), host: hostOf(s),
			open: func(ctx context.Context) (io.ReadCloser, v1.Descriptor, error) {
				r, err := s.blob(ctx, d)
				return r, d, err
			},
		})
	}
	return image, nil
}

// parseConfig parses a configuration, which must name as many layers as its
// manifest.
func parseConfig(raw []byte, layers int) (*v1.ConfigFile, error) {
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.Mark(err, fault.Invalid)
	}
	if got := len(config.RootFS.DiffIDs); got != layers {
		return nil, invalid("it names %d layers, but the manifest %d: the image is damaged", got, layers)
	}
	for _, h := range config.RootFS.DiffIDs {
		if h.Algorithm != "sha256" {
			return nil, invalid("the layer digest %q is not a sha256, the only supported kind", h)
		}
	}
	return config, nil
}

// Fetch fetches all layers into the cache, several at once. It is not required
// before [Image.Tree] and [Layer.Tar], but faster than fetching one layer after
// the other.
func (m *Image) Fetch(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range m.Layers {
		group.Go(func() error {
			f, err := l.Tar(ctx)
			if err != nil {
				return err
			}
			return f.Close()
		})
	}
	return group.Wait()
}

// PullSize returns how many bytes of the image a registry sends: manifest and
// configuration aside, its compressed layers, each once. It is 0 if the sizes
// are not known.
func (m *Image) PullSize() int64 {
	var sum int64
	seen := map[string]bool{}
	for _, l := range m.Layers {
		if !seen[l.Digest.String()] {
			sum += l.Size
		}
		seen[l.Digest.String()] = true
	}
	return sum
}

// unmarshal decodes JSON from an external source.
func unmarshal(raw []byte, v any) error {
	return fault.Mark(json.Unmarshal(raw, v), fault.Invalid)
}

// invalid returns an error about invalid content.
func invalid(format string, args ...any) error {
	return fault.Invalidf(format, args...)
}
