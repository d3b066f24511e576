package release

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Mirror starts a registry that is filled with the images of a release as
// "eksctl anywhere import images" fills one: of each index one architecture is
// saved as an archive, loaded, tagged and pushed. So the tags are the bundle's
// and the digests are not: the archive has the layers uncompressed, and they are
// compressed again on the way. Prefix, such as "ecr", begins the repositories.
func (s *Service) Mirror(ctx context.Context, r Release, prefix string, a Access) (*Registry, error) {
	m, err := NewRegistry(ctx, a)
	if err != nil {
		return nil, err
	}
	for _, ref := range s.References(r) {
		if err := s.importImage(ctx, m, ref, prefix); err != nil {
			return nil, errors.Join(fmt.Errorf("importing %s: %w", ref, err), m.Close())
		}
	}
	return m, nil
}

// importImage copies the amd64 image of an index by way of an archive.
func (s *Service) importImage(ctx context.Context, m *Registry, ref, prefix string) error {
	from, err := s.Images.parse(ref)
	if err != nil {
		return err
	}
	img, err := remote.Image(from, remote.WithContext(ctx), s.Images.local(), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
	if err != nil {
		return err
	}
	loaded, err := reload(img)
	if err != nil {
		return err
	}
	return m.Push(ctx, MirrorName(ref, m.Addr(), prefix), loaded)
}

// MirrorName is the name that an image of the service has at a mirror.
func MirrorName(ref, mirror, prefix string) string {
	_, repository, _ := strings.Cut(ref, "/")
	if prefix != "" {
		repository = prefix + "/" + repository
	}
	return mirror + "/" + repository
}

// Push writes an image, past the access rules.
func (r *Registry) Push(ctx context.Context, ref string, img v1.Image) error {
	to, err := r.parse(ref)
	if err != nil {
		return err
	}
	return remote.Write(to, img, remote.WithContext(ctx), r.local())
}

// reload returns an image as docker push sends it after docker save and docker
// load: the same configuration, the layers compressed anew, another manifest.
func reload(img v1.Image) (v1.Image, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	loaded := empty.Image
	for _, l := range layers {
		again, err := tarball.LayerFromOpener(l.Uncompressed, tarball.WithCompressionLevel(gzip.BestCompression))
		if err != nil {
			return nil, err
		}
		if loaded, err = mutate.AppendLayers(loaded, again); err != nil {
			return nil, err
		}
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	return pushed{loaded, raw}, nil
}

// pushed is an image with the configuration of another one, byte for byte.
type pushed struct {
	v1.Image
	raw []byte
}

// RawConfigFile implements [v1.Image].
func (p pushed) RawConfigFile() ([]byte, error) { return p.raw, nil }

// ConfigFile implements [v1.Image].
func (p pushed) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(p) }

// ConfigName implements [v1.Image].
func (p pushed) ConfigName() (v1.Hash, error) { return partial.ConfigName(p) }

// Manifest implements [v1.Image].
func (p pushed) Manifest() (*v1.Manifest, error) {
	m, err := p.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	if m.Config.Digest, err = p.ConfigName(); err != nil {
		return nil, err
	}
	m.Config.Size = int64(len(p.raw))
	return m, nil
}

// RawManifest implements [v1.Image].
func (p pushed) RawManifest() ([]byte, error) {
	m, err := p.Manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// Digest implements [v1.Image].
func (p pushed) Digest() (v1.Hash, error) { return partial.Digest(p) }

// Size implements [v1.Image].
func (p pushed) Size() (int64, error) { return partial.Size(p) }
