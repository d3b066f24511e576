package oci

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/internal/cache"
	"hookbuild/test/testneed"
)

// benchRegistry holds an image of two layers, each a tar archive of a real
// directory. It returns the image's reference and unpacked size.
func benchRegistry(b *testing.B) (src string, size int64) {
	b.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	b.Cleanup(server.Close)
	src = strings.TrimPrefix(server.URL, "http://") + "/image:v1"
	var layers []layer
	for _, dir := range []string{"/usr/bin", "/usr/share"} {
		out, err := exec.Command(testneed.Tool(b, "tar"), "-cf", "-", "-C", dir, ".").Output()
		if err != nil {
			b.Fatal(err)
		}
		const most = 150 << 20
		data := out[:min(len(out), most)]
		layers, size = append(layers, gzipLayer(b, data)), size+int64(len(data))
	}
	ref, err := name.ParseReference(src)
	if err != nil {
		b.Fatal(err)
	}
	if err := remote.Write(ref, imageOf(b, amd64, layers...)); err != nil {
		b.Fatal(err)
	}
	return src, size
}

// BenchmarkFetch pulls, verifies and unpacks an image. BenchmarkSkopeo has
// skopeo pull and verify the same image, without unpacking it.
func BenchmarkFetch(b *testing.B) {
	src, size := benchRegistry(b)
	b.SetBytes(size)
	for b.Loop() {
		c, err := cache.Open(b.TempDir(), nil)
		if err != nil {
			b.Fatal(err)
		}
		m, err := NewClient(Options{Cache: c, Keychain: authn.NewMultiKeychain()}).Image(context.Background(), src, amd64)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Fetch(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFetchFromCache is the second time: every layer is read and verified.
func BenchmarkFetchFromCache(b *testing.B) {
	src, size := benchRegistry(b)
	b.SetBytes(size)
	dir := b.TempDir()
	for b.Loop() {
		c, err := cache.Open(dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		m, err := NewClient(Options{Cache: c, Keychain: authn.NewMultiKeychain()}).Image(context.Background(), src, amd64)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Fetch(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSkopeo(b *testing.B) {
	src, size := benchRegistry(b)
	b.SetBytes(size)
	skopeo := testneed.Tool(b, "skopeo")
	for b.Loop() {
		to := "oci:" + b.TempDir() + "/layout:v1"
		if out, err := exec.Command(skopeo, "copy", "--insecure-policy", "--src-tls-verify=false", "docker://"+src, to).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
}
