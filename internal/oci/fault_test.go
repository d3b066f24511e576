package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"hookbuild/internal/fault"
)

// dockerConfig makes text Docker's configuration for the test.
func dockerConfig(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", dir)
}

// onBlob applies f to the requests for the blob with the content.
func onBlob(content []byte, f func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	suffix := "/blobs/" + hashOf(content).String()
	return func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, suffix) && f(w, r)
	}
}

func TestAnswersThatAreNoContent(t *testing.T) {
	for status, words := range map[int][]string{
		http.StatusUnauthorized:        {"401 Unauthorized", "docker login"},
		http.StatusForbidden:           {"403 Forbidden", "docker login"},
		http.StatusNotFound:            {"404 Not Found", "check the name and the tag"},
		http.StatusTooManyRequests:     {"429 Too Many Requests", "wait"},
		http.StatusInternalServerError: {"500 Internal Server Error", "later"},
		http.StatusBadGateway:          {"502 Bad Gateway", "--mirror"},
	} {
		for _, at := range []string{"/v2/", "/manifests/", "/blobs/"} {
			if at == "/v2/" && status == http.StatusUnauthorized {
				continue // a registry asks for a login this way; see TestBasicAuth
			}
			t.Run(fmt.Sprintf("%d at %s", status, at), func(t *testing.T) {
				l := newLab(t)
				src := l.push("image:v1", imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1"))))
				l.setTrouble(func(w http.ResponseWriter, r *http.Request) bool {
					hit := r.URL.Path == at || at != "/v2/" && strings.Contains(r.URL.Path, at)
					if hit {
						http.Error(w, "<html>"+strings.Repeat("no ", 10000), status)
					}
					return hit
				})
				err := l.fetch(src)
				mentions(t, err, append(words, src, l.host)...)
				if fault.KindOf(err) != fault.Outside || len(err.Error()) > 500 {
					t.Errorf("kind %d, %d characters: %v", fault.KindOf(err), len(err.Error()), err)
				}
				if left := l.kept("layers"); len(left) > 0 {
					t.Errorf("left in the cache: %q", left)
				}
			})
		}
	}
}

func TestPassingTroubleIsTriedAgain(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"500":              func(w http.ResponseWriter) { w.WriteHeader(500) },
		"503, retry after": func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(503) },
		"429":              func(w http.ResponseWriter) { w.WriteHeader(429) },
		"hang-up":          func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			src := l.push("image:v1", imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1"))))
			seen := map[string]int{}
			l.setTrouble(func(w http.ResponseWriter, r *http.Request) bool {
				l.mu.Lock()
				seen[r.Method+r.URL.Path]++
				n := seen[r.Method+r.URL.Path]
				l.mu.Unlock()
				if n <= 2 {
					answer(w)
				}
				return n <= 2
			})
			if err := l.fetch(src); err != nil {
				t.Error(err)
			}
		})
	}
}

// cutAfter sends the first n bytes from the requested start and hangs up.
func cutAfter(content []byte, n int, ranges bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		at := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at); err == nil && ranges {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(content)-1, len(content)))
			w.Header().Set("Content-Length", fmt.Sprint(len(content)-at))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			at = 0
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		}
		rest := content[at:]
		if _, err := w.Write(rest[:min(n, len(rest))]); err != nil || n < len(rest) {
			panic(http.ErrAbortHandler)
		}
		return true
	}
}

func TestBrokenTransferGoesOn(t *testing.T) {
	for name, ranges := range map[string]bool{"where it was": true, "from the start, without ranges": false} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			content := gzipLayer(t, tarOf(t, "a="+noise(5<<20)))
			src := l.push("image:v1", imageOf(t, amd64, content))
			step := 3 << 19
			var n atomic.Int32
			l.setTrouble(onBlob(content.blob, func(w http.ResponseWriter, r *http.Request) bool {
				much := step
				if !ranges {
					much = step * int(n.Add(1))
				}
				return cutAfter(content.blob, much, ranges)(w, r)
			}))
			m := l.image(src, amd64)
			if got := body(t, m.Layers[0]); !bytes.Equal(got, content.tar) {
				t.Errorf("got %d bytes of %d", len(got), len(content.tar))
			}
			if l.count("GET", hashOf(content.blob).String()) != 4 {
				t.Errorf("%q", l.asked)
			}
		})
	}
}

func TestTransferThatAlwaysBreaks(t *testing.T) {
	l := newLab(t)
	content := gzipLayer(t, tarOf(t, "a="+noise(1<<20)))
	src := l.push("image:v1", imageOf(t, amd64, content))
	l.setTrouble(onBlob(content.blob, cutAfter(content.blob, 10000, true)))
	err := l.fetch(src)
	mentions(t, err, src, "layer 1", l.host, "broke 15 times")
	if fault.KindOf(err) != fault.Outside {
		t.Errorf("kind %d", fault.KindOf(err))
	}
	if left := l.kept("layers"); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}

