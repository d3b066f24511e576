package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// A mirror that "eksctl anywhere import images" filled has one architecture of
// each image, saved as an archive, loaded and pushed by its tag. The manifest is
// another one, and the layers are compressed anew; the configuration, whose
// digest is the image's ID, and the uncompressed layers are the same. So the
// digest of an index proves nothing of such an image by itself. The index does:
// it names the manifest of the architecture, that names the configuration, and
// that names the layers. Where the index is known, a stand-in provides the layers;
// where it is not, or proves that the mirror's image is another one, only
// Options.MirrorByTag takes the image, if the original does not provide the layers.

// mayStandIn reports whether a mirror may have the image under the tag.
func (s *registrySource) mayStandIn() bool { return s.tag != "" && len(s.places) > 1 }

// atMirror is the source of what the mirror has under the tag.
func (s *registrySource) atMirror() *registrySource {
	return &registrySource{client: s.client, ref: s.places[0].Tag(s.tag), places: s.places[:1]}
}

// standInFor makes the layers of an image that was found come from the mirror's
// image of the same tag, where the mirror lacks them. It returns nil where no mirror
// may have such an image.
func (s *registrySource) standInFor(m *Image) *standIn {
	if !s.mayStandIn() {
		return nil
	}
	in := &standIn{source: s, image: m}
	for i, l := range m.Layers {
		d := v1.Descriptor{Digest: l.Digest, Size: l.Size, MediaType: l.MediaType}
		l.open = func(ctx context.Context) (io.ReadCloser, v1.Descriptor, error) { return in.layer(ctx, i, d) }
	}
	return in
}

