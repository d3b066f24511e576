package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/test/lab/site"
)

// TestCancelledWorkIsNoError checks that work which another failure cancels is not
// reported as failed.
func TestCancelledWorkIsNoError(t *testing.T) {
	var run atomic.Pointer[transfers]
	s := site.New(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if now := run.Load(); now != nil && r.Method == http.MethodGet && now.isLayer(r.URL.Path) {
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
	in := filepath.Join(t.TempDir(), "in")
	baseInitramfs(t, in, initramfs.Zstd)
	for _, show := range [][]string{{"--progress", "json"}, {"--progress", "plain", "--debug"}} {
		run.Store(&transfers{stalled: make(chan struct{}), configs: map[string]bool{}})
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

// transfers are the blobs that one run asks for.
type transfers struct {
	stall   sync.Once
	stalled chan struct{} // closed when the slow layer is asked for
	mu      sync.Mutex
	configs map[string]bool // whether the repository's configuration was asked for
}

// isLayer reports whether a path is that of a layer. Each repository's first blob is
// the configuration.
func (f *transfers) isLayer(path string) bool {
	repository, _, isBlob := strings.Cut(path, "/blobs/")
	if !isBlob {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if seen := f.configs[repository]; seen {
		return true
	}
	f.configs[repository] = true
	return false
}
