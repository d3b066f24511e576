package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/test/testneed"
)

// body reads a layer's tar archive.
func body(t *testing.T, l *Layer) []byte {
	t.Helper()
	f, err := l.Tar(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestImageFromARegistry(t *testing.T) {
	l := newLab(t)
	layers := []layer{
		gzipLayer(t, tarOf(t, "etc/", "etc/a=one")), zstdLayer(t, tarOf(t, "etc/b=two")), plainLayer(tarOf(t, "etc/c=three")),
		plainLayer(tarOf(t)), // empty
	}
	layers = append(layers, layers[0]) // repeated
	pushed := imageOf(t, amd64, layers...)
	src := l.push("ns/image:v1", pushed)

	m := l.image(src, amd64)
	if m.Digest != digestOf(t, pushed) || m.IndexDigest != m.Digest {
		t.Errorf("digests %s and %s, pushed %s", m.Digest, m.IndexDigest, digestOf(t, pushed))
	}
	if id, err := pushed.ConfigName(); err != nil || m.ID != id || hashOf(m.RawConfig) != id {
		t.Errorf("image ID %s, pushed %s, %v", m.ID, id, err)
	}
	if m.Source != src || m.Reference.Name() != src || m.Config.Architecture != "amd64" || len(m.Layers) != len(layers) {
		t.Errorf("got %+v", m)
	}
	if l.count("/blobs/") != 1 {
		t.Error("layers were fetched before they were asked for")
	}
	if err := m.Fetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, want := range layers {
		got := m.Layers[i]
		if !bytes.Equal(body(t, got), want.tar) {
			t.Errorf("layer %d differs", i+1)
		}
		if got.DiffID != hashOf(want.tar) || got.Digest != hashOf(want.blob) || got.Size != int64(len(want.blob)) || got.MediaType != want.mediaType {
			t.Errorf("layer %d: got %+v", i+1, got)
		}
	}
	if n := l.count("GET", "/blobs/"); n != 1+4 {
		t.Errorf("%d blobs were fetched, and the image has 5 with its configuration", n)
	}
}

// What has a digest and is in the cache takes no request; a tag takes one.
func TestSecondTimeComesFromTheCache(t *testing.T) {
	l := newLab(t)
	image := imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1")))
	src := l.push("image:v1", image)
	if err := l.fetch(src); err != nil {
		t.Fatal(err)
	}
	l.client = l.clientWith()
	l.setTrouble(nil)
	if err := l.fetch(l.host + "/image@" + digestOf(t, image).String()); err != nil {
		t.Fatal(err)
	}
	if n := l.count(""); n != 0 {
		t.Errorf("by digest: %d requests", n)
	}
	if err := l.fetch(src); err != nil {
		t.Fatal(err)
	}
	if l.count("HEAD", "/manifests/v1") != 1 || l.count("GET", "image") != 0 {
		t.Errorf("by tag: %q", l.asked)
	}
}

func TestATagIsAskedForAnew(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, plainLayer(tarOf(t, "old=1"))))
	before := l.image(src, amd64)
	l.push("image:v1", imageOf(t, amd64, plainLayer(tarOf(t, "new=1"))))
	if after := l.image(src, amd64); after.Digest == before.Digest {
		t.Error("the tag's old image came from the cache")
	}
}

func TestARegistryWithoutHEAD(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, plainLayer(tarOf(t, "a=1"))))
	l.setTrouble(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
		return r.Method == http.MethodHead
	})
	if err := l.fetch(src); err != nil {
		t.Error(err)
	}
}

func TestReferenceWithTagAndDigest(t *testing.T) {
	l := newLab(t)
	first := imageOf(t, amd64, plainLayer(tarOf(t, "first=1")))
	src := l.push("image:v1", first)
	l.push("image:v1", imageOf(t, amd64, plainLayer(tarOf(t, "second=1"))))
	m := l.image(src+"@"+digestOf(t, first).String(), amd64)
	if m.Digest != digestOf(t, first) {
		t.Errorf("got %s: the digest must count, not the tag", m.Digest)
	}
}

