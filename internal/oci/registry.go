package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// The cache's kinds for registry data other than layers: manifests and
// configurations by digest, and notes of the last known digest of a tag, list of
// tags or list of what is attached.
const (
	manifestKind  = "manifests"
	configKind    = "configs"
	tagKind       = "tags"
	tagListKind   = "taglists"
	referrersKind = "referrers"
)

// Known returns the references whose digest the cache knows from an earlier run,
// in no order.
func Known(store *cache.Cache) ([]string, error) { return store.Keys(tagKind) }

// registrySource provides the parts of an image in a registry, from the cache
// or from the first place that has them.
type registrySource struct {
	client *Client
	ref    name.Reference
	// tag is what the reference had beside its digest, "" for none.
	tag    string
	places []name.Repository
}

func (c *Client) registryImage(ctx context.Context, src, text string, p v1.Platform) (*Image, error) {
	s, root, err := c.find(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("finding image %q: %w", src, err)
	}
	m, err := c.load(ctx, src, s, root, p)
	if err != nil {
		return s.byTag(ctx, root, p, s.gone(root, err))
	}
	m.Reference = s.ref
	in := s.standInFor(m)
	if in == nil || !c.byTag {
		return m, nil
	}
	var other *otherError
	err = in.provided(ctx)
	if errors.As(err, &other) || err != nil && c.offline {
		return s.takeTag(ctx, root, p, err)
	}
	return m, nil // reading the layers reports any other error
}

// gone adds the digest to the error about an image that the lock has and the registry
// has no more.
func (s *registrySource) gone(root v1.Hash, err error) error {
	if pinned, _ := s.client.pins.find(s.ref); pinned != root || !isNotFound(err) { // root has reported the error
		return err
	}
	return fmt.Errorf("%w; the lock has %s, which is not there any more: take what there is with `hookbuild lock --update`", err, root)
}

// find returns the source that a reference names and the digest to which it
// resolves.
func (c *Client) find(ctx context.Context, text string) (*registrySource, v1.Hash, error) {
	ref, err := c.net.parseReference(text)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	places, err := c.places(ref.Context())
	if err != nil {
		return nil, v1.Hash{}, err
	}
	s := &registrySource{client: c, ref: ref, tag: tagBesideDigest(text), places: places}
	root, err := s.root(ctx)
	return s, root, err
}

// root returns the digest of the reference: its own, or the one that the
// registry currently has for the tag.
func (s *registrySource) root(ctx context.Context) (v1.Hash, error) {
	if digest, ok := s.ref.(name.Digest); ok {
		h, err := v1.NewHash(digest.DigestStr())
		return h, fault.Mark(err, fault.Invalid)
	}
	if h, err := s.client.pins.find(s.ref); err != nil || h != (v1.Hash{}) {
		return h, err
	}
	if s.client.offline {
		return s.knownTag()
	}
	h, err := s.currentTag(ctx)
	if err != nil {
		return v1.Hash{}, err
	}
	return h, s.client.cache.SetNote(tagKind, s.ref.Name(), h.String())
}

func (s *registrySource) knownTag() (v1.Hash, error) {
	text, err := s.client.cache.Note(tagKind, s.ref.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return v1.Hash{}, s.offlineError()
	}
	if err != nil {
		return v1.Hash{}, err
	}
	return v1.NewHash(text)
}

// currentTag asks the registry for the digest behind the tag, and for the
// manifest unless that is known.
func (s *registrySource) currentTag(ctx context.Context) (v1.Hash, error) {
	var h v1.Hash
	err := s.try(ctx, func(repo *repository) error {
		var err error
		if h, err = repo.head(ctx, s.ref.Identifier()); err == nil && s.has(ctx, manifestKind, h) {
			return nil
		}
		if err != nil {
			h = v1.Hash{} // some registries do not support HEAD or omit the digest; and only GET errors have a message
		}
		raw, err := repo.tagged(ctx, s.ref.Identifier(), h)
		if err != nil {
			return err
		}
		h = hashOf(raw)
		return s.client.keep(ctx, manifestKind, h, raw)
	})
	return h, err
}

func (s *registrySource) manifest(ctx context.Context, h v1.Hash) ([]byte, error) {
	return s.small(ctx, manifestKind, h, mostManifest, func(repo *repository) web.Request {
		return repo.manifestRequest(h.String())
	})
}

func (s *registrySource) config(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	return s.small(ctx, configKind, d.Digest, mostConfig, func(repo *repository) web.Request {
		return repo.request("blobs/" + d.Digest.String())
	})
}

