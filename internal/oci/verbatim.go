package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Verbatim finds the image that the registry reference src names, for copying
// it unchanged: its manifest and its compressed layers are the registry's. The
// layers are fetched as they are read and checked against their digests, but
// not cached. An index is an error.
func (c *Client) Verbatim(ctx context.Context, src string) (v1.Image, error) {
	s, root, err := c.find(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("finding image %q: %w", src, err)
	}
	v := &verbatim{ctx: ctx, source: s}
	if err := v.read(root); err != nil {
		return nil, fmt.Errorf("reading image %q: %w", src, err)
	}
	return partial.CompressedToImage(v)
}

// verbatim is an image as a registry has it.
type verbatim struct {
	ctx                    context.Context
	source                 source
	manifest               *manifest
	rawManifest, rawConfig []byte
}

func (v *verbatim) read(root v1.Hash) (err error) {
	if v.rawManifest, err = v.source.manifest(v.ctx, root); err != nil {
		return err
	}
	if v.manifest, err = parseManifest(v.rawManifest); err != nil {
		return err
	}
	if v.manifest.Manifests != nil {
		return invalid("it is an index, not an image; name the image of one architecture")
	}
	if err := checkManifest(v.manifest); err != nil {
		return err
	}
	for i, d := range v.manifest.Layers {
		if err := checkLayer(d); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	if v.rawConfig, err = v.source.config(v.ctx, v.manifest.Config); err != nil {
		return err
	}
	_, err = parseConfig(v.rawConfig, len(v.manifest.Layers))
	return err
}

// RawManifest implements [partial.CompressedImageCore].
func (v *verbatim) RawManifest() ([]byte, error) { return v.rawManifest, nil }

// RawConfigFile implements [partial.CompressedImageCore].
func (v *verbatim) RawConfigFile() ([]byte, error) { return v.rawConfig, nil }

// MediaType implements [partial.CompressedImageCore].
func (v *verbatim) MediaType() (types.MediaType, error) {
	if v.manifest.Config.MediaType == types.OCIConfigJSON {
		return types.OCIManifestSchema1, nil
	}
	return types.DockerManifestSchema2, nil
}

// LayerByDigest implements [partial.CompressedImageCore].
func (v *verbatim) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range v.manifest.Layers {
		if d.Digest == h {
			return verbatimLayer{v, d}, nil
		}
	}
	return nil, invalid("it has no layer %s", h)
}

type verbatimLayer struct {
	of *verbatim
	d  v1.Descriptor
}

// Digest implements [partial.CompressedLayer].
func (l verbatimLayer) Digest() (v1.Hash, error) { return l.d.Digest, nil }

// Size implements [partial.CompressedLayer].
func (l verbatimLayer) Size() (int64, error) { return l.d.Size, nil }

// MediaType implements [partial.CompressedLayer].
func (l verbatimLayer) MediaType() (types.MediaType, error) { return l.d.MediaType, nil }

// Compressed returns the layer as the registry has it. Its Read returns an
// error instead of [io.EOF] if the digest or the size differs.
func (l verbatimLayer) Compressed() (io.ReadCloser, error) {
	blob, err := l.of.source.blob(l.of.ctx, l.d)
	if err != nil {
		return nil, fmt.Errorf("reading layer %s: %w", l.d.Digest, err)
	}
	return &verifiedBlob{newVerifier(blob, l.d.Digest, l.d.Size), blob}, nil
}

type verifiedBlob struct {
	*verifier
	io.Closer
}

// Read implements [io.Reader].
func (b *verifiedBlob) Read(p []byte) (int, error) {
	n, err := b.verifier.Read(p)
	if errors.Is(err, io.EOF) {
		if wrong := b.finish(); wrong != nil {
			return n, wrong
		}
	}
	return n, err
}

// IsMissing reports whether err says that the last registry asked does not have
// the requested content. Registries answer 401 and 403 for what does not exist.
func IsMissing(err error) bool {
	for err != nil {
		switch e := err.(type) { //nolint:errorlint // the chain is walked to its last answer
		case *transport.Error:
			return e.StatusCode == http.StatusNotFound || e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden
		case interface{ Unwrap() []error }:
			all := e.Unwrap()
			if len(all) == 0 {
				return false
			}
			err = all[len(all)-1]
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		default:
			return false
		}
	}
	return false
}
