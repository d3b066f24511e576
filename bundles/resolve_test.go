package bundles

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// site is a web server like AWS's that counts requests.
type site struct {
	*httptest.Server
	pages map[string]http.HandlerFunc
	asked map[string]int
}

func newSite(t *testing.T) *site {
	s := &site{pages: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked[r.URL.Path]++
		page, ok := s.pages[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		page(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) text(path, text string) {
	s.pages[path] = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// releases publishes a list of versions and a bundle for each. The last version is
// the latest.
func (s *site) releases(versions ...string) {
	list := "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Release\nspec:\n  latestVersion: " + versions[len(versions)-1] + "\n  releases:\n"
	for _, v := range versions {
		path := "/bundles/" + strings.ReplaceAll(v, "+", "-")
		list += fmt.Sprintf("  - {version: %q, date: 2026-01-01 10:00:00 +0000 UTC m=+1, bundleManifestUrl: %q}\n", v, s.URL+path)
		s.text(path, maker{release: v}.text())
	}
	s.text("/list", list)
}

const attempts = 3

// quick returns a client with short time limits.
func quick() *web.Client {
	return web.New(web.Options{Limits: web.Limits{Header: 300 * time.Millisecond, Idle: 300 * time.Millisecond, Tries: attempts, Pause: time.Millisecond}})
}

func (s *site) resolver() *Resolver {
	return &Resolver{Web: quick(), ReleasesURL: s.URL + "/list"}
}

func TestLoad(t *testing.T) {
	s := newSite(t)
	s.releases("v0.9.0", "v0.27.0-dev+build.9", "v0.27.0-dev+build.10", "v0.27.0-dev.2+build.11", "v0.26.1", "v0.25.3", "v0.26.0")
	file := filepath.Join(t.TempDir(), "b.yaml")
	if err := os.WriteFile(file, []byte(maker{release: "v0.1.0"}.text()), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		ref  Ref
		want string
	}{
		"file":             {Ref{Bundle: file, EKSAVersion: "v0.26.1"}, "v0.1.0"},
		"file URL":         {Ref{Bundle: "file://" + file}, "v0.1.0"},
		"URL":              {Ref{Bundle: s.URL + "/bundles/v0.9.0"}, "v0.9.0"},
		"version":          {Ref{EKSAVersion: "v0.26.1", Eksctl: "v0.9.0"}, "v0.26.1"},
		"version, no v":    {Ref{EKSAVersion: "0.26.1"}, "v0.26.1"},
		"dev latest":       {Ref{EKSAVersion: "v0.27.0-dev+latest"}, "v0.27.0-dev+build.10"},
		"dev build":        {Ref{EKSAVersion: "v0.27.0-dev+build.9"}, "v0.27.0-dev+build.9"},
		"eksctl's version": {Ref{Eksctl: "Version: v0.26.1\n"}, "v0.26.1"},
		"overridden list":  {Ref{Eksctl: "Version: v0.26.1\nBundle Manifest URL: https://unreachable.invalid/x\nRelease Manifest URL: https://unreachable.invalid/y\n"}, "v0.26.1"},
		"latest":           {Ref{}, "v0.26.0"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := s.resolver().Load(t.Context(), tt.ref)
			if err != nil {
				t.Fatal(err)
			}
			if b.Release() != tt.want {
				t.Errorf("got %s, want the one of %s", b, tt.want)
			}
		})
	}
}

func TestLoadWhatEksctlNames(t *testing.T) {
	s := newSite(t)
	s.releases("v0.26.1")
	r := s.resolver()
	r.ReleasesURL = ""
	for name, said := range map[string]string{
		"bundle": "Version: v0.26.1\nBundle Manifest URL: " + s.URL + "/bundles/v0.26.1\n",
		"list":   `{"version":"v0.26.1","releaseManifestURL":"` + s.URL + `/list"}`,
	} {
		if b, err := r.Load(t.Context(), Ref{Eksctl: said}); err != nil || b.Release() != "v0.26.1" {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
}

// TestMirrors loads from a copy of AWS's site whose list still has AWS's URLs.
func TestMirrors(t *testing.T) {
	s := newSite(t)
	s.releases("v0.26.1")
	list := strings.ReplaceAll(s.read(t, "/list"), s.URL, "https://anywhere-assets.eks.amazonaws.com")
	s.text("/copy/releases/eks-a/manifest.yaml", list)
	s.text("/copy/bundles/v0.26.1", maker{release: "v0.26.1"}.text())
	r := &Resolver{Web: quick(), Mirrors: []Mirror{{"https://anywhere-assets.eks.amazonaws.com/", s.URL + "/copy/"}}}
	b, err := r.Load(t.Context(), Ref{})
	if err != nil {
		t.Fatal(err)
	}
	if b.Origin != s.URL+"/copy/bundles/v0.26.1" {
		t.Errorf("the origin is %s", b.Origin)
	}
}

func (s *site) read(t *testing.T, path string) string {
	t.Helper()
	data, err := (&Resolver{Web: quick()}).read(t.Context(), s.URL+path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRelativeBundles reads lists that name their bundles by a relative path, from a
// disk and from a server.
func TestRelativeBundles(t *testing.T) {
	const list = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Release\nspec: {latestVersion: v1.0.0, releases: [{version: v1.0.0, bundleManifestUrl: sub/b.yaml}]}\n"
	s := newSite(t)
	s.text("/x/list", list)
	s.text("/x/sub/b.yaml", maker{release: "v1.0.0"}.text())
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"list": list, "sub/b.yaml": maker{release: "v1.0.0"}.text()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []string{s.URL + "/x/list", filepath.Join(dir, "list")} {
		r := &Resolver{Web: quick(), ReleasesURL: at}
		if _, err := r.Load(t.Context(), Ref{}); err != nil {
			t.Error(err)
		}
	}
}

func TestPublishedLists(t *testing.T) {
	for file, tt := range map[string]struct {
		version string
		words   []string
	}{
		"releases-embedded.yaml": {"v0.19.0-dev+latest", []string{"embed://", "inside the eksctl-anywhere program", "--bundle"}},
		"releases-relative.yaml": {"v0.0.1", []string{"testdata/bundle.yaml", "name a manifest file"}},
		"releases-mixed.yaml":    {"v0.5.0", []string{`"v0.5.0"`, "lists 4 others"}},
	} {
		_, err := (&Resolver{ReleasesURL: sample(file)}).Load(t.Context(), Ref{EKSAVersion: tt.version})
		wantError(t, err, tt.words...)
		_, err = (&Resolver{ReleasesURL: sample(file)}).Load(t.Context(), Ref{})
		wantError(t, err, "which release is the latest", "--eksa-version")
	}
}

func TestLoadErrors(t *testing.T) {
	s := newSite(t)
	s.releases("v0.25.2", "v0.25.10", "v0.26.1")
	s.text("/html", "<html>Sign in</html>")
	s.text("/empty", "")
	s.text("/list-without", "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Release\nspec: {latestVersion: v1.0.0, releases: [{version: v1.0.0}]}\n")
	s.pages["/500"] = status(http.StatusInternalServerError)
	s.pages["/401"] = status(http.StatusUnauthorized)
	s.pages["/huge"] = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, maxManifest+10))
	}
	s.pages["/cut"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("apiVersion: "))
	}
	dir := t.TempDir()
	downloads := t.TempDir()
	if err := os.WriteFile(filepath.Join(downloads, "bundle-release.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	withPassword := strings.Replace(s.URL, "http://", "http://me:secret@", 1)
	for name, tt := range map[string]struct {
		ref   Ref
		kind  fault.Kind
		words []string
	}{
		"missing file":    {Ref{Bundle: filepath.Join(dir, "none.yaml")}, fault.Invalid, []string{"none.yaml", "no such file"}},
		"directory":       {Ref{Bundle: dir}, fault.Invalid, []string{"directory", "name a manifest file"}},
		"downloads":       {Ref{Bundle: downloads}, fault.Invalid, []string{"directory", filepath.Join(downloads, "bundle-release.yaml")}},
		"403":             {Ref{Bundle: s.URL + "/nowhere"}, fault.Outside, []string{"/nowhere", "403", "no such manifest"}},
		"500":             {Ref{Bundle: s.URL + "/500"}, fault.Outside, []string{"500", "try again later"}},
		"401":             {Ref{Bundle: s.URL + "/401"}, fault.Outside, []string{"401", "user name and password"}},
		"login page":      {Ref{Bundle: s.URL + "/html"}, fault.Invalid, []string{"/html", "web page"}},
		"empty page":      {Ref{Bundle: s.URL + "/empty"}, fault.Invalid, []string{"empty"}},
		"list as bundle":  {Ref{Bundle: s.URL + "/list"}, fault.Invalid, []string{"kind is Release", s.URL + "/bundles/v0.26.1"}},
		"too large":       {Ref{Bundle: s.URL + "/huge"}, fault.Invalid, []string{"/huge", "16 MiB"}},
		"cut":             {Ref{Bundle: s.URL + "/cut"}, fault.Outside, []string{"/cut", "unexpected EOF"}},
		"scheme":          {Ref{Bundle: "s3://bucket/x"}, fault.Invalid, []string{"s3://bucket/x", "https://"}},
		"embed":           {Ref{Bundle: "embed:///config/x.yaml"}, fault.Invalid, []string{"eksctl-anywhere program"}},
		"bad URL":         {Ref{Bundle: "https://%zz/"}, fault.Usage, []string{"%zz"}},
		"unknown version": {Ref{EKSAVersion: "v0.25.9"}, fault.Invalid, []string{`"v0.25.9"`, "v0.25.2, v0.25.10"}},
		"unknown line":    {Ref{EKSAVersion: "v0.99.0"}, fault.Invalid, []string{`"v0.99.0"`, "latest is v0.26.1"}},
		"no dev builds":   {Ref{EKSAVersion: "v0.99.0-dev+latest"}, fault.Invalid, []string{"v0.99.0-dev+latest"}},
		"not a version":   {Ref{EKSAVersion: "newest"}, fault.Usage, []string{`"newest"`, `"v0.26.1"`}},
		"eksctl broken":   {Ref{Eksctl: "Error: no"}, fault.Invalid, []string{"eksctl anywhere version"}},
		"password":        {Ref{Bundle: withPassword + "/nowhere?sig=secret"}, fault.Outside, []string{s.URL + "/nowhere"}},
		"unreachable":     {Ref{Bundle: "http://127.0.0.1:1/x"}, fault.Outside, []string{"127.0.0.1:1", "HTTPS_PROXY"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.resolver().Load(t.Context(), tt.ref)
			wantError(t, err, tt.words...)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%q shows the password", err)
			}
			if fault.KindOf(err) != tt.kind {
				t.Errorf("kind %d, want %d: %v", fault.KindOf(err), tt.kind, err)
			}
		})
	}
	if s.asked["/500"] != attempts || s.asked["/cut"] != attempts || s.asked["/401"] != 1 || s.asked["/huge"] != 1 {
		t.Errorf("asked %v", s.asked)
	}
	r := s.resolver()
	r.ReleasesURL = s.URL + "/list-without"
	_, err := r.Load(t.Context(), Ref{})
	wantError(t, err, "v1.0.0", "no bundleManifestUrl", "--bundle")
	r.Offline = true
	_, err = r.Load(t.Context(), Ref{})
	wantError(t, err, "--offline", "--bundle")
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestServerThatRecovers(t *testing.T) {
	s := newSite(t)
	s.pages["/b"] = func(w http.ResponseWriter, _ *http.Request) {
		if s.asked["/b"] < attempts {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, maker{}.text())
	}
	if _, err := s.resolver().Load(t.Context(), Ref{Bundle: s.URL + "/b"}); err != nil {
		t.Error(err)
	}
}

func TestLoadStopsWhenTold(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.pages["/b"] = func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.WriteHeader(http.StatusBadGateway)
	}
	r := s.resolver()
	r.Web = nil // pauses as for users
	_, err := r.Load(ctx, Ref{Bundle: s.URL + "/b"})
	if err == nil || s.asked["/b"] != 1 {
		t.Errorf("asked %d times, %v", s.asked["/b"], err)
	}
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"v0.1.0-dev+build.2", "v0.1.0-dev+build.10", "v0.1.0-dev+build.10.1", "v0.1.0-dev+build.x", "v0.1.0", "v0.1.0+a", "v0.2.0"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
}

// notes collects what a resolver says.
type notes struct{ text string }

func (n *notes) Report(e progress.Event) { n.text += e.Text + "\n" }

// TestPlainHTTPIsSaid checks the word about content that nothing verifies.
func TestPlainHTTPIsSaid(t *testing.T) {
	s := newSite(t)
	text := maker{release: "v1.0.0"}.text()
	s.text("/b", text)
	for fragment, want := range map[string]bool{"": true, fmt.Sprintf("#sha256=%x", sha256.Sum256([]byte(text))): false} {
		said := &notes{}
		r := s.resolver()
		r.Progress = said
		if _, err := r.Load(t.Context(), Ref{Bundle: s.URL + "/b" + fragment}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(said.text, s.URL+"/b is fetched over plain HTTP and is not checked; add #sha256=HEX"); got != want {
			t.Errorf("%q: said %q", fragment, said.text)
		}
	}
}

func TestPinnedManifest(t *testing.T) {
	s := newSite(t)
	text := maker{release: "v1.0.0"}.text()
	s.text("/b", text)
	at := strings.Replace(s.URL, "http://", "http://me:secret@", 1) + "/b?sig=secret#sha256="
	b, err := s.resolver().Load(t.Context(), Ref{Bundle: fmt.Sprintf("%s%x", at, sha256.Sum256([]byte(text)))})
	if err != nil {
		t.Fatal(err)
	}
	if b.Origin != s.URL+"/b" {
		t.Errorf("its origin is shown as %s", b.Origin)
	}
	_, err = s.resolver().Load(t.Context(), Ref{Bundle: at + strings.Repeat("0", 64)})
	wantError(t, err, s.URL+"/b", "should be 000")
	if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "secret") {
		t.Errorf("kind %d: %v", fault.KindOf(err), err)
	}
	_, err = s.resolver().Load(t.Context(), Ref{Bundle: at + "0"})
	if fault.KindOf(err) != fault.Usage || strings.Contains(err.Error(), "secret") {
		t.Errorf("kind %d: %v", fault.KindOf(err), err)
	}
}

// TestStalledServers asks servers that do not respond, or stall in the body.
func TestStalledServers(t *testing.T) {
	s := newSite(t)
	s.pages["/silent"] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	s.pages["/stalls"] = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "apiVersion: ")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	for path, word := range map[string]string{"/silent": "timeout awaiting", "/stalls": "stalled"} {
		_, err := s.resolver().Load(t.Context(), Ref{Bundle: s.URL + path})
		wantError(t, err, path, word, "--bundle")
		r := s.resolver()
		r.ReleasesURL = s.URL + path
		_, err = r.Load(t.Context(), Ref{})
		wantError(t, err, path, word)
		if fault.KindOf(err) != fault.Outside {
			t.Errorf("kind %d: %v", fault.KindOf(err), err)
		}
	}
}
