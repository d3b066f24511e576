package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/build/artifact"
	"hookbuild/build/sbom"
	"hookbuild/internal/digest"
	"hookbuild/test/lab/site"
)

// newListed returns a small HookOS with an embedded image that has a package
// database, and its SBOM.
func newListed(t *testing.T) proof {
	t.Helper()
	p := newSmallProof(t)
	site.Push(t, p.site.Host+"/tools:1", map[string]string{
		"bin/tool": "tool", "lib/apk/db/installed": "P:musl\nV:1.2.5-r1\nA:x86_64\n\nP:mdadm\nV:4.3-r2\nA:x86_64\n",
	})
	out := t.TempDir()
	p.run(0, "embed", "--base", filepath.Join(p.out, "hook"), "--out", out, "--layout", "directory", "--image", p.site.Host+"/tools:1=127.0.0.1/embedded/tools")
	p.out = out
	return p
}

func (p proof) sbom() string { return filepath.Join(p.out, "hook", artifact.SBOMFile) }

func TestSBOMListsWhatIsThere(t *testing.T) {
	p := newListed(t)
	d, err := sbom.Read(p.sbom())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mdadm 4.3-r2", "linux 6.6.1", "vmlinuz-x86_64 ", "initramfs-x86_64 "} {
		if !slices.ContainsFunc(d.Packages, func(f sbom.Package) bool { return f.Name+" "+f.Version == want }) {
			t.Errorf("it does not list %q: %+v", want, d.Packages)
		}
	}
	tools := slices.IndexFunc(d.Packages, func(f sbom.Package) bool { return strings.HasPrefix(f.Name, "127.0.0.1/embedded/tools:latest") })
	mdadm := slices.IndexFunc(d.Packages, func(f sbom.Package) bool { return f.Name == "mdadm" })
	if tools < 0 || !slices.Contains(d.Relationships, sbom.Relationship{From: d.Packages[tools].ID, Type: "CONTAINS", To: d.Packages[mdadm].ID}) {
		t.Errorf("the package is not in the image: %+v", d.Relationships)
	}
	linux := d.Packages[slices.IndexFunc(d.Packages, func(f sbom.Package) bool { return f.Name == "linux" })]
	if want := digest.OfBytes([]byte("CONFIG_RD_ZSTD=y\nCONFIG_OVERLAY_FS=y\n")); !strings.Contains(linux.Comment, want) {
		t.Errorf("the kernel is %+v, want its configuration %s", linux, want)
	}
	var s sbom.Statement
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(p.out, "hook", artifact.ProvenanceFile))), &s); err != nil {
		t.Fatal(err)
	}
	named := func(r sbom.Resource) bool { return strings.HasSuffix(r.Name, "/tools:1") && r.Digest["sha256"] != "" }
	if len(s.Subject) != 2 || s.Type != "https://in-toto.io/Statement/v1" || !slices.ContainsFunc(s.Predicate.Definition.Dependencies, named) {
		t.Errorf("the provenance is %+v", s)
	}
	first := readFile(t, p.sbom())
	p.run(0, "sbom", p.out)
	if readFile(t, p.sbom()) != first {
		t.Error("the second SBOM is another")
	}
}