func TestPlatformOutOfAnIndex(t *testing.T) {
	l := newLab(t)
	forAMD := imageOf(t, amd64, plainLayer(tarOf(t, "amd=1")))
	forARM := imageOf(t, arm64, plainLayer(tarOf(t, "arm=1")))
	index := indexOf(t, map[string]v1.Image{"linux/amd64": forAMD, "linux/arm64/v8": forARM})
	src := l.push("image:v1", index)
	for _, tc := range []struct {
		p    v1.Platform
		want v1.Image
	}{{amd64, forAMD}, {arm64, forARM}, {v1.Platform{Architecture: "arm64"}, forARM}} {
		m := l.image(src, tc.p)
		if m.Digest != digestOf(t, tc.want) || m.IndexDigest != digestOf(t, index) {
			t.Errorf("%s: got %s of index %s", tc.p, m.Digest, m.IndexDigest)
		}
	}
	_, err := l.client.Image(context.Background(), src, v1.Platform{OS: "linux", Architecture: "riscv64"})
	mentions(t, err, src, "linux/riscv64", "linux/amd64, linux/arm64/v8")
	if strings.Contains(fmt.Sprint(err), "unknown") || fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestImageForTheWrongArchitecture(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, plainLayer(tarOf(t, "a=1"))))
	_, err := l.client.Image(context.Background(), src, arm64)
	mentions(t, err, src, "linux/amd64", "linux/arm64", "--arch")
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("kind %d", fault.KindOf(err))
	}
}

func TestForeignLayersAreRefusedWithAReason(t *testing.T) {
	for _, media := range []types.MediaType{types.DockerForeignLayer, types.OCIRestrictedLayer, "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"} {
		data := tarOf(t, "a=1")
		err := checkLayer(v1.Descriptor{MediaType: media, Digest: hashOf(data), Size: int64(len(data))})
		mentions(t, err, "foreign", "licence", string(media))
	}
	mentions(t, checkLayer(v1.Descriptor{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"}), "encrypted")
}

// manifests that are something else, served unchanged.
func TestManifestsThatAreNoImage(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want string
	}{
		"schema 1":     {`{"schemaVersion":1,"name":"x","fsLayers":[{"blobSum":"sha256:` + strings.Repeat("0", 64) + `"}]}`, "schema 1"},
		"artifact":     {`{"schemaVersion":2,"artifactType":"application/vnd.cncf.helm","config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:` + strings.Repeat("0", 64) + `","size":2},"layers":[]}`, "application/vnd.cncf.helm"},
		"both at once": {`{"schemaVersion":2,"manifests":[],"layers":[]}`, "at once"},
		"no JSON":      {`404 page not found`, "is not a manifest"},
		"empty index":  {`{"schemaVersion":2,"manifests":[]}`, "no platform at all"},
		"far too long": {`{"x":"` + strings.Repeat("x", mostManifest) + `"}`, "longer than"},
		"wrong digest": {`{"schemaVersion":2,"config":{"digest":"sha256:123"}}`, "123"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.setTrouble(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				_, err := io.WriteString(w, tc.text)
				return err == nil
			})
			_, err := l.client.Image(context.Background(), l.host+"/image:v1", amd64)
			mentions(t, err, l.host+"/image:v1", tc.want)
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %d: %v", fault.KindOf(err), err)
			}
		})
	}
}

func TestIndexesInOneAnother(t *testing.T) {
	l := newLab(t)
	image := imageOf(t, amd64, plainLayer(tarOf(t, "a=1")))
	index := indexOf(t, map[string]v1.Image{"linux/amd64": image})
	for depth := range 4 {
		src := l.push("image:v1", index)
		m, err := l.client.Image(context.Background(), src, amd64)
		if depth < 2 && (err != nil || m.Digest != digestOf(t, image)) {
			t.Errorf("depth %d: %v", depth, err)
		}
		if depth >= 2 {
			mentions(t, err, src, "deep")
		}
		index = mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{Platform: &amd64}})
	}
}

