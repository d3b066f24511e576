package shared_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/internal/cache"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/shared"
	"hookbuild/internal/web"
)

var (
	keyA = strings.Repeat("a1", 32)
	keyB = strings.Repeat("b2", 32)
)

// shelf is a registry whose blobs are files.
type shelf struct {
	t     *testing.T
	blobs string
	repo  string

	mu      sync.Mutex
	asked   []string
	changed string
}

// newShelf starts a registry behind wrap, which may be nil.
func newShelf(t *testing.T, wrap func(http.Handler) http.Handler) *shelf {
	t.Helper()
	s := &shelf{t: t, blobs: t.TempDir()}
	handler := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(s.blobs)), registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		if file := s.changedFile(r); file != "" { // the library compares digests when it reads
			http.ServeFile(w, r, file)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.repo = strings.TrimPrefix(server.URL, "http://") + "/team/cache"
	return s
}

// changedFile returns the blob that a request reads, if the test has changed it.
func (s *shelf) changedFile(r *http.Request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == "" || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/blobs/sha256:"+filepath.Base(s.changed)) {
		return ""
	}
	return s.changed
}

// wrote returns the requests that could change the registry.
func (s *shelf) wrote() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, request := range s.asked {
		if method, _, _ := strings.Cut(request, " "); method != http.MethodGet && method != http.MethodHead {
			all = append(all, request)
		}
	}
	return all
}

// machine is a cache directory with a shared cache.
type machine struct {
	*cache.Cache
	shared *shared.Cache
	said   *sink
}

// sink keeps what is said.
type sink struct {
	mu   sync.Mutex
	text []string
}

// Report implements [progress.Sink].
func (s *sink) Report(e progress.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Kind == progress.Warning || e.Kind == progress.Note {
		s.text = append(s.text, e.Text)
	}
}

func (s *sink) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.text, "\n")
}

func newMachine(t *testing.T, to string, patience time.Duration, from ...string) machine {
	t.Helper()
	m := machine{said: &sink{}}
	var err error
	if m.Cache, err = cache.Open(t.TempDir(), m.said); err != nil {
		t.Fatal(err)
	}
	limits := web.Limits{Tries: 2, Pause: time.Millisecond}
	client := web.New(web.Options{Limits: limits})
	m.shared = shared.New(shared.Options{
		Client: oci.NewClient(oci.Options{Cache: m.Cache, Web: client}), Remote: oci.Remote{Web: client, Limits: limits},
		From: from, To: to, Patience: patience, Progress: m.said,
	})
	m.WithRemote(m.shared)
	return m
}

