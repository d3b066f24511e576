package containers

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"hookbuild/internal/cache"
	"hookbuild/internal/dockerhost"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/test/enginetest"
	"hookbuild/test/testneed"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// serve starts a registry that requires the login user/secret, and returns its
// host.
func serve(t *testing.T) string {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, secret, _ := r.BasicAuth(); user != "user" || secret != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// keychain is a login for every registry.
type keychain struct{}

func (keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "user", Password: "secret"}, nil
}

// publish pushes an image for amd64 to ref.
func publish(t *testing.T, ref string) {
	t.Helper()
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(parsed, index, remote.WithAuthFromKeychain(keychain{})); err != nil {
		t.Fatal(err)
	}
}

func images(t *testing.T) *oci.Client {
	t.Helper()
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return oci.NewClient(oci.Options{Cache: c, Keychain: keychain{}})
}

// recorder stores what is reported.
type recorder struct {
	mu   sync.Mutex
	text []string
}

func (r *recorder) Report(e progress.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, e.Text)
}

func (r *recorder) has(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(strings.Join(r.text, "\n"), text)
}

// checkout returns a checkout with one directory with a Dockerfile and one
// wrapped image.
func checkout(host string) fstest.MapFS {
	return fstest.MapFS{
		"images/hook-one/Dockerfile":    {Data: []byte("FROM scratch\nARG TARGETARCH\nCOPY . /files/\nLABEL arch=$TARGETARCH\n")},
		"images/hook-one/.dockerignore": {Data: []byte("left-out\n")},
		"images/hook-one/left-out/x":    {Data: []byte("x")},
		"images/hook-one/kept":          {Data: []byte("kept")},
		proxyList:                       {Data: []byte("x+=([\"base\"]=\"" + host + "/linuxkit/base:1\")\n")},
	}
}

// forget removes the images from the engine when the test ends.
func forget(t *testing.T, docker *client.Client, list []Container) {
	t.Helper()
	t.Cleanup(func() {
		for _, c := range list {
			_, err := docker.ImageRemove(context.Background(), c.Reference, image.RemoveOptions{Force: true})
			if err != nil && !strings.Contains(err.Error(), "No such image") {
				t.Error(err)
			}
		}
	})
}

func engineOf(t *testing.T) *client.Client {
	t.Helper()
	testneed.Docker(t)
	docker, err := dockerhost.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	return docker
}

func hows(found []Found) map[string]How {
	out := map[string]How{}
	for _, f := range found {
		out[f.Name] = f.How
	}
	return out
}

// The life cycle of two containers: built, found in the engine, pushed, found
// in the registry after the engine has lost them, exported, loaded.
func TestEnsureWithDocker(t *testing.T) {
	docker := engineOf(t)
	host := serve(t)
	publish(t, host+"/linuxkit/base:1")
	files := checkout(host)
	list, err := List(t.Context(), files, host+"/hook/", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	forget(t, docker, list)
	said := &recorder{}
	o := Options{Checkout: files, Arch: "amd64", Images: images(t), Connect: dockerhost.Connect, Keychain: keychain{}, Progress: said}
	ensure := func(want How, change func(*Options)) {
		t.Helper()
		o := o
		change(&o)
		found, err := Ensure(t.Context(), list, o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]How{"hook-one": want, "hook-linuxkit-base": want}, hows(found)); diff != "" {
			t.Fatal(diff)
		}
	}

	ensure(Built, func(*Options) {})
	checkBuilt(t, docker, list[1].Reference)
	for _, step := range []string{"COPY . /files/", "linuxkit/base:1"} {
		if !said.has(step) {
			t.Errorf("nothing was said of %q: %q", step, said.text)
		}
	}
	ensure(Local, func(o *Options) { o.NoBuild = true })

	first, second := t.TempDir(), t.TempDir()
	ensure(Local, func(o *Options) { o.Push, o.ExportDir = true, first })
	removeAll(t, docker, list)
	ensure(Published, func(o *Options) { o.NoBuild, o.ExportDir, o.Images = true, second, images(t) })
	for _, c := range list {
		checkExport(t, docker, c, first, second)
	}
}

