package main

import (
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/build/artifact"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// shelf is a registry, and a HookOS to push there.
type shelf struct {
	t    *testing.T
	host string
	out  string
}

// newShelf starts a registry behind wrap, and writes a HookOS of two builds, one of
// which has links, for two architectures.
func newShelf(t *testing.T, wrap func(http.Handler) http.Handler) shelf {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	s := shelf{t, strings.TrimPrefix(server.URL, "http://"), t.TempDir()}
	s.publish("latest-lts-x86_64", "x86_64", true)
	s.publish("aarch64", "aarch64", false)
	return s
}

func (s shelf) publish(id, arch string, linked bool) {
	s.t.Helper()
	stage, err := artifact.NewStage(s.out, "hook")
	if err != nil {
		s.t.Fatal(err)
	}
	defer stage.Discard() // published
	for _, kind := range []string{"vmlinuz-", "initramfs-"} {
		err := stage.Write(kind+id, func(w io.Writer) error { _, err := fmt.Fprintf(w, "%s of %s\n", kind, id); return err })
		if err == nil && linked {
			err = stage.Link(kind+arch, kind+id)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	all, err := stage.Artifacts(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := stage.Publish(s.t.Context(), "hook_"+id+".tar.gz", artifact.Build{ID: id, Arch: arch, Hookbuild: "test", Artifacts: all}, nil); err != nil {
		s.t.Fatal(err)
	}
}

func (s shelf) run(want int, args ...string) outcome {
	s.t.Helper()
	got := runAt(s.t.Context(), &site.Site{Host: s.host}, append(args, "--cache-dir", s.t.TempDir(), "--progress", "plain")...)
	if got.code != want {
		s.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, got.code, want, got.stdout, got.stderr)
	}
	return got
}

// contents maps the names of a directory's files to what they have.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		all[e.Name()] = readFile(t, filepath.Join(dir, e.Name()))
	}
	return all
}

func sameFile(t *testing.T, one, other string) bool {
	t.Helper()
	a, err := os.Stat(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(other)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(a, b)
}

func TestPushAndPull(t *testing.T) {
	s := newShelf(t, nil)
	ref := s.host + "/hookos:v1"
	first := s.run(0, "push", s.out, ref).stdout
	if !regexp.MustCompile(`^` + regexp.QuoteMeta(s.host) + `/hookos@sha256:[0-9a-f]{64}\n$`).MatchString(first) {
		t.Fatalf("push printed %q", first)
	}
	dir := filepath.Join(t.TempDir(), "pulled")
	s.run(0, "pull", strings.TrimSpace(first), dir)
	want, got := contents(t, filepath.Join(s.out, "hook")), contents(t, dir)
	for _, name := range []string{artifact.ManifestFile, artifact.ChecksumsFile} { // without the tarballs
		delete(want, name)
		delete(got, name)
	}
	if !maps.Equal(want, got) || len(got) != 6 {
		t.Errorf("got %v, want %v", got, want)
	}
	if !sameFile(t, filepath.Join(dir, "vmlinuz-x86_64"), filepath.Join(dir, "vmlinuz-latest-lts-x86_64")) {
		t.Error("the link is another file")
	}
	if again := s.run(0, "push", dir, s.host+"/copy:v1").stdout; again[strings.Index(again, "@"):] != first[strings.Index(first, "@"):] {
		t.Errorf("pushed again: %s, want the digest of %s", again, first)
	}
	sums := s.run(3, "verify", dir, "--json").stdout // its kernels are texts
	for name := range got {
		if strings.Contains(sums, name+`","problem":"it has`) {
			t.Errorf("verify does not find %s as listed:\n%s", name, sums)
		}
	}
}

func TestPulledImageIsAnImage(t *testing.T) {
	s := newShelf(t, nil)
	s.run(0, "push", s.out, s.host+"/hookos:v1")
	ref, err := name.ParseReference(s.host + "/hookos:v1")
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if list.ArtifactType != "application/vnd.hookbuild.hookos.v1" || len(list.Manifests) != 2 {
		t.Errorf("the index is %+v", list)
	}
	for _, d := range list.Manifests {
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil || config.Architecture != d.Platform.Architecture || config.OS != "linux" {
			t.Errorf("the configuration of %s is %+v, %v", d.Platform, config, err)
		}
		layers, err := image.Layers()
		if err != nil || len(layers) != 3 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		for i, l := range layers {
			if id, err := l.DiffID(); err != nil || id != config.RootFS.DiffIDs[i] {
				t.Errorf("layer %d is %s, %v; the configuration says %s", i, id, err, config.RootFS.DiffIDs[i])
			}
		}
	}
}

func TestPullTakesOneArchitecture(t *testing.T) {
	s := newShelf(t, nil)
	s.run(0, "push", s.out, s.host+"/hookos:v1")
	dir := t.TempDir()
	if got := s.run(0, "pull", s.host+"/hookos:v1", dir, "--arch", "arm64"); strings.Contains(got.stderr, "replaced") || !strings.Contains(got.stderr, "pulled sha256:") {
		t.Error(got.stderr)
	}
	want := []string{"checksums.txt", "initramfs-aarch64", "manifest.json", "vmlinuz-aarch64"}
	if got := slices.Sorted(maps.Keys(contents(t, dir))); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	// What was pulled takes the place of another HookOS; the user's file stays.
	site.WriteFile(t, filepath.Join(dir, "notes.txt"), "mine")
	if got := s.run(0, "pull", s.host+"/hookos:v1", dir, "--arch", "amd64"); !strings.Contains(got.stderr, "replaced the HookOS in "+dir) {
		t.Error(got.stderr)
	}
	want = []string{
		"checksums.txt", "initramfs-latest-lts-x86_64", "initramfs-x86_64", "manifest.json", "notes.txt", "vmlinuz-latest-lts-x86_64", "vmlinuz-x86_64",
	}
	if got := slices.Sorted(maps.Keys(contents(t, dir))); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestPushRefusesWhatIsNotListed(t *testing.T) {
	s := newShelf(t, nil)
	site.WriteFile(t, filepath.Join(s.out, "hook", "initramfs-aarch64"), "initramfs- of aarch6X\n")
	got := s.run(3, "push", s.out, s.host+"/hookos:v1")
	if !strings.Contains(got.stderr, "initramfs-aarch64 is not the file that manifest.json lists") {
		t.Error(got.stderr)
	}
	s.run(4, "pull", s.host+"/hookos:v1", t.TempDir())
	for ref, say := range map[string]string{
		s.host + "/HookOS:v1": "with the NAME in lower case",
		"127.0.0.1:1/x:v1":    "check the name, the network and HTTPS_PROXY",
	} {
		got := runAt(t.Context(), site.New(t, nil), "push", "--arch", "amd64", s.out, ref)
		if got.code == 0 || !strings.Contains(got.stderr, say) {
			t.Errorf("%s: exit code %d\n%s", ref, got.code, got.stderr)
		}
	}
}

// TestPushComparesLinksThatAreCopies pushes a copy that has two files where the HookOS
// has hard links: equal files are pushed as links, and a different or missing one is
// refused, although the pushed bytes are those of its twin.
func TestPushComparesLinksThatAreCopies(t *testing.T) {
	s := newShelf(t, nil)
	want := s.run(0, "push", s.out, s.host+"/hookos:v1").stdout
	dir, alias := t.TempDir(), "initramfs-x86_64"
	for name, content := range contents(t, filepath.Join(s.out, "hook")) {
		site.WriteFile(t, filepath.Join(dir, name), content)
	}
	if got := s.run(0, "push", dir, s.host+"/hookos:v1").stdout; got != want {
		t.Errorf("the copy is %s, want %s", got, want)
	}
	site.WriteFile(t, filepath.Join(dir, alias), strings.ToUpper(readFile(t, filepath.Join(dir, alias))))
	if got := s.run(3, "push", dir, s.host+"/bad:v1"); !strings.Contains(got.stderr, alias+" is not the file that manifest.json lists") {
		t.Error(got.stderr)
	}
	if err := os.Remove(filepath.Join(dir, alias)); err != nil {
		t.Fatal(err)
	}
	if got := s.run(3, "push", dir, s.host+"/bad:v1"); !strings.Contains(got.stderr, alias+": no such file or directory; build it again") {
		t.Error(got.stderr)
	}
	s.run(4, "pull", s.host+"/bad:v1", t.TempDir())
}

// damaged answers with other bytes for the blobs of that size.
type damaged struct {
	http.Handler
	find, replace string
}

func (d *damaged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
		d.Handler.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	d.Handler.ServeHTTP(rec, r)
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = io.WriteString(w, strings.ReplaceAll(rec.Body.String(), d.find, d.replace))
}

func TestPullRefusesDamagedBlob(t *testing.T) {
	s := newShelf(t, func(h http.Handler) http.Handler {
		return &damaged{h, "initramfs- of aarch64", "initramfs- of aarch6X"}
	})
	s.run(0, "push", s.out, s.host+"/hookos:v1")
	dir := filepath.Join(t.TempDir(), "pulled")
	got := s.run(3, "pull", s.host+"/hookos:v1", dir)
	if !strings.Contains(got.stderr, "initramfs-aarch64 has") {
		t.Error(got.stderr)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
}

// refusal refuses manifests that have a text.
func refusal(texts ...string) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
				raw, err := io.ReadAll(r.Body)
				if err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				for _, text := range texts {
					if strings.Contains(string(raw), text) {
						w.WriteHeader(http.StatusBadRequest)
						_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_INVALID","message":"this registry knows no such manifest"}]}`)
						return
					}
				}
				r.Body = io.NopCloser(strings.NewReader(string(raw)))
			}
			h.ServeHTTP(w, r)
		})
	}
}