// Sbom names every file that it writes or removes, and the directory as it was given.
func TestSBOMNamesWhatItWrites(t *testing.T) {
	p := newListed(t)
	t.Chdir(p.out)
	long := time.Unix(1_000_000_000, 0)
	files := func(do func(path string, info os.FileInfo)) {
		entries, err := os.ReadDir("hook")
		for _, e := range entries {
			info, infoErr := e.Info()
			err = errors.Join(err, infoErr)
			do(filepath.Join("hook", e.Name()), info)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for given, shown := range map[string]string{".": "hook", "hook": "hook", "./hook/": "hook", filepath.Join(p.out, "hook"): filepath.Join(p.out, "hook")} {
		site.WriteFile(t, "hook/checksums.txt.sig", "a signature")
		files(func(path string, _ os.FileInfo) {
			if err := os.Chtimes(path, long, long); err != nil {
				t.Fatal(err)
			}
		})
		got := p.run(0, "sbom", given, "--progress", "plain")
		says(t, got.stderr, "read the initramfs "+filepath.Join(shown, "initramfs-x86_64")+":", "removed checksums.txt.sig")
		var written []string
		files(func(path string, info os.FileInfo) {
			if !info.ModTime().Equal(long) {
				written = append(written, filepath.Join(shown, filepath.Base(path)))
				says(t, got.stderr, filepath.Base(path))
			}
		})
		named := strings.Fields(got.stdout)
		slices.Sort(named)
		if !slices.Equal(named, written) {
			t.Errorf("sbom %s prints %v and writes %v", given, named, written)
		}
	}
	t.Chdir("hook")
	p.run(0, "sbom", ".")
}

func TestVerifyComparesTheSBOM(t *testing.T) {
	p := newListed(t)
	if got := p.run(0, "verify", filepath.Join(p.out, "hook")); strings.Count(got.stderr, "read the initramfs") != 1 {
		t.Errorf("the initramfs is not read once:\n%s", got.stderr)
	}
	for _, c := range []struct{ file, old, new, said string }{
		{artifact.SBOMFile, "4.3-r2", "4.3-r3", "mdadm 4.3-r3"},
		{artifact.SBOMFile, "4.3-r2", "4.3-r3", "it lacks"},
		{artifact.SBOMFile, "SPDX-2.3", "SPDX-9", "not SPDX-2.3"},
		{artifact.ProvenanceFile, "tools:1", "tools:2", "does not say what manifest.json says"},
	} {
		dir := p.spoiled(t, func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, c.file), func(text []byte) []byte { return []byte(strings.ReplaceAll(string(text), c.old, c.new)) })
			sum := func(d string) string { return sha512Of(readFile(t, filepath.Join(d, c.file))) }
			change(t, filepath.Join(dir, artifact.ChecksumsFile), func(text []byte) []byte {
				return []byte(strings.ReplaceAll(string(text), sum(filepath.Join(p.out, "hook")), sum(dir)))
			})
		})
		got := p.run(3, "verify", dir)
		if !strings.Contains(got.stdout, "problem: "+c.file) || !strings.Contains(got.stdout, c.said) {
			t.Errorf("%+v: %s", c, got.stdout)
		}
	}
}

// TestEmbedWritesTheSBOM compares what embed writes about its result with what sbom
// reads, and requires that nothing old is left where it writes nothing.
func TestEmbedWritesTheSBOM(t *testing.T) {
	p := newListed(t)
	embed := func(name string, more ...string) {
		p.run(0, append([]string{"embed", "--base", filepath.Join(p.out, "hook"), "--out", p.out, "--layout", "directory", "--image", p.site.Host + "/tools:1=" + name}, more...)...)
	}
	before := readFile(t, p.sbom())
	embed("127.0.0.1/embedded/more")
	made, provenance := readFile(t, p.sbom()), readFile(t, filepath.Join(p.out, "hook", artifact.ProvenanceFile))
	if made == before || !strings.Contains(made, "127.0.0.1/embedded/more") || strings.Contains(made, "127.0.0.1/embedded/tools") {
		t.Errorf("the SBOM is\n%s", made)
	}
	p.run(0, "verify", "--sbom", p.out)
	p.run(0, "sbom", p.out)
	if readFile(t, p.sbom()) != made || readFile(t, filepath.Join(p.out, "hook", artifact.ProvenanceFile)) != provenance {
		t.Error("`hookbuild sbom` reads something else")
	}
	embed("127.0.0.1/embedded/tools", "--no-sbom")
	for _, name := range []string{artifact.SBOMFile, artifact.ProvenanceFile} {
		if _, err := os.Stat(filepath.Join(p.out, "hook", name)); !os.IsNotExist(err) {
			t.Errorf("the old %s is still there: %v", name, err)
		}
	}
	p.run(0, "verify", p.out)
}

