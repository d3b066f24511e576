package oci

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/internal/fault"
)

func TestMirrorNames(t *testing.T) {
	client := NewClient(Options{Mirrors: []Mirror{
		{"public.ecr.aws", "10.0.0.1:5000/ecr"}, {"public.ecr.aws/eks-anywhere", "10.0.0.1:5000/eksa/"},
		{"docker.io", "hub.site"}, {"docker.io/library/", "hub.site/official"}, {"quay.io/tinkerbell/hook", "quay.site/hook"},
	}})
	for repo, want := range map[string]string{
		"public.ecr.aws/a/b":            "10.0.0.1:5000/ecr/a/b",
		"public.ecr.aws/eks-anywhere/x": "10.0.0.1:5000/eksa/x",
		"public.ecr.aws/eks-anywhere2":  "10.0.0.1:5000/ecr/eks-anywhere2",
		"linuxkit/init":                 "hub.site/linuxkit/init",
		"alpine":                        "hub.site/official/alpine",
		"quay.io/tinkerbell/hook":       "quay.site/hook",
		"quay.io/tinkerbell/hook-bits":  "",
		"ghcr.io/a/b":                   "",
	} {
		repository, err := name.NewRepository(repo)
		if err != nil {
			t.Fatal(err)
		}
		places, err := client.places(repository)
		if err != nil {
			t.Fatal(err)
		}
		if last := places[len(places)-1]; last != repository {
			t.Errorf("%s: the last place is %s", repo, last)
		}
		if want == "" && len(places) != 1 || want != "" && places[0].Name() != want {
			t.Errorf("%s: got %s, want %q", repo, places, want)
		}
	}
}

// second is another registry, used as the mirror or the original.
func second(t *testing.T, handler http.Handler) string {
	t.Helper()
	if handler == nil {
		handler = registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func mirrored(from, to string) func(*Options) {
	return func(o *Options) { o.Mirrors = []Mirror{{from, to}} }
}

func TestMirrorIsAskedInsteadOfTheOriginal(t *testing.T) {
	l := newLab(t)
	image := imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1")))
	l.push("copy/ns/image:v1", image)
	src := "registry.invalid/ns/image:v1"
	l.renew(mirrored("registry.invalid", l.host+"/copy"))
	m := l.image(src, amd64)
	if err := m.Fetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	if m.Reference.Name() != src || m.Digest != digestOf(t, image) {
		t.Errorf("got %s, %s", m.Reference, m.Digest)
	}
	// The cache knows the image by its own name, whichever mirror delivered it.
	l.client = l.clientWith(func(o *Options) { o.Offline = true })
	if err := l.fetch(src); err != nil {
		t.Errorf("offline: %v", err)
	}
}

func TestOriginalIsAskedForWhatTheMirrorLacks(t *testing.T) {
	l := newLab(t)
	src := l.push("ns/image:v1", imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1"))))
	l.client = l.clientWith(mirrored(l.host, second(t, nil)))
	if err := l.fetch(src); err != nil {
		t.Error(err)
	}
	err := l.fetch(l.host + "/ns/none:v1")
	mentions(t, err, "ns/none", "404", l.host)
	if strings.Count(err.Error(), "404 Not Found") != 2 { // a port may have these digits
		t.Errorf("it does not mention that both lack it: %v", err)
	}
}

func TestMirrorThatFailsIsNotPassedOver(t *testing.T) {
	l := newLab(t)
	src := l.push("ns/image:v1", imageOf(t, amd64))
	broken := second(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	l.client = l.clientWith(mirrored(l.host, broken))
	err := l.fetch(src)
	mentions(t, err, src, broken, "403")
	if l.count("") != 0 || fault.KindOf(err) != fault.Outside {
		t.Errorf("the original was asked: %q", l.asked)
	}
}

// If the mirror lacks an image and the original cannot be reached, the error
// names both, and does not advise using a mirror.
func TestWhatTheMirrorAnsweredIsSaid(t *testing.T) {
	l := newLab(t)
	mirror := second(t, nil)
	l.client = l.clientWith(mirrored("registry.invalid", mirror))
	err := l.fetch("registry.invalid/ns/image:v1")
	mentions(t, err, "asking the mirror "+mirror+": 404", "asking registry.invalid", "check the name and the network")
	if strings.Contains(err.Error(), "--mirror") || fault.KindOf(err) != fault.Outside {
		t.Errorf("kind %d: %v", fault.KindOf(err), err)
	}
	mentions(t, l.fetch("other.invalid/ns/image:v1"), "or use --mirror")
}

func TestInsecureRegistries(t *testing.T) {
	server := httptest.NewTLSServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	l := newLab(t)
	ref, err := name.ParseReference(host + "/image:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, imageOf(t, amd64), remote.WithTransport(server.Client().Transport)); err != nil {
		t.Fatal(err)
	}
	for _, listed := range []string{host, strings.Split(host, ":")[0]} {
		l.renew(func(o *Options) { o.Insecure = []string{listed} })
		if err := l.fetch(ref.Name()); err != nil {
			t.Errorf("with --insecure-registry %s: %v", listed, err)
		}
	}
}

// transportFunc is a network in which every host is this process.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A registry in the local network may not make the client drop TLS, although
// its address would let go-containerregistry try.
func TestPlainHTTPOnlyWhereAllowed(t *testing.T) {
	for host, tc := range map[string]struct {
		insecure []string
		ok       bool
	}{
		"10.0.0.1:5000":       {nil, false},
		"registry.local:5000": {nil, false},
		"192.168.1.1":         {[]string{"192.168.1.1"}, true},
		"10.0.0.2:5000":       {[]string{"10.0.0.2:5000"}, true},
		"10.0.0.3:5000":       {[]string{"10.0.0.3:5001"}, false},
		"127.0.0.1:5000":      {nil, true},
		"[::1]:5000":          {nil, true},
		"localhost:5000":      {nil, true},
	} {
		l := newLab(t)
		src := l.push("image:v1", imageOf(t, amd64))
		l.renew(func(o *Options) { o.Insecure = tc.insecure })
		divert := transportFunc(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme == "https" {
				return nil, http.ErrSchemeMismatch
			}
			again := r.Clone(r.Context())
			again.URL.Host = l.host
			return http.DefaultTransport.RoundTrip(again)
		})
		l.client.net.transport = &plainRule{tc.insecure, divert}
		err := l.fetch(strings.Replace(src, l.host, host, 1))
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", host, err)
		}
		if !tc.ok {
			mentions(t, err, "--insecure-registry "+host)
		}
	}
}