// get returns the content for a key, and where it came from. It is made as text.
func (m machine) get(t *testing.T, key, text string) (string, cache.Origin) {
	t.Helper()
	f, from, err := m.Derived(t.Context(), "segments", key, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return string(got), from
}

func (m machine) push(t *testing.T) {
	t.Helper()
	if err := m.shared.Push(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// fill pushes two results to the shelf.
func (s *shelf) fill() {
	s.t.Helper()
	m := newMachine(s.t, s.repo, 0)
	m.get(s.t, keyA, "result A")
	m.get(s.t, keyB, "result B, another")
	m.push(s.t)
	if said := m.said.all(); !strings.Contains(said, "pushed 2 results") {
		s.t.Fatal(said)
	}
}

func TestSecondMachineTakesWhatTheFirstMade(t *testing.T) {
	s := newShelf(t, nil)
	s.fill()
	before := len(s.wrote())
	m := newMachine(t, "", 0, s.repo)
	if got, from := m.get(t, keyA, "made again"); got != "result A" || from != cache.Shared {
		t.Errorf("got %q from %d", got, from)
	}
	if got, from := m.get(t, strings.Repeat("c3", 32), "new"); got != "new" || from != cache.Made {
		t.Errorf("a result that nobody made: %q from %d", got, from)
	}
	if got, from := m.get(t, keyA, "made again"); got != "result A" || from != cache.Kept {
		t.Errorf("the second time: %q from %d", got, from)
	}
	m.push(t)
	if after := s.wrote(); len(after) != before {
		t.Errorf("a machine that only reads sent %q", after[before:])
	}
	if got := m.shared.Summary(); got != "1 result (8 B) from the shared cache, 1 made here" {
		t.Errorf("the summary is %q", got)
	}
	if said := m.said.all(); said != "" {
		t.Errorf("it said %s", said)
	}
	repository, size, err := m.shared.Has(t.Context(), "segments", keyB)
	if repository != s.repo || size == 0 || err != nil {
		t.Errorf("has: %q, %d, %v", repository, size, err)
	}
	if repository, _, err := m.shared.Has(t.Context(), "segments", strings.Repeat("d4", 32)); repository != "" || err != nil {
		t.Errorf("has what is not there: %q, %v", repository, err)
	}
}

func TestPushSendsOnlyWhatTheRegistryLacks(t *testing.T) {
	s := newShelf(t, nil)
	s.fill()
	before := len(s.wrote())
	m := newMachine(t, s.repo, 0, s.repo)
	m.get(t, keyA, "result A")                      // taken from there
	newer := newMachine(t, s.repo, 0)               // does not look there
	newer.get(t, keyB, "result B, another")         // made again
	newer.get(t, strings.Repeat("c3", 32), "new")   // new
	newer.get(t, strings.Repeat("c3", 32), "again") // offered twice
	m.push(t)
	if after := s.wrote(); len(after) != before {
		t.Errorf("pushed what is there: %q", after[before:])
	}
	newer.push(t)
	if said := newer.said.all(); !strings.Contains(said, "pushed 1 result (") {
		t.Error(said)
	}
}

func TestOtherKindsStayHere(t *testing.T) {
	s := newShelf(t, nil)
	m := newMachine(t, s.repo, 0, s.repo)
	f, _, err := m.Derived(t.Context(), "bundles", keyA, func(w io.Writer) error {
		_, err := io.WriteString(w, "a download")
		return err
	})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	m.push(t)
	if len(s.asked) > 0 {
		t.Errorf("the registry was asked %q", s.asked)
	}
}

// tag returns the reference of a result.
func (s *shelf) tag(key string) name.Reference {
	s.t.Helper()
	ref, err := name.ParseReference(s.repo + ":segments-" + key)
	if err != nil {
		s.t.Fatal(err)
	}
	return ref
}

// layer returns the file of the layer of a result.
func (s *shelf) layer(key string) string {
	s.t.Helper()
	image, err := remote.Image(s.tag(key))
	if err != nil {
		s.t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		s.t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	return filepath.Join(s.blobs, "sha256", digest.Hex)
}

func (s *shelf) edit(file string, change func([]byte) []byte) {
	s.t.Helper()
	s.mu.Lock()
	s.changed = file
	s.mu.Unlock()
	content, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, change(content), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestPoisonedEntriesAreNotUsed(t *testing.T) {
	poisons := map[string]struct {
		poison func(s *shelf)
		says   string
	}{
		"a blob changed": {func(s *shelf) {
			s.edit(s.layer(keyA), func(b []byte) []byte { return bytes.Replace(b, []byte("result A"), []byte("poison A"), 1) })
		}, "has the digest"},
		"a blob's beginning changed": {func(s *shelf) {
			s.edit(s.layer(keyA), func(b []byte) []byte { b[0] ^= 1; return b })
		}, "has the digest"},
		"a blob cut short": {func(s *shelf) {
			s.edit(s.layer(keyA), func(b []byte) []byte { return b[:len(b)-600] })
		}, "bytes"},
		"a blob longer": {func(s *shelf) {
			s.edit(s.layer(keyA), func(b []byte) []byte { return append(b, 0) })
		}, "bytes"},
		"a blob gone": {func(s *shelf) {
			if err := os.Remove(s.layer(keyA)); err != nil {
				s.t.Fatal(err)
			}
		}, "lacks its blob"},
		"a manifest of another blob": {func(s *shelf) {
			s.manifest(keyA, func(text string) string { return text })
		}, "it is another result"},
		"a tag moved to another result": {func(s *shelf) {
			other, err := remote.Image(s.tag(keyB))
			if err == nil {
				err = remote.Write(s.tag(keyA), other)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}, "it is another result"},
		"a manifest without layers": {func(s *shelf) {
			s.manifest(keyA, func(text string) string { return text[:strings.Index(text, `"layers"`)] + `"layers":[]}` })
		}, "is not that of a result"},
	}
	for name, p := range poisons {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t, nil)
			s.fill()
			p.poison(s)
			m := newMachine(t, s.repo, 0, s.repo)
			if got, from := m.get(t, keyA, "made here"); got != "made here" || from != cache.Made {
				t.Errorf("got %q from %d", got, from)
			}
			said := m.said.all()
			if !strings.Contains(said, s.repo+":segments-"+keyA) || !strings.Contains(said, p.says) || strings.Count(said, "\n") > 0 {
				t.Errorf("it says %s", said)
			}
			if got, from := m.get(t, keyB, "made here"); got != "result B, another" || from != cache.Shared {
				t.Errorf("the other result: %q from %d", got, from)
			}
			m.push(t)
			if s.changed != "" {
				return // a registry keeps a blob that it has
			}
			if got, _ := newMachine(t, "", 0, s.repo).get(t, keyA, "made again"); got != "made here" {
				t.Errorf("after the push: %q", got)
			}
		})
	}
}

// manifest replaces the manifest of a result by an edited one of the other.
func (s *shelf) manifest(key string, edit func(string) string) {
	s.t.Helper()
	other, err := remote.Get(s.tag(keyB))
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut,
		"http://"+strings.Replace(s.repo, "/", "/v2/", 1)+"/manifests/segments-"+key, strings.NewReader(edit(string(other.Manifest))))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", string(other.MediaType))
	answer, err := http.DefaultClient.Do(request)
	if err == nil {
		err = answer.Body.Close()
	}
	if err != nil || answer.StatusCode != http.StatusCreated {
		s.t.Fatal(err, answer)
	}
}

// failing answers everything but the first check with a status.
func failing(status int) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, `{"errors":[{"code":"SOME","message":"not today"}]}`)
		})
	}
}