func TestPushToARegistryThatRefuses(t *testing.T) {
	t.Run("artifact types", func(t *testing.T) {
		s := newShelf(t, refusal(`"artifactType":"application/vnd.hookbuild.hookos`))
		got := s.run(0, "push", s.out, s.host+"/hookos:v1")
		if !strings.Contains(got.stderr, "refuses manifests with an artifact type") || !strings.Contains(got.stderr, "knows no such manifest") {
			t.Error(got.stderr)
		}
		s.run(0, "pull", s.host+"/hookos:v1", t.TempDir())
	})
	t.Run("indexes", func(t *testing.T) {
		s := newShelf(t, refusal(`"artifactType":"application/vnd.hookbuild.hookos`, `"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size"`))
		got := s.run(0, "push", s.out, s.host+"/hookos:v1")
		if !strings.Contains(got.stderr, "refuses an index") || strings.Count(got.stdout, "\n") != 2 || !strings.Contains(got.stdout, "hookos:v1-arm64@sha256:") {
			t.Error(got.stdout, got.stderr)
		}
		dir := t.TempDir()
		s.run(0, "pull", s.host+"/hookos:v1-arm64", dir)
		if _, err := os.Stat(filepath.Join(dir, "vmlinuz-aarch64")); err != nil {
			t.Error(err)
		}
	})
}

