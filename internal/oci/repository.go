package oci

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// mostManifest bounds a manifest or index, as registries do (distribution
// specification, "Pushing Manifests").
const mostManifest = 4 << 20

// repository is one repository of a registry, with the login done.
type repository struct {
	name.Repository
	net    *network
	client *http.Client
}

// do sends a request for "manifests/ID" or "blobs/DIGEST". A response other
// than 200 and 206 is a [*transport.Error].
func (r *repository) do(ctx context.Context, method, what string, header map[string]string) (*http.Response, error) {
	url := fmt.Sprintf("%s://%s/v2/%s/%s", r.Scheme(), r.RegistryStr(), r.RepositoryStr(), what)
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		return nil, closing(err, resp.Body)
	}
	return resp, nil
}

// closing gives err after closing what it came from; a second error would only
// hide it.
func closing(err error, c io.Closer) error {
	if closeErr := c.Close(); err == nil {
		return closeErr
	}
	return err
}

// accepted lists the manifest formats for the Accept header. Schema 1 is among
// them so that it can be refused by its name.
func accepted() map[string]string {
	all := []types.MediaType{
		types.OCIImageIndex, types.OCIManifestSchema1, types.DockerManifestList, types.DockerManifestSchema2,
		types.DockerManifestSchema1Signed, types.DockerManifestSchema1,
	}
	var list []string
	for _, t := range all {
		list = append(list, string(t))
	}
	return map[string]string{"Accept": strings.Join(list, ", ")}
}

// head asks for the digest behind a tag, which costs less than the manifest
// where downloads are counted.
func (r *repository) head(ctx context.Context, tag string) (v1.Hash, error) {
	resp, err := r.do(ctx, http.MethodHead, "manifests/"+tag, accepted()) //nolint:bodyclose // closing does
	if err != nil {
		return v1.Hash{}, err
	}
	h, err := v1.NewHash(resp.Header.Get("Docker-Content-Digest"))
	return h, closing(err, resp.Body)
}

// openManifest starts reading the manifest or index with the tag or digest id.
func (r *repository) openManifest(ctx context.Context, id string) (io.ReadCloser, error) {
	resp, err := r.do(ctx, http.MethodGet, "manifests/"+id, accepted())
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// tags lists the repository's tags, on however many pages.
func (n *network) tags(ctx context.Context, r name.Repository) ([]string, error) {
	never := func(error) bool { return false } // network.transport has tried again already
	return remote.List(r, remote.WithContext(ctx), remote.WithAuthFromKeychain(n.keychain),
		remote.WithTransport(limitedPages{n.transport}), remote.WithRetryPredicate(never), remote.WithRetryStatusCodes())
}

// limitedPages bounds the length of every answer.
type limitedPages struct{ inner http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (l limitedPages) RoundTrip(r *http.Request) (*http.Response, error) {
	const mostPage = 16 << 20
	resp, err := l.inner.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, mostPage), resp.Body}
	return resp, nil
}
