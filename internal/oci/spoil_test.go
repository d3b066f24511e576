package oci

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// spoilers are ways in which a bad line or proxy damages an answer.
var spoilers = map[string]func(http.ResponseWriter, *recorded){
	"500": func(w http.ResponseWriter, _ *recorded) { http.Error(w, "<html>oops", http.StatusInternalServerError) },
	"503": func(w http.ResponseWriter, _ *recorded) { w.WriteHeader(http.StatusServiceUnavailable) },
	"429": func(w http.ResponseWriter, _ *recorded) {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	},
	"reset": func(http.ResponseWriter, *recorded) { panic(http.ErrAbortHandler) },
	"truncated": func(w http.ResponseWriter, r *recorded) {
		r.send(w, r.Body.Bytes()[:r.Body.Len()/2], r.Body.Len())
		panic(http.ErrAbortHandler)
	},
	"corrupted": func(w http.ResponseWriter, r *recorded) {
		changed := bytes.Clone(r.Body.Bytes())
		if len(changed) > 0 {
			changed[len(changed)/2] ^= 0x55
		}
		r.send(w, changed, len(changed))
	},
	"short length": func(w http.ResponseWriter, r *recorded) {
		short := r.Body.Bytes()[:r.Body.Len()*2/3]
		r.send(w, short, len(short))
	},
	"wrong digest": func(w http.ResponseWriter, r *recorded) {
		if r.Header().Get("Docker-Content-Digest") != "" {
			r.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		}
		r.send(w, r.Body.Bytes(), r.Body.Len())
	},
	"slow drip": func(w http.ResponseWriter, r *recorded) {
		r.send(w, nil, r.Body.Len())
		for _, b := range r.Body.Bytes() {
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(2 * time.Millisecond)
		}
	},
}

// recorded is an answer that is not sent yet.
type recorded struct {
	*httptest.ResponseRecorder
	head bool
}

func (r *recorded) send(w http.ResponseWriter, body []byte, length int) {
	for key, values := range r.Header() {
		w.Header()[key] = values
	}
	if !r.head {
		w.Header().Set("Content-Length", strconv.Itoa(length))
	}
	w.WriteHeader(r.Code)
	if !r.head {
		_, _ = w.Write(body)
		_ = http.NewResponseController(w).Flush()
	}
}

// spoiling is a proxy in front of a registry that damages 30 % of all answers.
func spoiling(t *testing.T, host string, seed uint64, kinds ...string) string {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 1))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		again := r.Clone(r.Context())
		again.URL.Scheme, again.URL.Host, again.RequestURI = "http", host, ""
		answer, err := http.DefaultTransport.RoundTrip(again)
		if err != nil {
			return // the client has gone
		}
		defer answer.Body.Close()
		kept := &recorded{httptest.NewRecorder(), r.Method == http.MethodHead}
		for key, values := range answer.Header {
			kept.Header()[key] = values
		}
		kept.Code = answer.StatusCode
		if _, err := io.Copy(kept.Body, answer.Body); err != nil {
			return
		}
		mu.Lock()
		spoil, kind := dice.Float64() < 0.3, kinds[dice.IntN(len(kinds))]
		mu.Unlock()
		if spoil {
			spoilers[kind](w, kept)
			return
		}
		kept.send(w, kept.Body.Bytes(), kept.Body.Len())
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// TestSpoiltAnswers fetches seven images, twenty times for each way to damage
// answers, and requires the right content every time.
func TestSpoiltAnswers(t *testing.T) {
	const images, runs = 7, 20
	l := newLab(t)
	want := map[string][]byte{}
	var names []string
	for i := range images {
		first, second := tarOf(t, fmt.Sprintf("a=%d %s", i, noise(30000))), tarOf(t, fmt.Sprintf("b=%d", i))
		name := fmt.Sprintf("ns/image%d:v1", i)
		l.push(name, imageOf(t, amd64, gzipLayer(t, first), plainLayer(second)))
		names, want[name] = append(names, name), append(first, second...)
	}
	all := []string{"500", "503", "429", "reset", "truncated", "corrupted", "short length", "wrong digest", "slow drip"}
	ways := [][]string{all}
	for _, kind := range all {
		ways = append(ways, []string{kind})
	}
	for i, kinds := range ways {
		t.Run(strings.Join(kinds, " or "), func(t *testing.T) {
			t.Parallel()
			for run := range runs {
				proxy := spoiling(t, l.host, uint64(1000*i+run), kinds...)
				other := &lab{t: t, host: proxy, events: &events{}}
				other.renew(func(o *Options) {
					limits := quick()
					limits.Idle = 30 * time.Millisecond
					o.Web, o.Jobs = web.New(web.Options{Limits: limits}), 8
				})
				var g errgroup.Group
				for _, name := range names {
					g.Go(func() error { return other.compare(proxy+"/"+name, want[name]) })
				}
				if err := g.Wait(); err != nil {
					t.Fatalf("run %d: %v", run+1, err)
				}
			}
		})
	}
}

// compare returns an error if the image's layers differ from the bytes wanted.
func (l *lab) compare(src string, want []byte) error {
	m, err := l.client.Image(context.Background(), src, amd64)
	if err != nil {
		return err
	}
	var got []byte
	for _, layer := range m.Layers {
		f, err := layer.Tar(context.Background())
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		if err := closing(err, f); err != nil {
			return err
		}
		got = append(got, data...)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s: the bytes differ", src)
	}
	return nil
}

// TestRegistriesThatKeepUsWaiting uses registries that do not answer, or stall
// in a body, at every step.
func TestRegistriesThatKeepUsWaiting(t *testing.T) {
	for _, at := range []string{"/v2/", "/manifests/", "/blobs/"} {
		for name, trouble := range map[string]func(http.ResponseWriter, *http.Request){
			"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			"stalls": func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "300")
				_, _ = io.WriteString(w, "{")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			},
		} {
			if at == "/v2/" && name == "stalls" {
				continue // the body is not needed
			}
			t.Run(name+" at "+at, func(t *testing.T) {
				t.Parallel()
				l := newLab(t, func(o *Options) {
					limits := web.Limits{Header: 100 * time.Millisecond, Idle: 100 * time.Millisecond, Tries: 3, Pause: time.Millisecond}
					o.Web = web.New(web.Options{Limits: limits})
				})
				src := l.push("image:v1", imageOf(t, amd64, gzipLayer(t, tarOf(t, "a=1"))))
				l.setTrouble(func(w http.ResponseWriter, r *http.Request) bool {
					hit := r.URL.Path == at || at != "/v2/" && strings.Contains(r.URL.Path, at) && r.Method == http.MethodGet
					if hit {
						trouble(w, r)
					}
					return hit
				})
				started := time.Now()
				err := l.fetch(src)
				mentions(t, err, src, l.host)
				if fault.KindOf(err) == fault.Failed || time.Since(started) > time.Minute { // the usual limits allow two
					t.Errorf("after %s: %v", time.Since(started), err)
				}
			})
		}
	}
}
