package main

import (
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/test/lab/site"
	"hookbuild/test/release"
	"hookbuild/test/testneed"
)

// clusterFile writes a cluster specification whose mirror stands in for the
// service's registry; more is the rest of its spec.
func (r releases) clusterFile(version string, mirror *release.Registry, more string) string {
	r.t.Helper()
	host, port, _ := strings.Cut(mirror.Addr(), ":")
	text := "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Cluster\nmetadata: {name: plant}\nspec:\n  eksaVersion: " + version + "\n" +
		"  registryMirrorConfiguration:\n    endpoint: " + host + "\n    port: \"" + port + "\"\n" +
		"    ociNamespaces:\n    - registry: " + r.service.Images.Addr() + "\n      namespace: ecr\n"
	if mirror.CA != nil {
		text += "    authenticate: true\n    caCertContent: |\n      " + strings.ReplaceAll(strings.TrimSpace(string(mirror.CA)), "\n", "\n      ") + "\n"
	}
	file := filepath.Join(r.t.TempDir(), "cluster.yaml")
	site.WriteFile(r.t, file, text+more)
	return file
}

// withEnv runs a command with variables.
func (r releases) withEnv(want int, env map[string]string, args ...string) outcome {
	r.t.Helper()
	var stdout, stderr strings.Builder
	code := run(r.t.Context(), append(args, "--progress", "plain"), environment{
		getenv: func(k string) string { return env[k] }, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr,
	})
	if code != want {
		r.t.Fatalf("%v: exit code %d, want %d\n%s", args, code, want, stderr.String())
	}
	return outcome{code, stdout.String(), stderr.String()}
}

// TestMirrorFilledByImport embeds from a mirror that has the images by tag: the
// original's index proves them, and without it only --mirror-by-tag takes them.
func TestMirrorFilledByImport(t *testing.T) {
	r := newReleases(t)
	mirror, err := r.service.Mirror(t.Context(), r.find("v0.24.2"), "ecr", release.Access{TLS: true, User: "me", Password: "hush"})
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	r.importedMirror(mirror, map[string]string{"REGISTRY_USERNAME": "me", "REGISTRY_PASSWORD": "hush"})
	// The original has not seen the mirror's login.
	if seen := r.service.Images.Authorizations(); len(seen) > 0 {
		t.Errorf("the original got %q", seen)
	}
	if seen := mirror.Authorizations(); !slices.Equal(seen, []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("me:hush"))}) {
		t.Errorf("the mirror got %q", seen)
	}
}

func (r releases) importedMirror(mirror *release.Registry, env map[string]string) {
	t := r.t
	t.Helper()
	cluster := r.clusterFile("v0.24.2", mirror, "")
	out := filepath.Join(r.dir, "out")
	args := []string{"embed", "--initramfs", r.in, "-o", out, "--cluster", cluster, "--releases-url", r.service.ReleasesURL()}
	got := r.withEnv(0, env, append(args, "--cache-dir", t.TempDir())...)
	says(t, got.stderr, "the mirror "+mirror.Addr()+" has another manifest for the tag, sha256:", "of the same image: it has the same configuration sha256:")
	proven := readFile(t, out)

	if err := r.service.Images.Close(); err != nil {
		t.Fatal(err)
	}
	got = r.withEnv(4, env, append(args, "--cache-dir", t.TempDir())...)
	says(t, got.stderr, "404", "the mirror "+mirror.Addr()+" has an image of the tag", "which nothing proves to be sha256:", "connection refused", "--mirror-by-tag")
	got = r.withEnv(0, env, append(args, "--cache-dir", t.TempDir(), "--mirror-by-tag")...)
	says(t, got.stderr, "warning: 7 images are not at the mirror "+mirror.Addr()+" by digest; its images of their tags are taken instead", "/cexec:", " instead of "+r.service.Images.Digest("cexec")+": nothing proves that it is the same\n")
	if n := strings.Count(got.stderr, "(--mirror-by-tag)"); n != 1 {
		t.Errorf("it warns %d times:\n%s", n, got.stderr)
	}
	if len(readFile(t, out)) == 0 || len(proven) == 0 {
		t.Error("nothing was written")
	}
}

// TestMirrorFilledByDocker fills the mirror as import images does, with Docker.
func TestMirrorFilledByDocker(t *testing.T) {
	testneed.Docker(t)
	docker := testneed.Tool(t, "docker")
	r := newReleases(t)
	mirror, err := release.NewRegistry(t.Context(), release.Access{})
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	archive := filepath.Join(r.dir, "images.tar")
	var made []string
	defer func() { _ = exec.Command(docker, append([]string{"rmi", "-f"}, made...)...).Run() }()
	in := func(args ...string) {
		t.Helper()
		if text, err := exec.CommandContext(t.Context(), docker, args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, text)
		}
	}
	for _, ref := range r.service.References(r.find("v0.24.2")) {
		to := release.MirrorName(ref, mirror.Addr(), "ecr")
		made = append(made, ref, to)
		in("pull", "-q", ref)
		in("save", "-o", archive, ref)
		in("rmi", "-f", ref)
		in("load", "-q", "-i", archive)
		in("tag", ref, to)
		in("push", "-q", to)
	}
	r.importedMirror(mirror, nil)
}