func (s *registrySource) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if s.client.offline {
		return nil, s.offlineError()
	}
	var blob io.ReadCloser
	var from place
	err := s.try(ctx, func(repo *repository) (err error) {
		from = s.placeOf(repo)
		blob, err = repo.open(ctx, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &explainedBlob{blob, from}, nil
}

// verified starts reading a blob, whose Read returns an error in the place of
// [io.EOF] if the digest or the size is another.
func (s *registrySource) verified(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	blob, err := s.blob(ctx, d)
	if err != nil {
		return nil, err
	}
	return &verifiedBlob{newVerifier(blob, d.Digest, d.Size), blob}, nil
}

// placeOf returns what is known about a repository, for messages.
func (s *registrySource) placeOf(repo *repository) place {
	return place{
		host: repo.RegistryStr(), anonymous: repo.anonymous, mirrored: len(s.places) > 1,
		mirror: len(s.places) > 1 && repo.Name() == s.places[0].Name(),
	}
}

// explainedBlob adds a remedy when a transfer breaks for good.
type explainedBlob struct {
	io.ReadCloser
	from place
}

// Read implements [io.Reader].
func (b *explainedBlob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = explain(b.from, err)
	}
	return n, err
}

// small returns a manifest or configuration, from the cache if it is there.
func (s *registrySource) small(ctx context.Context, kind string, h v1.Hash, most int64, ask func(*repository) web.Request) ([]byte, error) {
	f, err := s.client.cache.Blob(ctx, kind, h)
	if err == nil {
		raw, err := readSmall(io.NewSectionReader(f, 0, f.Size()), h, most)
		return raw, closing(err, f)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if s.client.offline {
		return nil, s.offlineError()
	}
	var raw []byte
	err = s.try(ctx, func(repo *repository) (err error) {
		request := ask(repo)
		request.Most = most
		raw, err = repo.pinned(ctx, request, h)
		return err
	})
	if err != nil {
		return nil, err
	}
	return raw, s.client.keep(ctx, kind, h, raw)
}

func (s *registrySource) has(ctx context.Context, kind string, h v1.Hash) bool {
	f, err := s.client.cache.Blob(ctx, kind, h)
	return err == nil && f.Close() == nil
}

// keep stores a manifest or configuration in the cache.
func (c *Client) keep(ctx context.Context, kind string, h v1.Hash, raw []byte) error {
	f, err := c.cache.PutBlob(ctx, kind, h, func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
	if err != nil {
		return err
	}
	return f.Close()
}

// try asks one place after the other. Only after a 404 does it ask the next.
func (s *registrySource) try(ctx context.Context, ask func(*repository) error) error {
	return s.client.try(ctx, s.places, ask)
}

func (c *Client) try(ctx context.Context, places []name.Repository, ask func(*repository) error) error {
	var missing error
	for i := range places {
		notFound, err := c.tryPlace(ctx, places, i, ask)
		if err == nil {
			return nil
		}
		if missing != nil { // the mirror's answer is reported too
			err = &lackingError{fmt.Errorf("%w; %w", missing, err)}
		}
		if !notFound {
			return err
		}
		missing = err
	}
	return missing
}

// tryPlace asks one of several places. NotFound reports whether it answered 404.
func (c *Client) tryPlace(ctx context.Context, places []name.Repository, i int, ask func(*repository) error) (notFound bool, err error) {
	from := place{host: places[i].RegistryStr(), mirrored: len(places) > 1, mirror: i < len(places)-1}
	repo, err := c.net.repository(ctx, places[i])
	if err == nil {
		from.anonymous = repo.anonymous
		err = ask(repo)
	}
	return isNotFound(err), explain(from, err)
}

// lackingError says that a mirror does not have what was asked for, and that the
// original did not give it either.
type lackingError struct{ error }

// Unwrap returns what both answered.
func (e *lackingError) Unwrap() error { return e.error }

// offlineError says what must be fetched first.
func (s *registrySource) offlineError() error {
	return fault.Outsidef("%q is not completely in the cache %q; fetch it once without --offline, or bring it there from a kit with `hookbuild kit load FILE`", s.ref.Name(), s.client.cache.Dir())
}

// Tags returns the tags of a repository, sorted. Offline, it returns the list
// last received.
func (c *Client) Tags(ctx context.Context, repository string) ([]string, error) {
	repo, err := c.net.parseRepository(repository)
	if err != nil {
		return nil, fmt.Errorf("reading the repository name %q: %w", repository, err)
	}
	if err := c.pins.allowTags(repo.Name()); err != nil {
		return nil, fmt.Errorf("listing the tags of %q: %w", repository, err)
	}
	if c.offline {
		return c.knownTags(repo)
	}
	tags, err := c.currentTags(ctx, repo)
	if err != nil {
		return nil, fmt.Errorf("listing the tags of %q: %w", repository, err)
	}
	return tags, nil
}

func (c *Client) currentTags(ctx context.Context, repo name.Repository) ([]string, error) {
	places, err := c.places(repo)
	if err != nil {
		return nil, err
	}
	var tags []string
	err = c.try(ctx, places, func(place *repository) (err error) {
		tags, err = place.tags(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(tags)
	text, err := json.Marshal(tags)
	if err != nil {
		return nil, err
	}
	return tags, c.cache.SetNote(tagListKind, repo.Name(), string(text))
}

func (c *Client) knownTags(repo name.Repository) ([]string, error) {
	text, err := c.cache.Note(tagListKind, repo.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Outsidef("listing the tags of %q: the list is not in the cache %q; fetch it once without --offline", repo.Name(), c.cache.Dir())
	}
	if err != nil {
		return nil, err
	}
	var tags []string
	return tags, unmarshal([]byte(text), &tags)
}

var _ source = (*registrySource)(nil)