func checkBuilt(t *testing.T, docker *client.Client, ref string) {
	t.Helper()
	info, err := docker.ImageInspect(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if info.Architecture != "amd64" || info.Config.Labels["arch"] != "amd64" {
		t.Errorf("%q is for %q, label %v", ref, info.Architecture, info.Config.Labels)
	}
}

func removeAll(t *testing.T, docker *client.Client, list []Container) {
	t.Helper()
	for _, c := range list {
		if _, err := docker.ImageRemove(t.Context(), c.Reference, image.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// checkExport compares the exports from the engine and from the registry, and
// loads one.
func checkExport(t *testing.T, docker *client.Client, c Container, dirs ...string) {
	t.Helper()
	base := strings.ReplaceAll(c.Reference[strings.LastIndex(c.Reference, "/")+1:], ":", "-") + ".tar.gz"
	var contents [][]byte
	for _, dir := range dirs {
		content, err := os.ReadFile(filepath.Join(dir, base))
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, content)
	}
	if string(contents[0]) != string(contents[1]) {
		t.Errorf("%s: the exports from the engine and the registry differ", c.Name)
	}
	f, err := os.Open(filepath.Join(dirs[0], base))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	resp, err := docker.ImageLoad(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := docker.ImageInspect(t.Context(), c.Reference); err != nil {
		t.Errorf("loading %q: %v; %s", base, err, said)
	}
}

// What a build omits and sends, and a build for another platform.
func TestBuildForAnotherPlatform(t *testing.T) {
	docker := engineOf(t)
	host := serve(t)
	files := checkout(host)
	list, err := List(t.Context(), files, host+"/hook/", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	list = list[1:] // hook-one
	forget(t, docker, list)
	client := images(t)
	found, err := Ensure(t.Context(), list, Options{Checkout: files, Arch: "arm64", Images: client, Connect: dockerhost.Connect, Keychain: keychain{}})
	if err != nil {
		t.Fatal(err)
	}
	e := &ensurer{Options: Options{Arch: "arm64"}}
	img, err := client.Image(t.Context(), found[0].Source, e.platform())
	if err != nil {
		t.Fatal(err)
	}
	tree, err := img.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"files/kept": true, "files/left-out": false, "files/Dockerfile": true} {
		if _, ok := tree.Lookup(path); ok != want {
			t.Errorf("%q is there: %v, want %v", path, ok, want)
		}
	}
	if got := img.Config.Config.Labels["arch"]; got != "arm64" {
		t.Errorf("built for %q", got)
	}
}

func TestBuildFailureNamesTheStep(t *testing.T) {
	docker := engineOf(t)
	host := serve(t)
	for name, tt := range map[string]struct{ dockerfile, want string }{
		"step":   {"FROM scratch\nCOPY missing /\n", "missing"},
		"syntax": {"FRUM scratch\n", "FRUM"},
	} {
		files := fstest.MapFS{"images/hook-bad/Dockerfile": {Data: []byte(tt.dockerfile)}}
		list, err := List(t.Context(), files, host+"/hook/", "amd64")
		if err != nil {
			t.Fatal(err)
		}
		forget(t, docker, list)
		_, err = Ensure(t.Context(), list, Options{Checkout: files, Arch: "amd64", Images: images(t), Connect: dockerhost.Connect, Keychain: keychain{}})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), `container "hook-bad"`) {
			t.Errorf("%s: %v; want an error with %q", name, err, tt.want)
		}
	}
}

// Without an engine, published images are still found; the error for others
// says both why it looked and why it cannot build.
func TestEnsureWithoutDocker(t *testing.T) {
	host := serve(t)
	files := checkout(host)
	list, err := List(t.Context(), files, host+"/hook/", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	publish(t, list[0].Reference)
	asked := 0
	connect := func(context.Context) (*client.Client, error) {
		asked++
		return nil, fault.Outsidef("no engine here")
	}
	o := Options{Checkout: files, Arch: "amd64", Images: images(t), Connect: connect}
	found, err := Ensure(t.Context(), list[:1], o)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Found{Container: list[0], How: Published, Source: list[0].Reference}); found[0] != want {
		t.Errorf("got %+v, want %+v", found[0], want)
	}
	_, err = Ensure(t.Context(), list, o)
	if err == nil || !strings.Contains(err.Error(), "no engine here") || !strings.Contains(err.Error(), list[1].Reference) || fault.KindOf(err) != fault.Outside {
		t.Errorf("unpublished without an engine: %v", err)
	}
	if asked != 2 {
		t.Errorf("the engine was asked for %d times, want once for each call", asked)
	}
	o.NoBuild, o.WhyNoBuild = true, "nobody builds today"
	_, err = Ensure(t.Context(), list, o)
	if err == nil || !strings.HasSuffix(err.Error(), "; nobody builds today") || fault.KindOf(err) != fault.Outside {
		t.Errorf("building switched off: %v", err)
	}
}

// TestBuildOnAnotherEngine builds on a second engine, and finds the image in the
// first.
func TestBuildOnAnotherEngine(t *testing.T) {
	docker := engineOf(t)
	other := enginetest.New(t)
	other.Start(t)
	files := checkout(serve(t))
	list, err := List(t.Context(), files, "other.example/hook/", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	list = list[1:] // hook-one, which wraps nothing
	forget(t, docker, list)
	said := &recorder{}
	o := Options{Checkout: files, Arch: "amd64", Images: images(t), Connect: dockerhost.Connect, Progress: said}
	o.BuildOn = func(ctx context.Context) (*client.Client, error) {
		return dockerhost.ConnectTo(ctx, "unix://"+other.Socket)
	}
	found, err := Ensure(t.Context(), list, o)
	if err != nil || found[0].How != Built {
		t.Fatalf("found %+v, %v", found, err)
	}
	checkBuilt(t, docker, list[0].Reference)
	if out, err := other.Docker(t.Context(), "image", "inspect", list[0].Reference).CombinedOutput(); err != nil {
		t.Errorf("the other engine did not build it: %v\n%s", err, out)
	}
	if !said.has("COPY . /files/") {
		t.Errorf("nothing was said of the build: %q", said.text)
	}
	other.Stop(t)
	removeAll(t, docker, list)
	_, err = Ensure(t.Context(), list, o)
	if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), other.Socket) {
		t.Errorf("an engine that does not answer: %v", err)
	}
}