// Images from a registry that is slow, or that breaks connections, are the same.
func TestRegistriesThatMisbehave(t *testing.T) {
	r := newReleases(t)
	out := filepath.Join(r.dir, "out")
	embed := func(wrap func(http.Handler) http.Handler) string {
		t.Helper()
		mirror, err := r.service.Mirror(t.Context(), r.find("v0.24.2"), "ecr", release.Access{Wrap: wrap})
		if err != nil {
			t.Fatal(err)
		}
		defer mirror.Close()
		r.cache = t.TempDir()
		r.run(0, "embed", "--initramfs", r.in, "-o", out, "--cluster", r.clusterFile("v0.24.2", mirror, ""), "--releases-url", r.service.ReleasesURL())
		return readFile(t, out)
	}
	want := embed(nil)
	var broken sync.Map // by path
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"slow": release.Slow(16),
		"breaks once": release.Broken(func(request *http.Request) int64 {
			if _, before := broken.LoadOrStore(request.URL.Path, true); before || !strings.Contains(request.URL.Path, "/blobs/") {
				return -1
			}
			return 40
		}),
	} {
		if embed(wrap) != want {
			t.Errorf("%s: the initramfs is another one", name)
		}
	}
}

// A whole result says in its manifest what was taken by tag.
func TestMirrorByTagInTheManifest(t *testing.T) {
	r := newReleases(t)
	p := newSmallProof(t)
	mirror, err := r.service.Mirror(t.Context(), r.find("v0.24.2"), "ecr", release.Access{})
	if err != nil {
		t.Fatal(err)
	}
	defer mirror.Close()
	digest := r.service.Images.Digest("cexec")
	if err := r.service.Images.Close(); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	p.run(0, "embed", "--base", p.out, "--out", out, "--layout", "directory", "--cluster", r.clusterFile("v0.24.2", mirror, ""), "--releases-url", r.service.ReleasesURL(), "--mirror-by-tag")
	m, err := artifact.ReadManifest(filepath.Join(out, "hook", artifact.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if e := m.Builds[0].Embedded[0]; e.Asked != digest || e.Digest == digest || e.Digest == "" {
		t.Errorf("the first image is %+v, and the bundle names %s", e, digest)
	}
}

// Two registries with logins of their own do not see each other's, and neither
// does a host that one of them redirects to.
func TestLoginsStayApart(t *testing.T) {
	r := newReleases(t)
	var told []string
	elsewhere := http.NewServeMux()
	store, err := release.NewRegistry(t.Context(), release.Access{Wrap: func(h http.Handler) http.Handler { return elsewhere }})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	login := map[string]*release.Registry{}
	for _, user := range []string{"one", "two"} {
		var registry *release.Registry
		redirect := func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
				if request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/blobs/") {
					http.Redirect(w, request, "http://"+store.Addr()+"/"+user+request.URL.Path, http.StatusTemporaryRedirect)
					return
				}
				h.ServeHTTP(w, request)
			})
		}
		registry, err = r.service.Mirror(t.Context(), r.find("v0.24.2"), "", release.Access{User: user, Password: "secret of " + user, Wrap: redirect})
		if err != nil {
			t.Fatal(err)
		}
		defer registry.Close()
		elsewhere.Handle("/"+user+"/", http.StripPrefix("/"+user, registry.Handler))
		login[user] = registry
	}
	config := filepath.Join(t.TempDir(), "config.json")
	auths := map[string]string{}
	for user, registry := range login {
		auths[user] = base64.StdEncoding.EncodeToString([]byte(user + ":secret of " + user))
		told = append(told, `"`+registry.Addr()+`": {"auth": "`+auths[user]+`"}`)
	}
	if err := os.WriteFile(config, []byte(`{"auths": {`+strings.Join(told, ",")+`}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", filepath.Dir(config))
	args := []string{"embed", "--initramfs", r.in, "-o", filepath.Join(r.dir, "out")}
	for user, image := range map[string]string{"one": "cexec", "two": "kexec"} {
		ref := r.service.References(r.find("v0.24.2"))[map[string]int{"cexec": 0, "kexec": 2}[image]]
		args = append(args, "--image", release.MirrorName(ref, login[user].Addr(), "")+"=127.0.0.1/embedded/"+image)
	}
	r.run(0, args...)
	for user, registry := range login {
		if seen := registry.Authorizations(); !slices.Equal(seen, []string{"Basic " + auths[user]}) {
			t.Errorf("%s got %q", user, seen)
		}
	}
	if seen := store.Authorizations(); len(seen) > 0 {
		t.Errorf("the host redirected to got %q", seen)
	}
}
