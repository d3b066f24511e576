package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

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
	p.run(0, "sbom", out)
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

func TestVerifyComparesTheSBOM(t *testing.T) {
	p := newListed(t)
	p.run(0, "verify", filepath.Join(p.out, "hook"))
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

func TestNewBuildTakesTheSBOMAway(t *testing.T) {
	p := newListed(t)
	p.run(0, "embed", "--base", filepath.Join(p.out, "hook"), "--out", p.out, "--layout", "directory", "--image", p.site.Host+"/tools:1=127.0.0.1/embedded/more")
	if _, err := os.Stat(p.sbom()); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
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
		}, "does not list what refers to an image; the tag sha256-", 2},
		{"no artifact types", refusal(`"config":{"mediaType":"application/vnd.oci.empty`), "", 2},
		{"no subjects", refusal(`"subject"`), "refuses manifests with a subject", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShelf(t, c.wrap)
			got := s.run(0, "push", p.out, s.host+"/hookos:v1")
			if !strings.Contains(got.stderr, c.said) {
				t.Error(got.stderr)
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
