package corpus

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/bundles"
	"hookbuild/internal/tarball"
	"hookbuild/test/corpus/expect"
	"hookbuild/test/testneed"
)

func start(t *testing.T, dir string, o Options) *Registry {
	t.Helper()
	r, err := Start(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// TestImagesAreWhatTheySay pulls every image for every architecture and
// derives all its digests anew.
func TestImagesAreWhatTheySay(t *testing.T) {
	r := start(t, t.TempDir(), Options{})
	for _, n := range Names() {
		ref, err := name.ParseReference(r.Reference(n, Actions))
		if err != nil {
			t.Fatal(err)
		}
		for _, arch := range []string{"amd64", "arm64"} {
			img, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
			if err != nil {
				t.Fatal(err)
			}
			config, err := img.ConfigFile()
			if err != nil || config.Architecture != arch {
				t.Errorf("%s: %v, %v; want %s", n, config, err, arch)
			}
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range layers {
				if got := diffID(t, l); got != config.RootFS.DiffIDs[i] {
					t.Errorf("%s: layer %d holds %s, not %s", n, i, got, config.RootFS.DiffIDs[i])
				}
			}
		}
	}
}

// diffID reads a layer as the product does.
func diffID(t *testing.T, l v1.Layer) v1.Hash {
	t.Helper()
	blob, err := l.Compressed() // checks the digest
	if err != nil {
		t.Fatal(err)
	}
	content, err := tarball.Decompress(blob)
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := v1.SHA256(content)
	if err := errors.Join(err, content.Close(), blob.Close()); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestIndexesHoldAttestations looks at an index as BuildKit pushes it.
func TestIndexesHoldAttestations(t *testing.T) {
	r := start(t, t.TempDir(), Options{})
	index, err := r.index("writefile")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/amd64", "unknown/unknown", "linux/arm64", "unknown/unknown"}, platforms); diff != "" {
		t.Error(diff)
	}
}

// TestDigestsDependOnInputsAlone builds twice in different places.
func TestDigestsDependOnInputsAlone(t *testing.T) {
	one, two := start(t, t.TempDir(), Options{}), start(t, t.TempDir(), Options{})
	other := start(t, t.TempDir(), Options{GzipOnly: true})
	differ := false
	for _, n := range Names() {
		if one.Digest(n) != two.Digest(n) {
			t.Errorf("%s: %s and %s", n, one.Digest(n), two.Digest(n))
		}
		differ = differ || one.Digest(n) != other.Digest(n)
	}
	if !differ {
		t.Error("GzipOnly changes nothing")
	}
}

func TestSecondStartFindsTheLayers(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir, Options{})
	again := start(t, dir, Options{Arches: []string{"amd64", "arm64"}})
	if first.Digest(Worker) != again.Digest(Worker) {
		t.Error("other layers were found")
	}
}

func TestSharedLayersAndMediaTypes(t *testing.T) {
	r := start(t, t.TempDir(), Options{})
	users, mediaTypes := map[v1.Hash]int{}, map[string]int{}
	for _, n := range Names() {
		img, err := r.Image(n, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range manifest.Layers {
			users[l.Digest]++
			mediaTypes[string(l.MediaType)]++
		}
	}
	shared := 0
	for _, n := range users {
		if n > 1 {
			shared++
		}
	}
	if shared < 5 || len(mediaTypes) != 4 {
		t.Errorf("%d shared layers, media types %v", shared, mediaTypes)
	}
}

// TestBundles reads the manifests as the product does.
func TestBundles(t *testing.T) {
	r := start(t, t.TempDir(), Options{})
	for _, l := range layouts() {
		var text bytes.Buffer
		if err := r.Bundle(&text, l); err != nil {
			t.Fatal(err)
		}
		b, err := bundles.Parse(text.Bytes(), string(l))
		if err != nil {
			t.Fatalf("%v\n%s", err, &text)
		}
		options := bundles.Options{}
		if l == Agent {
			options.WorkerImage = r.Reference(Worker, l)
		}
		images, err := b.Images(options)
		if err != nil {
			t.Fatal(err)
		}
		if len(images) != len(Names()) {
			t.Errorf("%s: %d images", l, len(images))
		}
		for i, img := range images {
			digest := r.Digest(img.Name).String()
			if img.Key == "--worker-image" {
				digest = ""
			}
			if img.Name != Names()[i] || img.Digest != digest || len(img.EmbedNames) == 1 != (l != Hub) {
				t.Errorf("%s: %+v", l, img)
			}
			ref, err := name.ParseReference(img.Reference())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := remote.Head(ref); err != nil {
				t.Errorf("%s: %v", l, err)
			}
		}
	}
}

// TestDockerSeesWhatIsDescribed runs every image in a real dockerd, whose
// reading of layers judges ours.
func TestDockerSeesWhatIsDescribed(t *testing.T) {
	testneed.Docker(t)
	docker := testneed.Tool(t, "docker")
	dir := t.TempDir()
	r := start(t, dir, Options{Arches: []string{runtime.GOARCH}, Checker: BuildChecker(dir), GzipOnly: true})
	for _, n := range []string{"cexec", "writefile", Worker} {
		out, err := runInDocker(t.Context(), docker, r.Reference(n, Actions), checkProgram, "-times", "seconds")
		if err != nil || !strings.HasPrefix(out, expect.Well(n, runtime.GOARCH)) {
			t.Errorf("%v\n%s", err, out)
		}
	}
	t.Run("the check can fail", func(t *testing.T) {
		out, err := runInDocker(t.Context(), docker, r.Reference("writefile", Actions), checkProgram, "-times", "wrong")
		if err == nil {
			t.Errorf("it went well: %s", out)
		}
	})
}

// runInDocker runs an image with another entrypoint and removes it after.
func runInDocker(ctx context.Context, docker, image, entrypoint string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, docker, append([]string{"run", "--rm", "--network", "none", "--entrypoint", entrypoint, image}, args...)...).Output()
	_, removed := exec.CommandContext(ctx, docker, "rmi", image).Output()
	return string(out), errors.Join(err, removed)
}
