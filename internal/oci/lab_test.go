package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"hookbuild/internal/cache"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

var amd64, arm64 = v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}

// lab is a registry that may misbehave, and a client of it.
type lab struct {
	t      *testing.T
	host   string
	client *Client
	cache  *cache.Cache
	events *events

	mu sync.Mutex
	// trouble sees every request first; true means that it has answered.
	trouble func(http.ResponseWriter, *http.Request) bool
	asked   []string
}

func newLab(t *testing.T, change ...func(*Options)) *lab {
	t.Helper()
	l := &lab{t: t, events: &events{}}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		trouble := l.trouble
		l.asked = append(l.asked, r.Method+" "+r.URL.Path)
		l.mu.Unlock()
		if trouble == nil || !trouble(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	l.host = strings.TrimPrefix(server.URL, "http://")
	l.renew(change...)
	return l
}

// quick returns limits with which a test does not wait.
func quick() web.Limits {
	return web.Limits{Connect: 5 * time.Second, Header: 5 * time.Second, Idle: 300 * time.Millisecond, Pause: time.Millisecond}
}

// renew replaces the client by one with an empty cache.
func (l *lab) renew(change ...func(*Options)) {
	l.t.Helper()
	c, err := cache.Open(l.t.TempDir(), l.events)
	if err != nil {
		l.t.Fatal(err)
	}
	l.cache = c
	l.client = l.clientWith(change...)
}

// clientWith returns another client of the same cache.
func (l *lab) clientWith(change ...func(*Options)) *Client {
	o := Options{Cache: l.cache, Progress: l.events, Keychain: authn.NewMultiKeychain()}
	for _, f := range change {
		f(&o)
	}
	if o.Web == nil {
		o.Web = web.New(web.Options{Limits: quick(), Insecure: o.Insecure, Progress: l.events})
	}
	return NewClient(o)
}

func (l *lab) setTrouble(f func(http.ResponseWriter, *http.Request) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble, l.asked = f, nil
}

// count returns the number of requests that contain all of the words.
func (l *lab) count(words ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, a := range l.asked {
		all := true
		for _, w := range words {
			all = all && strings.Contains(a, w)
		}
		if all {
			n++
		}
	}
	return n
}

// push pushes an image or index under a name like "ns/image:tag" and returns
// the full reference.
func (l *lab) push(to string, what remote.Taggable) string {
	l.t.Helper()
	full := l.host + "/" + to
	ref, err := name.ParseReference(full)
	if err != nil {
		l.t.Fatal(err)
	}
	switch what := what.(type) {
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, what)
	case v1.Image:
		err = remote.Write(ref, what)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.setTrouble(nil)
	return full
}

// image returns the image, which must exist.
func (l *lab) image(src string, p v1.Platform) *Image {
	l.t.Helper()
	m, err := l.client.Image(context.Background(), src, p)
	if err != nil {
		l.t.Fatal(err)
	}
	return m
}

// fetch fetches all of an image into the cache and returns the error.
func (l *lab) fetch(src string) error {
	m, err := l.client.Image(context.Background(), src, amd64)
	if err != nil {
		return err
	}
	return m.Fetch(context.Background())
}

// kept lists the files of a kind in the cache, temporary ones included.
func (l *lab) kept(kind string) []string {
	l.t.Helper()
	var all []string
	err := filepath.WalkDir(filepath.Join(l.cache.Dir(), kind), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			all = append(all, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

// events collects progress events.
type events struct {
	mu  sync.Mutex
	all []progress.Event
}

func (e *events) Report(event progress.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *events) of(kind progress.Kind) []progress.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []progress.Event
	for _, event := range e.all {
		if event.Kind == kind {
			found = append(found, event)
		}
	}
	return found
}

// tarOf packs files: "dir/" is a directory, "a -> b" a symlink, "a => b" a hard
// link, "a=text" a file.
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h, body := headerOf(f)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func headerOf(f string) (*tar.Header, string) {
	if name, target, ok := strings.Cut(f, " -> "); ok {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}, ""
	}
	if name, target, ok := strings.Cut(f, " => "); ok {
		return &tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}, ""
	}
	if name, ok := strings.CutSuffix(f, "!dev"); ok {
		return &tar.Header{Typeflag: tar.TypeChar, Name: name}, ""
	}
	if strings.HasSuffix(f, "/") {
		return &tar.Header{Typeflag: tar.TypeDir, Name: f, Mode: 0o755}, ""
	}
	name, body, _ := strings.Cut(f, "=")
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body))}, body
}

// layer is a layer for tests: a tar archive and its stored form.
type layer struct {
	tar, blob []byte
	mediaType types.MediaType
}

func plainLayer(data []byte) layer { return layer{data, data, types.OCIUncompressedLayer} }

func gzipLayer(t testing.TB, data []byte) layer {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return layer{data, out.Bytes(), types.DockerLayer}
}

func zstdLayer(t testing.TB, data []byte) layer {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return layer{data, w.EncodeAll(data, nil), types.OCILayerZStd}
}

// imageLayer adapts a layer to go-containerregistry.
type imageLayer struct {
	v1.Layer
	tar []byte
}

func (l imageLayer) DiffID() (v1.Hash, error) { return hashOf(l.tar), nil }

func (l imageLayer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.tar)), nil
}

var _ partial.UncompressedLayer = imageLayer{}

// imageOf returns an image for a platform.
func imageOf(t testing.TB, p v1.Platform, layers ...layer) v1.Image {
	t.Helper()
	image := empty.Image
	var err error
	for _, l := range layers {
		image, err = mutate.Append(image, mutate.Addendum{
			Layer: imageLayer{static.NewLayer(l.blob, l.mediaType), l.tar}, MediaType: l.mediaType,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// indexOf returns an index of images for several platforms, with an attestation
// as BuildKit adds it.
func indexOf(t testing.TB, images map[string]v1.Image) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for platform, image := range images {
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: p}})
	}
	attestation := imageOf(t, v1.Platform{OS: "unknown", Architecture: "unknown"})
	return mutate.AppendManifests(index, mutate.IndexAddendum{
		Add: attestation, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}},
	})
}

// noise returns content that compresses badly.
func noise(n int) string {
	out := make([]byte, n)
	x := uint32(1)
	for i := range out {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		out[i] = byte(x)
	}
	return string(out)
}

func digestOf(t testing.TB, what interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := what.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// mentions fails the test unless the error contains all of the words in one
// line.
func mentions(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("there is no error")
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not mention %q: %v", w, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %v", err)
	}
}
