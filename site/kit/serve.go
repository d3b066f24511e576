package kit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

var _ http.RoundTripper = (*Kit)(nil)

// absentError reports a request that a kit cannot answer.
type absentError struct{ Kit, Asked string }

func (e *absentError) Error() string {
	return fmt.Sprintf("%s does not have %s, and with --kit the network is not used; make a kit that has it with `hookbuild lock` and `hookbuild kit save`", e.Kit, e.Asked)
}

// RoundTrip implements [http.RoundTripper]. Registries (OCI distribution
// specification, "Pull") and other servers are answered for from the archive;
// nothing is sent.
func (k *Kit) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close() // nothing reads it
	}
	what, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	switch {
	case ok && what == "":
		return answer(r, "application/json", strings.NewReader("{}"), 2), nil
	case ok:
		if repository, id, found := cutLast(what, "/manifests/"); found {
			return k.manifest(r, repository, id)
		}
		if _, id, found := cutLast(what, "/blobs/"); found {
			return k.blob(r, id)
		}
		if repository, found := strings.CutSuffix(what, "/tags/list"); found {
			return k.tags(r, repository)
		}
	}
	return k.file(r)
}

func cutLast(s, sep string) (before, after string, found bool) {
	at := strings.LastIndex(s, sep)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(sep):], true
}

// answer is a response with content of a known length, or a part of it.
func answer(r *http.Request, kind string, content io.Reader, size int64) *http.Response {
	a := &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {kind}}, ContentLength: size, Request: r, Body: io.NopCloser(content),
	}
	if r.Method == http.MethodHead {
		a.Body = http.NoBody
	}
	return a
}

// section answers with a blob, from the byte that the request names on.
func section(r *http.Request, kind string, content *io.SectionReader) *http.Response {
	size := content.Size()
	text, ranged := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	from, err := strconv.ParseInt(strings.TrimSuffix(text, "-"), 10, 64)
	if !ranged || err != nil || from <= 0 || from >= size {
		return answer(r, kind, content, size)
	}
	a := answer(r, kind, io.NewSectionReader(content, from, size-from), size-from)
	a.Status, a.StatusCode = "206 Partial Content", http.StatusPartialContent
	a.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
	return a
}

func (k *Kit) manifest(r *http.Request, repository, id string) (*http.Response, error) {
	h, err := v1.NewHash(id)
	if err != nil {
		if h, err = k.tagged(r.URL.Host, repository, id); err != nil {
			return nil, web.Final(err)
		}
	}
	content, err := k.open(r.Context(), h)
	if err != nil {
		return nil, web.Final(err)
	}
	if content.Size() > mostSmall {
		return nil, web.Final(invalid("reading %s of %s: it has %d bytes, too many for a manifest", h, k, content.Size()))
	}
	raw, err := io.ReadAll(content)
	if err != nil {
		return nil, web.Final(err)
	}
	a := answer(r, string(mediaType(raw)), bytes.NewReader(raw), int64(len(raw)))
	a.Header.Set("Docker-Content-Digest", h.String())
	return a, nil
}

// mediaType returns what a manifest says that it is.
func mediaType(raw []byte) types.MediaType {
	var says struct {
		MediaType types.MediaType `json:"mediaType"`
	}
	if json.Unmarshal(raw, &says) != nil || says.MediaType == "" {
		return types.OCIManifestSchema1
	}
	return says.MediaType
}

// tagged returns the digest that a reference had when the kit was saved.
func (k *Kit) tagged(host, repository, tag string) (v1.Hash, error) {
	asked, err := name.ParseReference(host+"/"+repository+":"+tag, name.WeakValidation)
	if err != nil {
		return v1.Hash{}, fault.Mark(err, fault.Invalid)
	}
	for _, image := range k.images {
		if ref, err := name.ParseReference(image.Reference); err == nil && ref.Name() == asked.Name() {
			return image.Root.Digest, nil
		}
	}
	return v1.Hash{}, k.absent(asked.Name())
}

func (k *Kit) absent(what string) error {
	return fault.Mark(&absentError{k.String(), what}, fault.Outside)
}

func (k *Kit) blob(r *http.Request, id string) (*http.Response, error) {
	h, err := v1.NewHash(id)
	if err != nil {
		return nil, web.Final(fault.Mark(err, fault.Invalid))
	}
	content, err := k.open(r.Context(), h)
	if err != nil {
		return nil, web.Final(err)
	}
	return section(r, "application/octet-stream", content), nil
}

func (k *Kit) tags(r *http.Request, repository string) (*http.Response, error) {
	list := struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{Name: repository}
	for _, image := range k.images {
		tag, err := name.NewTag(image.Reference)
		if err == nil && tag.RegistryStr() == r.URL.Host && tag.RepositoryStr() == repository {
			list.Tags = append(list.Tags, tag.TagStr())
		}
	}
	if len(list.Tags) == 0 {
		return nil, web.Final(k.absent("the tags of " + r.URL.Host + "/" + repository))
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	return answer(r, "application/json", bytes.NewReader(raw), int64(len(raw))), nil
}

func (k *Kit) file(r *http.Request) (*http.Response, error) {
	url := web.Show(r.URL.String())
	at := slices.IndexFunc(k.files, func(f File) bool { return f.URL == url })
	if at < 0 {
		return nil, web.Final(k.absent(url))
	}
	content, err := k.open(r.Context(), k.files[at].Digest)
	if err != nil {
		return nil, web.Final(err)
	}
	a := section(r, "application/octet-stream", content)
	a.Header.Set("ETag", strconv.Quote(k.files[at].Digest.String()))
	return a, nil
}