// stalling answers and never sends the blob, or nothing at all.
func stalling(onlyBlobs bool) func(http.Handler) http.Handler {
	return func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if onlyBlobs && (r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/")) {
				inner.ServeHTTP(w, r)
				return
			}
			<-r.Context().Done()
		})
	}
}

func TestRegistryThatFailsCostsOnlyTime(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"500": failing(http.StatusInternalServerError), "401": failing(http.StatusUnauthorized), "403": failing(http.StatusForbidden),
		"stalls": stalling(false),
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t, wrap)
			var patience time.Duration
			if name == "stalls" {
				patience = 100 * time.Millisecond
			}
			costsNothing(t, newMachine(t, s.repo, patience, s.repo), s)
		})
	}
	t.Run("stalls at a blob", func(t *testing.T) {
		s := newShelf(t, stalling(true))
		s.fill()
		m := newMachine(t, "", 100*time.Millisecond, s.repo)
		if got, from := m.get(t, keyA, "made here"); got != "made here" || from != cache.Made {
			t.Errorf("got %q from %d", got, from)
		}
		if said := m.said.all(); !strings.Contains(said, "did not finish within 100ms") {
			t.Error(said)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		s := newShelf(t, nil)
		s.repo = "127.0.0.1:1/cache"
		costsNothing(t, newMachine(t, s.repo, 0, s.repo), s)
	})
}

// costsNothing checks that results are made without the registry, which is named
// once for looking and once for pushing.
func costsNothing(t *testing.T, m machine, s *shelf) {
	t.Helper()
	var all sync.WaitGroup
	for _, key := range []string{keyA, keyB} {
		all.Go(func() {
			if got, from := m.get(t, key, "made here"); got != "made here" || from != cache.Made {
				t.Errorf("got %q from %d", got, from)
			}
		})
	}
	all.Wait()
	m.get(t, strings.Repeat("c3", 32), "made here")
	m.push(t)
	said := m.said.all()
	if strings.Count(said, "looking for results in the shared cache "+s.repo) != 1 || strings.Count(said, "going on without it") != 1 ||
		strings.Count(said, "pushing no more results") != 1 {
		t.Errorf("it says\n%s", said)
	}
}

