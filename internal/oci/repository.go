package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/web"
)

// mostManifest limits the size of a manifest or index, as registries do
// (distribution specification, "Pushing Manifests").
const mostManifest = 4 << 20

// repository is a repository of a registry, after login.
type repository struct {
	name.Repository
	client *web.Client
	// anonymous says that the registry was sent no credentials.
	anonymous bool
}

// request returns a request for "manifests/ID", "blobs/DIGEST" or "tags/list".
// An answer other than 200 and 206 becomes a [*transport.Error].
func (r *repository) request(what string) web.Request {
	return web.Request{
		URL:    fmt.Sprintf("%s://%s/v2/%s/%s", r.Scheme(), r.RegistryStr(), r.RepositoryStr(), what),
		Accept: checkAnswer,
	}
}

// checkAnswer returns a [*transport.Error] for an answer other than 200 and 206, also
// where the registry's explanation breaks off.
func checkAnswer(answer *http.Response) error {
	err := transport.CheckError(answer, http.StatusOK, http.StatusPartialContent)
	var told *transport.Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	return &transport.Error{Request: answer.Request, StatusCode: answer.StatusCode}
}

// closing returns err after closing the reader it came from; a second error
// would only hide it.
func closing(err error, c io.Closer) error {
	if closeErr := c.Close(); err == nil {
		return closeErr
	}
	return err
}

// manifestRequest lists the manifest formats in the Accept header. It includes
// schema 1 so that the error can name it.
func (r *repository) manifestRequest(id string) web.Request {
	all := []types.MediaType{
		types.OCIImageIndex, types.OCIManifestSchema1, types.DockerManifestList, types.DockerManifestSchema2,
		types.DockerManifestSchema1Signed, types.DockerManifestSchema1,
	}
	var list []string
	for _, t := range all {
		list = append(list, string(t))
	}
	request := r.request("manifests/" + id)
	request.Header = http.Header{"Accept": {strings.Join(list, ", ")}}
	request.Most = mostManifest
	return request
}

// head asks for the digest behind a tag, which is cheaper than the manifest if
// downloads are counted.
func (r *repository) head(ctx context.Context, tag string) (v1.Hash, error) {
	header, _, err := r.client.Head(ctx, r.manifestRequest(tag))
	if err != nil {
		return v1.Hash{}, err
	}
	return digestIn(header)
}

func digestIn(h http.Header) (v1.Hash, error) { return v1.NewHash(h.Get("Docker-Content-Digest")) }

// tagged returns the manifest behind a tag. Its digest must be the one from
// HEAD, or without that the one in its own header: an answer that was damaged
// in transit is requested again.
func (r *repository) tagged(ctx context.Context, tag string, head v1.Hash) ([]byte, error) {
	return r.client.Get(ctx, r.manifestRequest(tag), func(raw []byte, header http.Header) error {
		got, want := hashOf(raw), head
		if want == (v1.Hash{}) {
			want, _ = digestIn(header) // some registries omit it
		} else if got != want { // one of the answers was damaged, or the tag has moved
			if again, err := r.head(ctx, tag); err == nil {
				head, want = again, again
			}
		}
		if want != (v1.Hash{}) && got != want {
			return spoilt(want, got)
		}
		if _, err := parseManifest(raw); err != nil {
			err = fmt.Errorf("the response is not a manifest: %w", err)
			if want != (v1.Hash{}) {
				return web.Final(err)
			}
			return err
		}
		return nil
	})
}

// pinned returns small content with a digest.
func (r *repository) pinned(ctx context.Context, request web.Request, want v1.Hash) ([]byte, error) {
	request.Pinned = true
	return r.client.Get(ctx, request, func(raw []byte, _ http.Header) error {
		if got := hashOf(raw); got != want {
			return spoilt(want, got)
		}
		return nil
	})
}

// open starts reading a blob. Its content is not verified.
func (r *repository) open(ctx context.Context, blob v1.Descriptor) (io.ReadCloser, error) {
	request := r.request("blobs/" + blob.Digest.String())
	request.Pinned, request.Length = true, blob.Size
	body, err := r.client.Open(context.WithValue(ctx, blobKey{}, true), request)
	var size *web.SizeError
	if errors.As(err, &size) {
		return nil, invalid("the registry has %d bytes for %s, but the manifest says %d: one of them is damaged", size.Got, blob.Digest, size.Want)
	}
	if err != nil {
		return nil, err // not a nil *web.Body
	}
	return body, nil
}

const (
	mostPages = 1000
	mostPage  = 16 << 20
)

// tags returns the repository's tags.
func (r *repository) tags(ctx context.Context) ([]string, error) {
	var all []string
	err := r.pages(ctx, r.request("tags/list?n=1000"), func(raw []byte) error {
		var page struct {
			Tags []string `json:"tags"`
		}
		err := json.Unmarshal(raw, &page)
		all = append(all, page.Tags...)
		return err
	})
	return all, err
}

// referrers returns what refers to a manifest.
func (r *repository) referrers(ctx context.Context, h v1.Hash) (all []v1.Descriptor, err error) {
	read := func(raw []byte) error {
		page, err := v1.ParseIndexManifest(bytes.NewReader(raw))
		if err == nil {
			all = append(all, page.Manifests...)
		}
		return err
	}
	if err := r.pages(ctx, r.request("referrers/"+h.String()), read); err == nil || !isNotFound(err) {
		return all, err
	}
	err = r.pages(ctx, r.manifestRequest(h.Algorithm+"-"+h.Hex), read)
	return all, err
}

// pages reads a list page by page.
func (r *repository) pages(ctx context.Context, request web.Request, read func([]byte) error) error {
	request.Most = mostPage
	for range mostPages {
		var header http.Header
		raw, err := r.client.Get(ctx, request, func(raw []byte, h http.Header) error {
			header = h
			var page json.RawMessage
			return json.Unmarshal(raw, &page) // one that was damaged is requested again
		})
		if err == nil {
			err = read(raw)
		}
		if err != nil {
			return err
		}
		next, err := nextPage(request.URL, header.Get("Link"))
		if err != nil || next == "" {
			return err
		}
		request.URL = next
	}
	return fmt.Errorf("the list has more than %d pages", mostPages)
}

// nextPage returns the address of the next page from a Link header (RFC 8288),
// or "" for the last one. It must be at the same registry, because the request
// carries our token.
func nextPage(page, link string) (string, error) {
	target, parameters, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
	if !ok || !strings.Contains(parameters, "next") {
		return "", nil
	}
	at, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	next, err := at.Parse(target)
	if err != nil {
		return "", fmt.Errorf("the next page of the list has a bad address: %w", err)
	}
	if next.Scheme != at.Scheme || next.Host != at.Host {
		return "", fmt.Errorf("the next page of the list is at another host, %s", next.Host)
	}
	return next.String(), nil
}
