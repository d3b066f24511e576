package oci

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// imported gives an image as a registry has it after docker save, load and push:
// another manifest, and the layers compressed anew.
func imported(t *testing.T, image v1.Image) v1.Image {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	pushed := empty.Image
	for _, l := range layers {
		again, err := tarball.LayerFromOpener(l.Uncompressed, tarball.WithCompressionLevel(gzip.BestCompression))
		if err != nil {
			t.Fatal(err)
		}
		if pushed, err = mutate.AppendLayers(pushed, again); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return sameConfig{pushed, raw}
}

// sameConfig is an image with another configuration, byte for byte.
type sameConfig struct {
	v1.Image
	raw []byte
}

// RawConfigFile implements [v1.Image].
func (c sameConfig) RawConfigFile() ([]byte, error) { return c.raw, nil }

// ConfigFile implements [v1.Image].
func (c sameConfig) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(c) }

// ConfigName implements [v1.Image].
func (c sameConfig) ConfigName() (v1.Hash, error) { return partial.ConfigName(c) }

// Manifest implements [v1.Image].
func (c sameConfig) Manifest() (*v1.Manifest, error) {
	m, err := c.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	m.Config.Digest, m.Config.Size = hashOf(c.raw), int64(len(c.raw))
	return m, nil
}

// RawManifest implements [v1.Image].
func (c sameConfig) RawManifest() ([]byte, error) {
	m, err := c.Manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// Digest implements [v1.Image].
func (c sameConfig) Digest() (v1.Hash, error) { return partial.Digest(c) }

// Size implements [v1.Image].
func (c sameConfig) Size() (int64, error) { return partial.Size(c) }

// twoSites is an original with an index and a mirror that was filled by tag.
func twoSites(t *testing.T, atMirror func(v1.Image) v1.Image) (l *lab, mirror, source string) {
	t.Helper()
	l = newLab(t)
	image := imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1")), plainLayer(tarOf(t, "b=2")))
	index := l.push("ns/image:v1", indexOf(t, map[string]v1.Image{"linux/amd64": image, "linux/arm64": imageOf(t, arm64, gzipLayer(t, tarOf(t, "a=3")))}))
	mirror = second(t, nil)
	ref, err := name.ParseReference(mirror + "/ns/image:v1")
	if err != nil {
		t.Fatal(err)
	}
	if copied := atMirror(image); copied != nil {
		if err := remote.Write(ref, copied); err != nil {
			t.Fatal(err)
		}
	}
	at := l.image(index, amd64)
	if digest := at.IndexDigest; digest == at.Digest {
		t.Fatal("the original has no index")
	}
	return l, mirror, index + "@" + at.IndexDigest.String()
}

// told is the text of the notes and warnings.
func told(l *lab) string {
	var all strings.Builder
	for _, kind := range []progress.Kind{progress.Note, progress.Warning} {
		for _, event := range l.events.of(kind) {
			all.WriteString(event.Text + "\n")
		}
	}
	return all.String()
}

// withoutLayers makes the original give manifests and configurations only.
func withoutLayers(l *lab) {
	configs := map[string]bool{}
	l.setTrouble(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		configs[r.URL.Path] = true
		if len(configs) > 1 { // the first is the configuration
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
}

// The index proves the mirror's image, which then provides the layers.
func TestStandInIsProven(t *testing.T) {
	for name, copied := range map[string]struct {
		make func(v1.Image) v1.Image
		by   string
	}{
		"by its configuration": {func(m v1.Image) v1.Image { return imported(t, m) }, "configuration sha256:"},
		"by its layers": {func(m v1.Image) v1.Image {
			config, err := m.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			config = config.DeepCopy()
			config.Author = "a tool"
			changed, err := mutate.ConfigFile(imported(t, m), config)
			if err != nil {
				t.Fatal(err)
			}
			return changed
		}, "same layers"},
	} {
		t.Run(name, func(t *testing.T) {
			l, mirror, source := twoSites(t, copied.make)
			l.renew(mirrored(l.host, mirror))
			withoutLayers(l)
			m := l.image(source, amd64)
			if err := m.Fetch(context.Background()); err != nil {
				t.Fatal(err)
			}
			if string(body(t, m.Layers[1])) != string(tarOf(t, "b=2")) {
				t.Error("the layer differs")
			}
			if m.Asked != (v1.Hash{}) || !strings.HasSuffix(source, m.IndexDigest.String()) {
				t.Errorf("got %+v", m)
			}
			if text := told(l); strings.Count(text, "of the same image: it has the same "+strings.TrimPrefix(copied.by, "same ")) != 1 {
				t.Errorf("the notes are %s", text)
			}
		})
	}
}

// What is known not to be the image is not taken, and neither is what nothing
// proves; the flag takes either, with a warning.
func TestStandInIsRefused(t *testing.T) {
	other := func(v1.Image) v1.Image {
		return imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=other")), plainLayer(tarOf(t, "b=2")))
	}
	l, mirror, source := twoSites(t, other)
	l.renew(mirrored(l.host, mirror))
	withoutLayers(l)
	if err := l.fetch(source); err == nil || !strings.Contains(err.Error(), "its image of the tag v1 is another one") {
		t.Errorf("another image: %v", err)
	}
	l.renew(mirrored(l.host, mirror), func(o *Options) { o.MirrorByTag = true })
	withoutLayers(l)
	taken := l.image(source, amd64)
	if err := taken.Fetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	if taken.Asked.String() != source[strings.Index(source, "@")+1:] || taken.IndexDigest == taken.Asked {
		t.Errorf("got %+v", taken)
	}
	if text := told(l); !strings.Contains(text, "has no "+taken.Asked.String()) || !strings.Contains(text, taken.IndexDigest.String()+", is taken instead (--mirror-by-tag): its image of the tag v1 is another one") {
		t.Errorf("the warnings are %s", text)
	}
	// The cache knows it.
	l.client = l.clientWith(mirrored(l.host, mirror), func(o *Options) { o.MirrorByTag, o.Offline = true, true })
	if err := l.fetch(source); err != nil {
		t.Errorf("offline: %v", err)
	}
	// The original has the layers: they are taken, by tag or not.
	l.setTrouble(nil)
	l.renew(mirrored(l.host, mirror), func(o *Options) { o.MirrorByTag = true })
	if err := l.fetch(source); err != nil {
		t.Error(err)
	}

	dead := "127.0.0.1:1"
	source = strings.Replace(source, l.host, dead, 1)
	l.renew(mirrored(dead, mirror))
	_, digest, _ := strings.Cut(source, "@")
	err := l.fetch(source)
	for _, word := range []string{"404", "the mirror " + mirror + " has an image of the tag v1, sha256:", "which nothing proves to be " + digest, "skopeo copy --all", "--mirror-by-tag"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
	if fault.KindOf(err) != fault.Outside {
		t.Errorf("kind %d", fault.KindOf(err))
	}
	l.renew(mirrored(dead, mirror), func(o *Options) { o.MirrorByTag = true })
	m := l.image(source, amd64)
	if err := m.Fetch(context.Background()); err != nil {
		t.Fatal(err)
	}
	if m.Asked.String() != digest || m.IndexDigest == m.Asked {
		t.Errorf("got %+v", m)
	}
	if text := told(l); !strings.Contains(text, "has no "+digest) || !strings.Contains(text, m.IndexDigest.String()+", is taken instead") {
		t.Errorf("the warnings are %s", text)
	}
	// The cache knows it.
	l.client = l.clientWith(mirrored(dead, mirror), func(o *Options) { o.MirrorByTag, o.Offline = true, true })
	if err := l.fetch(source); err != nil {
		t.Errorf("offline: %v", err)
	}
}

// Once the manifests are in the cache, the mirror alone is enough.
func TestStandInWithoutTheOriginal(t *testing.T) {
	l, mirror, source := twoSites(t, func(m v1.Image) v1.Image { return imported(t, m) })
	l.image(source, amd64) // no layer is fetched
	l.setTrouble(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	l.client = l.clientWith(mirrored(l.host, mirror))
	if err := l.fetch(source); err != nil {
		t.Error(err)
	}
	if l.count("/blobs/") != 0 {
		t.Error("the original was asked")
	}
}

// A mirror without the tag says so.
func TestStandInThatIsNotThere(t *testing.T) {
	l, mirror, source := twoSites(t, func(v1.Image) v1.Image { return nil })
	source = strings.Replace(source, l.host, "127.0.0.1:1", 1)
	l.renew(mirrored("127.0.0.1:1", mirror))
	if err := l.fetch(source); err == nil || !strings.Contains(err.Error(), "the mirror has no image of the tag v1 either") {
		t.Error(err)
	}
}

func TestTagBesideDigest(t *testing.T) {
	for text, want := range map[string]string{
		"r.example:5000/a/b:v1@sha256:0": "v1", "r.example:5000/a/b@sha256:0": "", "a:v1": "", "a:v1@sha256:0": "v1",
	} {
		if got := tagBesideDigest(text); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}