func TestPushAttachesTheSBOM(t *testing.T) {
	p := newListed(t)
	for _, c := range []struct {
		name string
		wrap func(http.Handler) http.Handler
		said string
		left int
	}{
		{"referrers", nil, "", 2},
		{"no referrers", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/referrers/") {
					http.NotFound(w, r)
					return
				}
				h.ServeHTTP(w, r)
			})
		}, "has no referrers API; the SBOM and provenance are listed under the tag sha256-", 2},
		{"no artifact types", refusal(`"config":{"mediaType":"application/vnd.oci.empty`), "", 2},
		{"no subjects", refusal(`"subject"`), "refuses manifests with a subject", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShelf(t, c.wrap)
			got := s.run(0, "push", p.out, s.host+"/hookos:v1")
			if !strings.Contains(got.stderr, c.said) {
				t.Error(got.stderr)
			}
			pulled := filepath.Join(t.TempDir(), "pulled")
			s.run(0, "pull", s.host+"/hookos:v1", pulled)
			_, err := os.Stat(filepath.Join(pulled, artifact.ProvenanceFile))
			if c.left > 0 {
				s.run(0, "verify", "--sbom", pulled)
			} else if !os.IsNotExist(err) {
				t.Errorf("pulled provenance that was not attached: %v", err)
			}
			ref, err := name.NewDigest(strings.TrimSpace(got.stdout))
			if err != nil {
				t.Fatal(err)
			}
			index, err := remote.Referrers(ref)
			if err != nil {
				t.Fatal(err)
			}
			list, err := index.IndexManifest()
			if err != nil || len(list.Manifests) != c.left {
				t.Fatalf("%+v, %v", list, err)
			}
			for _, d := range list.Manifests {
				image, err := remote.Image(ref.Context().Digest(d.Digest.String()))
				if err != nil {
					t.Fatal(err)
				}
				m, err := image.Manifest()
				if err != nil {
					t.Fatal(err)
				}
				kind := cmp.Or(m.ArtifactType, string(m.Config.MediaType)) // the registry lists the latter
				if kind != "application/spdx+json" && kind != "application/vnd.in-toto+json" || m.Subject.Digest.String() != ref.DigestStr() {
					t.Errorf("%+v", m)
				}
			}
		})
	}
	t.Run("of another build", func(t *testing.T) {
		s := newShelf(t, nil)
		dir := p.spoiled(t, func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, artifact.SBOMFile), func(text []byte) []byte {
				return []byte(strings.Replace(string(text), `"SHA512",
          "checksumValue": "`, `"SHA512",
          "checksumValue": "0`, 1))
			})
		})
		if got := s.run(3, "push", dir, s.host+"/hookos:v1"); !strings.Contains(got.stderr, "is about other files") {
			t.Error(got.stderr)
		}
	})
}

// TestAllWritesTheSBOM compares what all writes with what sbom reads.
func TestAllWritesTheSBOM(t *testing.T) {
	p, args := smallBuild(t)
	p.run(0, args...)
	first := readFile(t, p.sbom())
	p.run(0, "verify", "--sbom", p.out)
	p.run(0, args...) // from the cache
	if readFile(t, p.sbom()) != first {
		t.Error("the SBOM from the cache is another")
	}
	p.run(0, "sbom", p.out)
	if readFile(t, p.sbom()) != first {
		t.Error("`hookbuild sbom` reads something else")
	}
	p.run(0, append(args, "--no-sbom")...)
	if got := p.run(3, "verify", "--sbom", p.out); !strings.Contains(got.stdout, "problem: sbom.spdx.json: it is not there; write it with `hookbuild sbom "+filepath.Join(p.out, "hook")+"`") {
		t.Error(got.stdout)
	}
	p.run(0, "verify", p.out)
	hook := filepath.Join(p.out, "hook")
	p.run(2, "verify", "--sbom", filepath.Join(hook, "vmlinuz-x86_64"), filepath.Join(hook, "initramfs-x86_64"))
}