func TestTags(t *testing.T) {
	l := newLab(t)
	for _, tag := range []string{"v2", "v10", "v1"} {
		l.push("ns/kernel:"+tag, imageOf(t, amd64))
	}
	want := []string{"v1", "v10", "v2"}
	got, err := l.client.Tags(context.Background(), l.host+"/ns/kernel")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	offline := l.clientWith(func(o *Options) { o.Offline = true })
	if got, err = offline.Tags(context.Background(), l.host+"/ns/kernel"); err != nil || !slices.Equal(got, want) {
		t.Errorf("offline: %q, %v", got, err)
	}
	_, err = offline.Tags(context.Background(), l.host+"/ns/other")
	mentions(t, err, "ns/other", "--offline")
	_, err = l.client.Tags(context.Background(), l.host+"/ns/other")
	mentions(t, err, "ns/other", "404", "check the name")
}

// TestTagsOnPages follows the pages, up to a limit.
func TestTagsOnPages(t *testing.T) {
	for name, tc := range map[string]struct {
		link  func(page int) string
		words []string
		pages int
	}{
		"three pages": {func(page int) string {
			if page == 3 {
				return ""
			}
			return fmt.Sprintf(`</v2/ns/kernel/tags/list?page=%d>; rel="next"`, page+1)
		}, nil, 3},
		"without end":  {func(page int) string { return fmt.Sprintf(`<?page=%d>; rel="next"`, page+1) }, []string{"more than 1000 pages"}, mostPages},
		"another host": {func(int) string { return `<http://other.example/x>; rel="next"` }, []string{"another host", "other.example"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			page := 0
			l.setTrouble(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/tags/list") {
					return false
				}
				page++
				w.Header().Set("Link", tc.link(page))
				fmt.Fprintf(w, `{"tags":["v%d"]}`, page)
				return true
			})
			tags, err := l.client.Tags(context.Background(), l.host+"/ns/kernel")
			if page != tc.pages {
				t.Errorf("%d pages were asked for", page)
			}
			if len(tc.words) > 0 {
				mentions(t, err, append(tc.words, "ns/kernel")...)
			} else if err != nil || len(tags) != tc.pages {
				t.Errorf("got %q, %v", tags, err)
			}
		})
	}
}

// TestManifestIsWhatHEADSaid uses a registry whose answers about a tag differ.
func TestManifestIsWhatHEADSaid(t *testing.T) {
	l := newLab(t)
	first, second := imageOf(t, amd64, plainLayer(tarOf(t, "a=1"))), imageOf(t, amd64, plainLayer(tarOf(t, "b=2")))
	l.push("image:old", first)
	src := l.push("image:v1", second)
	said := digestOf(t, first)
	heads := 0
	l.setTrouble(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodHead {
			return false
		}
		heads++
		w.Header().Set("Docker-Content-Digest", said.String())
		return true
	})
	err := l.fetch(src)
	mentions(t, err, src, said.String(), digestOf(t, second).String())
	if fault.KindOf(err) != fault.Invalid || heads < 3 {
		t.Errorf("asked %d times, kind %d", heads, fault.KindOf(err))
	}
	said = digestOf(t, second)
	if err := l.fetch(src); err != nil {
		t.Error(err)
	}
}

