package main

import (
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/crane"

	"hookbuild/internal/initramfs"
	"hookbuild/test/lab/site"
)

// TestCancelledWorkIsNoError checks that work which another failure cancels is not
// reported as failed.
func TestCancelledWorkIsNoError(t *testing.T) {
	var run atomic.Pointer[transfers]
	s := site.New(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if now := run.Load(); now != nil && r.Method == http.MethodGet && now.layers[path.Base(r.URL.Path)] {
				switch {
				case strings.Contains(r.URL.Path, "/slow/"):
					now.stall.Do(func() { close(now.stalled) })
					<-r.Context().Done()
					return
				case strings.Contains(r.URL.Path, "/gone/"):
					select {
					case <-now.stalled:
					case <-r.Context().Done():
					}
					w.WriteHeader(http.StatusNotFound)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	site.Push(t, s.Host+"/slow/one:v1", map[string]string{"bin/slow": "slow"})
	site.Push(t, s.Host+"/gone/one:v1", map[string]string{"bin/gone": "gone"})
	layers := layersOf(t, s.Host+"/slow/one:v1", s.Host+"/gone/one:v1")
	in := filepath.Join(t.TempDir(), "in")
	baseInitramfs(t, in, initramfs.Zstd)
	for _, show := range [][]string{{"--progress", "json"}, {"--progress", "plain", "--debug"}} {
		run.Store(&transfers{layers: layers, stalled: make(chan struct{})})
		args := []string{
			"embed", "--initramfs", in, "-o", in + ".out", "--cache-dir", t.TempDir(), "--jobs", "8",
			"--image", s.Host + "/slow/one:v1=127.0.0.1/embedded/slow", "--image", s.Host + "/gone/one:v1=127.0.0.1/embedded/gone",
		}
		got := runAt(t.Context(), s, append(args, show...)...)
		if got.code != 4 || !strings.Contains(got.stderr, "/gone/") || !strings.Contains(got.stderr, "cancelled") {
			t.Errorf("exit code %d\n%s", got.code, got.stderr)
		}
		if strings.Contains(got.stderr, "context canceled") {
			t.Errorf("cancelled work is shown as failed:\n%s", got.stderr)
		}
	}
}

// transfers are what one run asks for.
type transfers struct {
	layers  map[string]bool // the digests of all images' layers
	stall   sync.Once
	stalled chan struct{} // closed when the slow layer is asked for
}

// layersOf returns the digests of the images' layers.
func layersOf(t *testing.T, refs ...string) map[string]bool {
	t.Helper()
	digests := map[string]bool{}
	for _, ref := range refs {
		image, err := crane.Pull(ref)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range layers {
			digest, err := layer.Digest()
			if err != nil {
				t.Fatal(err)
			}
			digests[digest.String()] = true
		}
	}
	return digests
}