// TestRegistryWithoutArtifactTypes pushes to a registry that takes only what old
// ones take.
func TestRegistryWithoutArtifactTypes(t *testing.T) {
	s := newShelf(t, func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
				body, err := io.ReadAll(r.Body)
				if err != nil || bytes.Contains(body, []byte("artifactType")) {
					w.WriteHeader(http.StatusBadRequest)
					fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_INVALID","message":"unknown field artifactType"}]}`)
					return
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			inner.ServeHTTP(w, r)
		})
	})
	m := newMachine(t, s.repo, 0)
	m.get(t, keyA, "result A")
	m.get(t, keyB, "result B")
	m.push(t)
	said := m.said.all()
	if strings.Count(said, "refuses manifests with an artifact type") != 1 || !strings.Contains(said, "pushed 2 results") {
		t.Error(said)
	}
	if got, from := newMachine(t, "", 0, s.repo).get(t, keyA, "made again"); got != "result A" || from != cache.Shared {
		t.Errorf("got %q from %d", got, from)
	}
}

// The second place is asked where the first has nothing.
func TestSeveralPlaces(t *testing.T) {
	empty, full := newShelf(t, nil), newShelf(t, nil)
	full.fill()
	if got, from := newMachine(t, "", 0, empty.repo, full.repo).get(t, keyA, "made again"); got != "result A" || from != cache.Shared {
		t.Errorf("got %q from %d", got, from)
	}
	m := newMachine(t, empty.repo, 0, full.repo) // from one to the other
	m.get(t, keyA, "made again")
	m.push(t)
	if got, from := newMachine(t, "", 0, empty.repo).get(t, keyA, "made again"); got != "result A" || from != cache.Shared {
		t.Errorf("what was passed on: %q from %d", got, from)
	}
}

// keychain has the login of one user for every registry.
type keychain struct{}

// Resolve implements [authn.Keychain].
func (keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "ci", Password: "secret"}, nil
}

// A registry with logins and certificates of its own, behind a mirror, is used as for
// images.
func TestLoginCertificateAndMirror(t *testing.T) {
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ci" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="cache"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	client := web.New(web.Options{TLS: &tls.Config{RootCAs: trusted}})
	open := func(from string, mirrors ...oci.Mirror) machine {
		m := machine{said: &sink{}}
		var err error
		if m.Cache, err = cache.Open(t.TempDir(), m.said); err != nil {
			t.Fatal(err)
		}
		m.shared = shared.New(shared.Options{
			Client: oci.NewClient(oci.Options{Cache: m.Cache, Web: client, Keychain: keychain{}, Mirrors: mirrors}),
			Remote: oci.Remote{Web: client, Keychain: keychain{}}, From: []string{from}, To: host + "/team/cache", Progress: m.said,
		})
		m.WithRemote(m.shared)
		return m
	}
	first := open(host + "/team/cache")
	first.get(t, keyA, "result A")
	first.push(t)
	second := open("cache.invalid/cache", oci.Mirror{From: "cache.invalid", To: host + "/team"})
	if got, from := second.get(t, keyA, "made again"); got != "result A" || from != cache.Shared {
		t.Errorf("got %q from %d: %s", got, from, second.said.all())
	}
}

func TestCancelledLookEnds(t *testing.T) {
	s := newShelf(t, stalling(false))
	m := newMachine(t, "", 0, s.repo)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := m.shared.Get(ctx, "segments", keyA, io.Discard)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// An error of the local cache is not blamed on the registry.
func TestFullDiskIsNotTheRegistrys(t *testing.T) {
	s := newShelf(t, nil)
	s.fill()
	m := newMachine(t, "", 0, s.repo)
	full := errors.New("full")
	err := m.shared.Get(t.Context(), "segments", keyA, writerFunc(func([]byte) (int, error) { return 0, full }))
	if !errors.Is(err, full) || errors.Is(err, fs.ErrNotExist) || m.said.all() != "" {
		t.Errorf("got %v, said %q", err, m.said.all())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestCheck(t *testing.T) {
	for _, good := range []string{"registry.example/team/cache", "registry.example:5000/cache", "127.0.0.1:5000/c"} {
		if err := shared.Check(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "registry.example/cache:tag", "https://registry.example/cache", "registry.example/cache@sha256:" + keyA, "registry.example/UPPER", "cache", "team/cache"} {
		if err := shared.Check(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