func TestOffline(t *testing.T) {
	l := newLab(t)
	index := indexOf(t, map[string]v1.Image{"linux/amd64": imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1")))})
	src := l.push("image:v1", index)
	l.push("other:v1", imageOf(t, amd64, gzipLayer(t, tarOf(t, "b=1"))))
	if err := l.fetch(src); err != nil {
		t.Fatal(err)
	}
	l.image(l.host+"/other:v1", amd64) // known, but its layers are not
	l.client = l.clientWith(func(o *Options) { o.Offline = true })
	l.setTrouble(nil)

	for _, ref := range []string{src, l.host + "/image@" + digestOf(t, index).String()} {
		if err := l.fetch(ref); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, ref := range []string{l.host + "/image:v2", l.host + "/image@sha256:" + strings.Repeat("0", 64), l.host + "/other:v1"} {
		err := l.fetch(ref)
		mentions(t, err, ref, "--offline")
		if fault.KindOf(err) != fault.Outside {
			t.Errorf("%s: kind %d", ref, fault.KindOf(err))
		}
	}
	if n := l.count(""); n != 0 {
		t.Errorf("offline, %d requests: %q", n, l.asked)
	}
}

func TestLayerTasksAreReported(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, gzipLayer(t, tarOf(t, "a="+noise(100000)))))
	if err := l.fetch(src); err != nil {
		t.Fatal(err)
	}
	done := l.events.of(progress.Finished)
	if len(done) != 1 || done[0].Done != done[0].Total || done[0].Total < 100000 || !strings.Contains(done[0].Task, src) {
		t.Errorf("got %+v", done)
	}
}

func TestUnsafeLayerNamesImageLayerAndPath(t *testing.T) {
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, plainLayer(tarOf(t, "ok=1")), plainLayer(tarOf(t, "../../etc/shadow=x"))))
	_, err := l.image(src, amd64).Tree(context.Background())
	mentions(t, err, src, "layer 2", "../../etc/shadow")
	if !errors.Is(err, initramfs.ErrUnsafePath) || fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}

// What a layer has that Linux or Docker passes over is in a warning.
func TestAdjustedLayersAreReported(t *testing.T) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, h := range []*tar.Header{
		{Name: "wide", Uid: 1<<32 + 5}, {Name: "wider", Gid: 1<<33 + 6},
		{Name: "device", Typeflag: tar.TypeChar, Devmajor: 1 << 12},
	} {
		h.Format = tar.FormatGNU
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	adjusted := gzipLayer(t, packed.Bytes())
	adjusted.blob = append(adjusted.blob, "garbage"...)
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, gzipLayer(t, tarOf(t, "fine=1")), adjusted))
	if _, err := l.image(src, amd64).Tree(context.Background()); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range l.events.of(progress.Warning) {
		said = append(said, strings.TrimPrefix(e.Text, "image "+src+", layer 2: "))
	}
	slices.Sort(said)
	want := []string{
		`1 file: device numbers beyond Linux's 12 and 20 bits, first "device"; Linux keeps the lower bits, as it does under Docker`,
		`2 files: owner numbers beyond 32 bits, first "wide"; Linux keeps the lower bits, as it does under Docker`,
		"ignoring the data after its gzip stream, as Docker does",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
}

// A mostly empty disk image is larger than a layer may be, unless the limit is
// raised.
func TestLimitOfLayersIsRaised(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk.img")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 30<<30)); err != nil {
		t.Fatal(err)
	}
	packed, err := exec.Command(testneed.Tool(t, "tar"), "--sparse", "-cf", "-", "-C", dir, "disk.img").Output()
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	src := l.push("image:v1", imageOf(t, amd64, gzipLayer(t, packed)))
	for most, ok := range map[int64]bool{0: false, 20 << 30: false, 40 << 30: true} {
		l.renew(func(o *Options) { o.MostUnpacked = most })
		entries, err := l.image(src, amd64).Layers[0].Entries(context.Background())
		switch {
		case ok && (err != nil || len(entries) != 1 || entries[0].Size != 30<<30):
			t.Errorf("at most %d: %+v, %v", most, entries, err)
		case !ok && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "--max-layer")):
			t.Errorf("at most %d: %v", most, err)
		}
	}
}