// provided returns why the first layer that is not in the cache cannot be had: the
// mirror's image is another one, and the original does not provide the layer either.
func (in *standIn) provided(ctx context.Context) error {
	for _, l := range in.image.Layers {
		switch f, err := l.client.cache.Blob(ctx, layerKind, l.DiffID); {
		case err == nil:
			if err := f.Close(); err != nil {
				return err
			}
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		blob, _, err := l.open(ctx)
		if err != nil {
			return err
		}
		return blob.Close()
	}
	return nil
}

// standIn is the image that a mirror has under the tag of another one.
type standIn struct {
	source *registrySource
	image  *Image // the one that was asked for

	mu    sync.Mutex
	known bool
	// layers are those of the mirror's image; nil where why says that it is
	// another image, or none.
	layers []v1.Descriptor
	why    error
}

// layer opens a layer by its digest at the mirror, else the one in its place in
// the mirror's image, else the original's.
func (in *standIn) layer(ctx context.Context, i int, d v1.Descriptor) (io.ReadCloser, v1.Descriptor, error) {
	s := in.source
	if s.client.offline {
		return nil, d, s.offlineError()
	}
	blob, notFound, err := s.blobAt(ctx, 0, d)
	if !notFound {
		return blob, d, err
	}
	layers, why := in.find(ctx)
	if layers != nil {
		blob, _, err := s.blobAt(ctx, 0, layers[i])
		return blob, layers[i], err
	}
	blob, _, originalErr := s.blobAt(ctx, 1, d)
	if originalErr != nil {
		return nil, d, fmt.Errorf("%w; %w; %w", err, why, originalErr)
	}
	return blob, d, nil
}

// blobAt opens a layer at one place.
func (s *registrySource) blobAt(ctx context.Context, i int, d v1.Descriptor) (blob io.ReadCloser, notFound bool, err error) {
	var from place
	notFound, err = s.client.tryPlace(ctx, s.places, i, func(repo *repository) (err error) {
		from = s.placeOf(repo)
		blob, err = repo.open(ctx, d)
		return err
	})
	if err != nil {
		return nil, notFound, err
	}
	return &explainedBlob{blob, from}, false, nil
}

// find looks once for the mirror's image of the tag, and compares it.
func (in *standIn) find(ctx context.Context) ([]v1.Descriptor, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.known {
		return in.layers, in.why
	}
	layers, err := in.compare(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	in.known, in.layers, in.why = true, layers, err
	return layers, err
}

// compare proves that the mirror's image is the one that was asked for, by its
// configuration or else by its layers.
func (in *standIn) compare(ctx context.Context) ([]v1.Descriptor, error) {
	at := in.source.atMirror()
	root, err := at.root(ctx)
	if err != nil {
		return nil, fmt.Errorf("it has no image of the tag %s either: %w", in.source.tag, err)
	}
	p := v1.Platform{OS: in.image.Config.OS, Architecture: in.image.Config.Architecture}
	digest, m, err := selectManifest(ctx, at, root, p)
	if err != nil {
		return nil, fmt.Errorf("reading its image of the tag %s: %w", in.source.tag, err)
	}
	by := "configuration " + in.image.ID.String()
	if m.Config.Digest != in.image.ID {
		if err := in.compareLayers(ctx, at, m); err != nil {
			return nil, err
		}
		by = "layers"
	}
	if len(m.Layers) != len(in.image.Layers) {
		return nil, invalid("its image of the tag %s has %d layers and the configuration names %d", in.source.tag, len(m.Layers), len(in.image.Layers))
	}
	for i, d := range m.Layers {
		if err := checkLayer(d); err != nil {
			return nil, fmt.Errorf("layer %d of its image of the tag %s: %w", i+1, in.source.tag, err)
		}
	}
	progress.Notef(in.source.client.sink, "%s: the mirror %s has another manifest for the tag, %s, of the same image: it has the same %s",
		in.image.Source, at.ref.Context().RegistryStr(), digest, by)
	return m.Layers, nil
}

func (in *standIn) compareLayers(ctx context.Context, at *registrySource, m *manifest) error {
	raw, err := at.config(ctx, m.Config)
	if err != nil {
		return fmt.Errorf("reading the configuration of its image of the tag %s: %w", in.source.tag, err)
	}
	config, err := parseConfig(raw, len(m.Layers))
	if err != nil {
		return fmt.Errorf("reading the configuration of its image of the tag %s: %w", in.source.tag, err)
	}
	if !slices.Equal(config.RootFS.DiffIDs, in.image.Config.RootFS.DiffIDs) {
		return fault.Mark(&otherError{in.source.tag, m.Config.Digest, in.image.ID}, fault.Invalid)
	}
	return nil
}

// byTag looks for the mirror's image of the tag after an image could not be
// found by its digest: the index is not known, so nothing proves it. Cause is the error
// about the digest.
func (s *registrySource) byTag(ctx context.Context, asked v1.Hash, p v1.Platform, cause error) (*Image, error) {
	var lacking *lackingError
	fromCache := s.client.offline && s.client.byTag
	if !s.mayStandIn() || !errors.As(cause, &lacking) && !fromCache {
		return nil, cause
	}
	at := s.atMirror()
	host := at.ref.Context().RegistryStr()
	root, err := at.root(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; the mirror has no image of the tag %s either: %w", cause, s.tag, err)
	}
	if !s.client.byTag {
		return nil, fault.Outsidef("%w; the mirror %s has an image of the tag %s, %s, which nothing proves to be %s: the index of that digest, which names the configuration and the layers, could not be read; "+
			"run the command once where it can, with the same cache; or push the images with their digests (skopeo copy --all); or take the mirror's by their tags with --mirror-by-tag",
			cause, host, s.tag, root, asked)
	}
	return s.loadTag(ctx, asked, root, p, "nothing proves that it is the same")
}

// takeTag takes the mirror's image of the tag in the place of one that was found but
// cannot be had, for the reason why.
func (s *registrySource) takeTag(ctx context.Context, asked v1.Hash, p v1.Platform, why error) (*Image, error) {
	root, err := s.atMirror().root(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; reading the mirror's image of the tag %s: %w", why, s.tag, err)
	}
	var other *otherError
	if errors.As(why, &other) {
		return s.loadTag(ctx, asked, root, p, other.Error())
	}
	return s.loadTag(ctx, asked, root, p, "it was taken before, and --offline compares nothing")
}

// loadTag loads the mirror's image of the tag, which has the digest root, with a
// warning.
func (s *registrySource) loadTag(ctx context.Context, asked, root v1.Hash, p v1.Platform, says string) (*Image, error) {
	at := s.atMirror()
	m, err := s.client.load(ctx, at.ref.Name(), at, root, p)
	if err != nil {
		return nil, err
	}
	m.Reference, m.Asked = at.ref, asked
	s.client.warnOf(ctx, taken{s.ref.Context().Name(), at.ref.Context().RegistryStr(), s.tag, asked, root, says})
	return m, nil
}

// otherError says that the mirror's image of a tag is another one than was asked for.
type otherError struct {
	tag     string
	is, was v1.Hash // configurations
}

func (e *otherError) Error() string {
	return fmt.Sprintf("its image of the tag %s is another one: configuration %s with other layers, in the place of %s", e.tag, e.is, e.was)
}
