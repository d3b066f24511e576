package oci

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/test/testneed"
)

// twoPlatforms pushes an index for amd64 and arm64, and returns its reference.
func twoPlatforms(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	index := v1.ImageIndex(empty.Index)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(1000, 2)
		if err == nil {
			img, err = forPlatform(img, arch)
		}
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	ref := strings.TrimPrefix(server.URL, "http://") + "/x:1"
	parsed, err := name.ParseReference(ref)
	if err == nil {
		err = remote.WriteIndex(parsed, index)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func forPlatform(img v1.Image, arch string) (v1.Image, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	return mutate.ConfigFile(img, config)
}

func unpack(t *testing.T, tree *initramfs.Tree) string {
	t.Helper()
	dir := t.TempDir()
	for e := range tree.All() {
		path := filepath.Join(dir, e.Path)
		if e.Type == initramfs.Dir {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func layoutClient(t *testing.T) *Client {
	t.Helper()
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(Options{Cache: c})
}

func TestLayoutIsWhole(t *testing.T) {
	ref := twoPlatforms(t)
	index, err := layoutClient(t).Layout(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := unpack(t, index.Tree)
	written, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := written.ImageIndex(index.Digest)
	if err == nil {
		err = validate.Index(inner)
	}
	if err != nil {
		t.Error(err)
	}
	skopeo := testneed.Tool(t, "skopeo")
	for _, arch := range []string{"amd64", "arm64"} {
		text, err := exec.Command(skopeo, "--override-arch", arch, "inspect", "oci:"+dir+":"+ref).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, text)
		}
	}
}

func TestLayoutOfOnePlatform(t *testing.T) {
	ref := twoPlatforms(t)
	client := layoutClient(t)
	index, err := client.Layout(t.Context(), ref, []string{"linux/arm64"})
	if err != nil {
		t.Fatal(err)
	}
	dir := unpack(t, index.Tree)
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs/sha256"))
	if err != nil || len(blobs) != 5 { // index, manifest, configuration, two layers
		t.Errorf("%d blobs, %v", len(blobs), err)
	}
	for _, platforms := range [][]string{{"linux/riscv64"}, {"a/b/c/d"}} {
		if _, err := client.Layout(t.Context(), ref, platforms); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v", platforms, err)
		}
	}
	if _, err := client.Layout(t.Context(), ref+"x", nil); fault.KindOf(err) != fault.Outside {
		t.Errorf("got %v", err)
	}
}

// A layout is planned with a context that ends before its files are read.
func TestLayoutOutlivesItsContext(t *testing.T) {
	for _, fetched := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		index, err := layoutClient(t).Layout(ctx, twoPlatforms(t), nil)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if fetched {
			if err := index.Fetch(t.Context()); err != nil {
				t.Error(err)
			}
			if err := index.Fetch(ctx); err == nil {
				t.Error("fetching went on after its context ended")
			}
		}
		unpack(t, index.Tree)
	}
}
