package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// blobKind is the cache's kind for the files of artifacts, by digest.
const blobKind = "blobs"

// Artifact is something other than a container image in a registry: files in
// place of layers (OCI image specification, "Guidelines for Artifact Usage"),
// as ORAS pushes them.
type Artifact struct {
	Source string
	Digest v1.Hash
	// Type is the artifact's type, or that of its configuration if it predates
	// artifact types.
	Type        string
	Annotations map[string]string
	Files       []*ArtifactFile
}

// ArtifactFile is one file of an [Artifact].
type ArtifactFile struct {
	// Name is the file's title; it may be empty.
	Name      string
	Digest    v1.Hash
	Size      int64 // in bytes
	MediaType types.MediaType

	artifact string
	source   *registrySource
	blob     v1.Descriptor
}

// Artifact finds what the registry reference src names. It does not fetch any
// file yet.
func (c *Client) Artifact(ctx context.Context, src string) (*Artifact, error) {
	s, root, err := c.find(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("finding artifact %q: %w", src, err)
	}
	digest, m, err := selectManifest(ctx, s, root, v1.Platform{})
	if err != nil {
		return nil, fmt.Errorf("reading artifact %q: %w", src, err)
	}
	a := &Artifact{Source: src, Digest: digest, Type: m.kind(), Annotations: m.Annotations}
	for _, d := range m.Layers {
		if d.Size < 0 {
			return nil, fmt.Errorf("reading artifact %q: %w", src, invalid("%d is not a valid size of %s", d.Size, d.Digest))
		}
		a.Files = append(a.Files, &ArtifactFile{
			Name: d.Annotations["org.opencontainers.image.title"], Digest: d.Digest, Size: d.Size, MediaType: d.MediaType,
			artifact: src, source: s, blob: d,
		})
	}
	return a, nil
}

// Referrers describes the manifests that are attached to the image or
// artifact with the digest, in the repository of the reference src, as the registry lists
// them. A registry without the referrers API keeps their list under
// a tag (distribution specification 1.1, "Referrers Tag Schema"). Offline, it returns
// the list last received.
func (c *Client) Referrers(ctx context.Context, src string, digest v1.Hash) ([]v1.Descriptor, error) {
	ref, err := c.net.parseReference(src)
	if err != nil {
		return nil, fmt.Errorf("reading the reference %q: %w", src, err)
	}
	places, err := c.places(ref.Context())
	if err != nil {
		return nil, err
	}
	key := ref.Context().Name() + "@" + digest.String()
	var all []v1.Descriptor
	if c.offline {
		all, err = c.knownReferrers(key)
	} else {
		all, err = c.currentReferrers(ctx, places, digest, key)
	}
	if err != nil {
		return nil, fmt.Errorf("listing what is attached to %s of %q: %w", digest, src, err)
	}
	return all, nil
}

func (c *Client) currentReferrers(ctx context.Context, places []name.Repository, digest v1.Hash, key string) ([]v1.Descriptor, error) {
	var all []v1.Descriptor
	err := c.try(ctx, places, func(repo *repository) (err error) {
		all, err = repo.referrers(ctx, digest)
		return err
	})
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return all, c.cache.SetNote(referrersKind, key, string(text))
}

func (c *Client) knownReferrers(key string) ([]v1.Descriptor, error) {
	text, err := c.cache.Note(referrersKind, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Outsidef("the list is not in the cache %q; fetch it once without --offline", c.cache.Dir())
	}
	if err != nil {
		return nil, err
	}
	var all []v1.Descriptor
	return all, unmarshal([]byte(text), &all)
}

// Open opens the file as it was pushed, verified. The first use fetches it into
// the cache.
func (f *ArtifactFile) Open(ctx context.Context) (*cache.File, error) {
	c := f.source.client
	release, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	file, err := c.cache.Blob(ctx, blobKind, f.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		task := progress.StartPart(c.sink, c.pulling("images"), f.Name, f.Size, "%s", c.pulling(fmt.Sprintf("%s, %s,", f.artifact, f.Name)))
		err = task.End(c.untilWhole(ctx, hostOf(f.source), func() (err error) {
			file, err = c.cache.PutBlob(ctx, blobKind, f.Digest, func(w io.Writer) error { return f.copyTo(ctx, w, task) })
			return err
		}), "")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %q of artifact %q: %w", f.Name, f.artifact, err)
	}
	return file, nil
}

// Stream starts reading the file without caching it. Its Read returns an error in
// the place of [io.EOF] if the digest or the size is another.
func (f *ArtifactFile) Stream(ctx context.Context) (io.ReadCloser, error) {
	return f.source.verified(ctx, f.blob)
}

func (f *ArtifactFile) copyTo(ctx context.Context, w io.Writer, task *progress.Task) error {
	blob, err := f.source.blob(ctx, f.blob)
	if err != nil {
		return err
	}
	checked := newVerifier(task.Reader(blob), f.Digest, f.Size)
	_, err = io.Copy(w, checked)
	if err == nil {
		err = checked.finish()
	}
	if err != nil {
		task.Add(-checked.read) // it may be read again
	}
	return closing(err, blob)
}