func TestTransferThatStandsStill(t *testing.T) {
	l := newLab(t)
	content := gzipLayer(t, tarOf(t, "a="+noise(1<<20)))
	src := l.push("image:v1", imageOf(t, amd64, content))
	m := l.image(src, amd64)
	var n atomic.Int32
	l.setTrouble(onBlob(content.blob, func(w http.ResponseWriter, r *http.Request) bool {
		if n.Add(1) > 1 {
			return cutAfter(content.blob, len(content.blob), true)(w, r)
		}
		if _, err := w.Write(content.blob[:1000]); err != nil {
			t.Error(err)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
		return true
	}))
	if got := body(t, m.Layers[0]); !bytes.Equal(got, content.tar) {
		t.Errorf("got %d bytes of %d", len(got), len(content.tar))
	}
}

func TestContentThatIsNotWhatItsDigestSays(t *testing.T) {
	content := gzipLayer(t, tarOf(t, "a="+noise(100000)))
	changed := bytes.Clone(content.blob)
	changed[len(changed)/2]++
	for name, tc := range map[string]struct {
		sent []byte
		want string
	}{
		"changed":        {changed, "has the digest"},
		"another layer":  {gzipLayer(t, tarOf(t, "b="+noise(100000))).blob, "has the digest"},
		"longer":         {append(bytes.Clone(content.blob), "more"...), "the manifest says"},
		"no compression": {content.tar[:len(content.blob)], "has the digest"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			src := l.push("image:v1", imageOf(t, amd64, content))
			l.setTrouble(onBlob(content.blob, cutAfter(tc.sent, len(tc.sent), false)))
			err := l.fetch(src)
			mentions(t, err, src, "layer 1", tc.want, hashOf(content.blob).String())
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %d", fault.KindOf(err))
			}
			if left := l.kept("layers"); len(left) > 0 {
				t.Errorf("left in the cache: %q", left)
			}
			l.setTrouble(nil)
			if err := l.fetch(src); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestManifestOrConfigurationThatIsNotWhatItsDigestSays(t *testing.T) {
	for _, what := range []string{"/manifests/sha256", "/blobs/"} {
		t.Run(what, func(t *testing.T) {
			l := newLab(t)
			image := imageOf(t, amd64)
			l.push("image:v1", image)
			src := l.host + "/image@" + digestOf(t, image).String()
			l.setTrouble(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, what) {
					return false
				}
				_, err := w.Write([]byte(`{"schemaVersion":2}`))
				return err == nil
			})
			err := l.fetch(src)
			mentions(t, err, src)
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %d: %v", fault.KindOf(err), err)
			}
			if left := append(l.kept("configs"), l.kept("manifests")...); len(left) > 1 {
				t.Errorf("left in the cache: %q", left)
			}
		})
	}
}

func TestLayerThatUnpacksToSomethingElse(t *testing.T) {
	l := newLab(t)
	honest := gzipLayer(t, tarOf(t, "a=1"))
	src := l.push("image:v1", imageOf(t, amd64, layer{tarOf(t, "b=2"), honest.blob, honest.mediaType}))
	err := l.fetch(src)
	mentions(t, err, src, "layer 1", hashOf(honest.tar).String(), hashOf(tarOf(t, "b=2")).String())
	if fault.KindOf(err) != fault.Invalid || len(l.kept("layers")) > 0 {
		t.Errorf("kind %d, left %q", fault.KindOf(err), l.kept("layers"))
	}
}

func TestCancelledFetchLeavesNothing(t *testing.T) {
	l := newLab(t)
	content := gzipLayer(t, tarOf(t, "a="+noise(1<<20)))
	m := l.image(l.push("image:v1", imageOf(t, amd64, content)), amd64)
	ctx, cancel := context.WithCancel(context.Background())
	l.setTrouble(onBlob(content.blob, func(w http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	}))
	if err := m.Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := l.kept("layers"); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}

func TestHostsThatCannotBeReached(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	l := newLab(t)
	for host, words := range map[string][]string{
		strings.TrimPrefix(closed.URL, "http://"):     {"connection refused", "check the network"},
		strings.TrimPrefix(untrusted.URL, "https://"): {"certificate", "--insecure-registry"},
		"registry.invalid":                            {"check the name and the network"},
	} {
		err := l.fetch(host + "/image:v1")
		mentions(t, err, append(words, host)...)
		if fault.KindOf(err) != fault.Outside {
			t.Errorf("%s: kind %d", host, fault.KindOf(err))
		}
	}
}