// TestBuildBesideADamagedOne keeps what is there, and writes no SBOM.
func TestBuildBesideADamagedOne(t *testing.T) {
	p, args := smallBuild(t)
	p.run(0, args...)
	p.publishAgain("other-aarch64", "aarch64")
	site.WriteFile(t, filepath.Join(p.out, "hook", "initramfs-other-aarch64"), "damaged")
	got := p.run(0, args...)
	if !strings.Contains(got.stderr, "warning: no SBOM is written: listing what is in other-aarch64") {
		t.Error(got.stderr)
	}
	if _, err := os.Stat(p.sbom()); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// publishAgain publishes the files of the HookOS again as those of another build.
func (p proof) publishAgain(id, arch string) {
	p.t.Helper()
	stage, err := artifact.NewStage(p.out, artifact.DefaultName)
	if err != nil {
		p.t.Fatal(err)
	}
	defer stage.Discard() // published
	for _, kind := range []string{"vmlinuz-", "initramfs-"} {
		text := readFile(p.t, filepath.Join(p.out, "hook", kind+"x86_64"))
		if err := stage.Write(kind+id, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			p.t.Fatal(err)
		}
	}
	all, err := stage.Artifacts(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := stage.Publish(p.t.Context(), "hook_"+id+".tar.gz", artifact.Build{ID: id, Arch: arch, Hookbuild: "other", Artifacts: all}, nil); err != nil {
		p.t.Fatal(err)
	}
}

// TestSBOMOfOneArchitecture pushes and pulls a part of a HookOS, which has the same
// SBOM as one that was built alone.
func TestSBOMOfOneArchitecture(t *testing.T) {
	p, args := smallBuild(t)
	p.run(0, args...)
	alone := contents(t, filepath.Join(p.out, "hook"))
	p.publishAgain("other-aarch64", "aarch64")
	p.run(0, "sbom", p.out)
	s := newShelf(t, nil)
	s.run(0, "push", p.out, s.host+"/both:v1")
	s.run(0, "push", p.out, s.host+"/one:v1", "--arch", "amd64")
	for _, pull := range [][]string{{s.host + "/both:v1", "--arch", "amd64"}, {s.host + "/one:v1"}} {
		dir := filepath.Join(t.TempDir(), "pulled")
		s.run(0, append([]string{"pull", pull[0], dir}, pull[1:]...)...)
		for _, name := range []string{artifact.SBOMFile, artifact.ProvenanceFile} {
			if got := readFile(t, filepath.Join(dir, name)); got != alone[name] {
				t.Errorf("%v: %s is\n%s\nnot\n%s", pull, name, got, alone[name])
			}
		}
		s.run(0, "verify", "--sbom", dir)
	}
}

// TestPullLeavesOutForeignPapers attaches an SBOM of something else.
func TestPullLeavesOutForeignPapers(t *testing.T) {
	p, args := smallBuild(t)
	p.run(0, append(args, "--no-sbom")...)
	s := newShelf(t, nil)
	pushed := strings.TrimSpace(s.run(0, "push", p.out, s.host+"/hookos:v1").stdout)
	ref, err := name.NewDigest(pushed)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := remote.Head(ref)
	if err != nil {
		t.Fatal(err)
	}
	for kind, text := range map[types.MediaType]string{
		"application/spdx+json": `{"spdxVersion": "SPDX-2.3", "packages": []}`, "application/vnd.in-toto+json": "{}", "application/x-mine": "mine",
	} {
		image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, kind), types.OCIManifestSchema1)
		image, err := mutate.AppendLayers(image, static.NewLayer([]byte(text), kind))
		if err != nil {
			t.Fatal(err)
		}
		attached, ok := mutate.Subject(image, *subject).(v1.Image)
		if !ok {
			t.Fatal("it is not an image")
		}
		digest, err := attached.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref.Context().Digest(digest.String()), attached); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "pulled")
	got := s.run(0, "pull", pushed, dir)
	if strings.Count(got.stderr, "is attached and is not about these files; it is not used") != 2 || !strings.Contains(got.stderr, "no SBOM is attached") {
		t.Error(got.stderr)
	}
	if got := slices.Sorted(maps.Keys(contents(t, dir))); !slices.Equal(got, []string{"checksums.txt", "initramfs-x86_64", "manifest.json", "vmlinuz-x86_64"}) {
		t.Errorf("pulled %v", got)
	}
}