func TestPushAndPullUsage(t *testing.T) {
	s := newShelf(t, nil)
	full := t.TempDir()
	site.WriteFile(t, filepath.Join(full, "thesis.txt"), "mine")
	ref := s.host + "/hookos:v1"
	site.Push(t, s.host+"/other:1", map[string]string{"bin/x": "x"})
	for _, c := range []struct {
		code int
		said string
		args []string
	}{
		{2, "push takes a reference", []string{"push"}},
		{2, `"hookos:v1" has no registry; write registry.example/hookos:v1, or docker.io/USER/hookos:v1 for Docker Hub`, []string{"push", s.out, "hookos:v1"}},
		{2, `"me/hookos:v1" has no registry; write registry.example/me/hookos:v1, or docker.io/me/hookos:v1 for`, []string{"push", s.out, "me/hookos:v1"}},
		{2, `pull: "hookos:v1" has no registry; write registry.example/hookos:v1, or docker.io/USER/hookos:v1 for Docker Hub`, []string{"pull", "hookos:v1", t.TempDir()}},
		{2, `"me/hookos:v1" has no registry`, []string{"serve", "me/hookos:v1"}},
		{2, `--hookos: "me/hookos" has no registry`, []string{"matrix", "--skip-published", "--hookos", "me/hookos"}},
		{2, `shared cache: "me/cache" has no registry`, []string{"all", "--cache-to", "me/cache"}},
		{2, `shared cache: "cache" has no registry; write registry.example/cache, or docker.io/USER/cache for`, []string{"all", "--cache-from", "cache"}},
		{2, `"hookos" has no registry`, []string{"push", s.out, "hookos", "--by-lock"}},
		{3, "there is no manifest.json", []string{"push", full, "docker.io/me/hookos:v1"}},
		{3, "there is no manifest.json", []string{"push", full, "localhost/hookos:v1"}},
		{2, "not KEY=VALUE", []string{"push", s.out, ref, "--annotation", "x"}},
		{2, "name a tag, not a digest", []string{"push", s.out, s.host + "/hookos@sha256:" + strings.Repeat("0", 64)}},
		{2, "leave out --offline", []string{"push", s.out, ref, "--offline"}},
		{3, "there is no manifest.json", []string{"push", full, ref}},
		{2, "pull takes a reference", []string{"pull"}},
		{2, "it has files and no HookOS", []string{"pull", ref, full}},
		{2, "not a directory", []string{"pull", ref, filepath.Join(full, "thesis.txt")}},
		{4, "hookos:none", []string{"pull", s.host + "/hookos:none", t.TempDir()}},
		{3, "not a HookOS", []string{"pull", s.host + "/other:1", t.TempDir()}},
	} {
		if got := s.run(c.code, c.args...); !strings.Contains(got.stderr, c.said) {
			t.Errorf("%v: %s", c.args, got.stderr)
		}
	}
}

// TestPushedHookOSIsAnImage makes a container of a pushed HookOS with a real Docker
// Engine, which is how containers get its files.
func TestPushedHookOSIsAnImage(t *testing.T) {
	testneed.Docker(t)
	tool := testneed.Tool(t, "docker")
	s := newShelf(t, nil)
	ref := s.host + "/hookos:v1"
	s.run(0, "push", s.out, ref)
	docker := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(tool, args...).CombinedOutput() // also at the end of the test
		if err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	docker("pull", "--quiet", "--platform", "linux/amd64", ref)
	t.Cleanup(func() { docker("rmi", ref) })
	container := docker("create", "--platform", "linux/amd64", ref, "nothing")
	t.Cleanup(func() { docker("rm", container) })
	dir := t.TempDir()
	for name, text := range contents(t, filepath.Join(s.out, "hook")) {
		if !strings.HasSuffix(name, "x86_64") {
			continue
		}
		docker("cp", container+":/"+name, dir)
		if got := readFile(t, filepath.Join(dir, name)); got != text {
			t.Errorf("%s is %q, want %q", name, got, text)
		}
	}
}
