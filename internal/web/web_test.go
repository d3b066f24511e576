package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// quick returns limits with which a test does not wait.
func quick() Limits {
	return Limits{Connect: time.Second, Header: 100 * time.Millisecond, Idle: 100 * time.Millisecond, Tries: 3, Pause: time.Millisecond, Patience: 5 * time.Second}
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// silent returns the address of a server that accepts connections and never
// answers.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return "http://" + listener.Addr().String()
}

// ends fails the test if f takes so long that it must hang.
func ends(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
		return nil
	}
}

func get(c *Client, address string) func() error {
	return func() error {
		_, err := c.Get(context.Background(), Request{URL: address, Most: 1 << 20}, nil)
		return err
	}
}

func TestServersThatKeepTheClientWaiting(t *testing.T) {
	stalled := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	dripping := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	silentTLS := strings.Replace(silent(t), "http", "https", 1)
	for address, word := range map[string]string{
		silent(t): "timeout awaiting response headers", silentTLS: "handshake timeout", stalled: "stalled", dripping: "stalled",
	} {
		limits := quick()
		limits.Connect = 100 * time.Millisecond
		err := ends(t, get(New(Options{Limits: limits}), address+"/x"))
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v, want %q", address, err, word)
		}
		err = ends(t, func() error {
			body, err := New(Options{Limits: limits}).Open(context.Background(), Request{URL: address})
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, body)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s, as a stream: got %v, want %q", address, err, word)
		}
	}
}

type notes struct {
	mu  sync.Mutex
	all []string
}

func (n *notes) Report(e progress.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, e.Text)
}

func (n *notes) first() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append(n.all, "")[0]
}

func TestWhoKeepsTheUserWaitingIsNamed(t *testing.T) {
	said := &notes{}
	address := silent(t)
	_ = ends(t, get(New(Options{Limits: quick(), Progress: said}), address))
	if first := said.first(); !strings.Contains(first, strings.TrimPrefix(address, "http://")+" has not answered") {
		t.Errorf("said %q first", first)
	}
}

// A stall is said when the request is repeated, however short the pause is.
func TestStallsAreSaid(t *testing.T) {
	stalled := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	said := &notes{}
	_ = ends(t, get(New(Options{Limits: quick(), Progress: said}), stalled))
	if len(said.all) != 2 || !strings.Contains(said.all[1], "(try 3 of 3)") || !strings.Contains(said.all[1], "the transfer stalled") {
		t.Errorf("said %q", said.all)
	}
}

func TestPatienceBoundsSlowFailures(t *testing.T) {
	limits := quick()
	limits.Tries, limits.Patience = 1000, 300*time.Millisecond
	started := time.Now()
	if err := ends(t, get(New(Options{Limits: limits}), silent(t))); err == nil {
		t.Error("no error")
	}
	if took := time.Since(started); took > time.Minute { // 1000 tries would take two
		t.Errorf("it took %s", took)
	}
}

func TestPassingTroubleIsRepeated(t *testing.T) {
	for name, trouble := range map[string]http.HandlerFunc{
		"500":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"503":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"429":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) },
		"hang-up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			io.WriteString(w, "x")
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "wrong") },
	} {
		var asked atomic.Int32
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) < 3 {
				trouble(w, r)
				return
			}
			io.WriteString(w, "right")
		})
		content, err := New(Options{Limits: quick()}).Get(t.Context(), Request{URL: address, Most: 100}, func(b []byte, _ http.Header) error {
			if string(b) != "right" {
				return fmt.Errorf("it is %q", b)
			}
			return nil
		})
		if err != nil || string(content) != "right" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
}

func TestFinalAnswersAreNotRepeated(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"404": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"401": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"retry after a year": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "31536000")
			w.WriteHeader(503)
		},
		"too long": func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 2<<20)) },
	} {
		var asked atomic.Int32
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			handler(w, r)
		})
		if err := ends(t, get(New(Options{Limits: quick()}), address)); err == nil || asked.Load() != 1 {
			t.Errorf("%s: asked %d times, %v", name, asked.Load(), err)
		}
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	inSeconds := func() string { return "1" }
	byDate := func() string { return time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat) }
	for _, header := range []func() string{inSeconds, byDate} {
		var first atomic.Int64
		address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if first.CompareAndSwap(0, time.Now().UnixNano()) {
				w.Header().Set("Retry-After", header())
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
		if err := get(New(Options{Limits: quick()}), address)(); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(time.Unix(0, first.Load())); waited < 900*time.Millisecond {
			t.Errorf("Retry-After %s: it came back after %s", header(), waited)
		}
	}
}

func TestARequestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(503)
	})
	err := ends(t, func() error {
		_, err := New(Options{}).Get(ctx, Request{URL: address, Most: 1}, nil)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestRedirects redirects from https to plain HTTP, which only a digest allows.
func TestRedirects(t *testing.T) {
	plain := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "content") })
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain+"/there?X-Signature=secret", http.StatusFound)
	}))
	t.Cleanup(secure.Close)
	client := New(Options{Limits: quick(), TLS: secure.Client().Transport.(*http.Transport).TLSClientConfig})
	_, err := client.Get(t.Context(), Request{URL: secure.URL + "/here", Most: 100}, nil)
	var refused *redirectError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "plain HTTP is refused") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	if content, err := client.Get(t.Context(), Request{URL: secure.URL, Most: 100, Pinned: true}, nil); err != nil || string(content) != "content" {
		t.Errorf("with a digest: %q, %v", content, err)
	}
	if _, err := New(Options{Limits: quick()}).Get(t.Context(), Request{URL: secure.URL, Most: 100}, nil); err == nil {
		t.Error("a certificate that nobody signed was accepted")
	}
	host := strings.TrimPrefix(secure.URL, "https://")
	insecure := New(Options{Limits: quick(), Insecure: []string{host}})
	if _, err := insecure.Get(t.Context(), Request{URL: secure.URL, Most: 100, Pinned: true}, nil); err != nil {
		t.Errorf("insecure: %v", err)
	}
}

// file is a server with content, which misbehaves as configured.
type file struct {
	mu      sync.Mutex
	content []byte
	tag     string
	cut     int // hang up after this many bytes of an answer; 0 means never
	ranges  bool
	asked   []string
}

func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r.Header.Get("Range"))
	content, tag, cut := f.content, f.tag, f.cut
	f.mu.Unlock() // the test changes what the next answer is
	if tag != "" {
		w.Header().Set("ETag", tag)
	}
	if !f.ranges {
		r.Header.Del("Range")
	}
	if cut > 0 {
		w = &cutter{w, cut}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left <= 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func pattern(n int, seed byte) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i>>8) ^ byte(i) + seed
	}
	return out
}

func TestBrokenBodyGoesOn(t *testing.T) {
	for name, f := range map[string]*file{
		"by ranges":               {ranges: true, tag: `"1"`, cut: 3 << 20},
		"without a tag":           {ranges: true, cut: 3 << 20},
		"without ranges or a tag": {cut: 7 << 20},
	} {
		f.content = pattern(8<<20, 0)
		address := serve(t, f.ServeHTTP)
		body, err := New(Options{Limits: quick()}).Open(t.Context(), Request{URL: address})
		if err != nil {
			t.Fatal(err)
		}
		if !f.ranges { // the second answer is complete
			f.mu.Lock()
			f.cut = 0
			f.mu.Unlock()
		}
		content, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(content, f.content) {
			t.Errorf("%s: %d bytes, %v, asked %q", name, len(content), err, f.asked)
		}
	}
}

func TestContentThatChangesMeanwhileIsRefused(t *testing.T) {
	f := &file{content: pattern(4<<20, 0), ranges: true, tag: `"1"`, cut: 2 << 20}
	address := serve(t, f.ServeHTTP)
	body, err := New(Options{Limits: quick()}).Open(t.Context(), Request{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.content, f.tag = pattern(4<<20, 7), `"2"`
	f.mu.Unlock()
	if _, err := io.ReadAll(body); err == nil || !strings.Contains(err.Error(), "changed at the server") {
		t.Errorf("got %v", err)
	}
}

// TestDownloadGoesOn resumes what an interrupted process left.
func TestDownloadGoesOn(t *testing.T) {
	content := pattern(1<<20, 0)
	for name, tc := range map[string]struct {
		part, version string
		f             *file
		pinned        bool
		asked         string
	}{
		"where it was":             {string(content[:1000]), `"1"`, &file{ranges: true, tag: `"1"`}, false, "bytes=1000-"},
		"without ranges":           {string(content[:1000]), `"1"`, &file{tag: `"1"`}, false, "bytes=1000-"},
		"of another version":       {strings.Repeat("x", 1000), `"0"`, &file{ranges: true, tag: `"1"`}, false, "bytes=1000-"},
		"of no known version":      {strings.Repeat("x", 1000), "", &file{ranges: true, tag: `"1"`}, false, ""},
		"pinned, without version":  {string(content[:1000]), "", &file{ranges: true}, true, "bytes=1000-"},
		"pinned, whole already":    {string(content), "", &file{ranges: true}, true, "bytes=1048576-"},
		"pinned, longer than it":   {strings.Repeat("x", 2<<20), "", &file{ranges: true}, true, "bytes=2097152-"},
		"whole already, versioned": {string(content), `"1"`, &file{ranges: true, tag: `"1"`}, false, "bytes=1048576-"},
	} {
		tc.f.content = content
		address := serve(t, tc.f.ServeHTTP)
		at := filepath.Join(t.TempDir(), "f")
		if err := errors.Join(os.WriteFile(at+".part", []byte(tc.part), 0o600), os.WriteFile(at+".part.version", []byte(tc.version), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := New(Options{Limits: quick()}).Download(t.Context(), Request{URL: address, Pinned: tc.pinned}, at); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := os.ReadFile(at)
		if err != nil || !bytes.Equal(got, content) || tc.f.asked[0] != tc.asked {
			t.Errorf("%s: %d bytes, %v, asked %q", name, len(got), err, tc.f.asked)
		}
		if left, _ := filepath.Glob(at + ".*"); len(left) > 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
}

// TestOneDownloadAtATime fetches the same file twice at once, as two processes
// that share a cache do.
func TestOneDownloadAtATime(t *testing.T) {
	f := &file{content: pattern(1<<20, 0), ranges: true, tag: `"1"`}
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		f.ServeHTTP(w, r)
	})
	at := filepath.Join(t.TempDir(), "f")
	limits := quick()
	limits.Header = time.Minute
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- New(Options{Limits: limits}).Download(t.Context(), Request{URL: address}, at) }()
	}
	<-arrived
	close(release)
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(at)
	if err != nil || !bytes.Equal(got, f.content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if left, _ := filepath.Glob(at + ".*"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// canceller ends the context at the first report.
type canceller struct {
	*notes
	cancel context.CancelFunc
}

func (c *canceller) Report(e progress.Event) {
	c.notes.Report(e)
	c.cancel()
}

// TestAWaitingDownloadCanBeCancelled cancels one that waits for another.
func TestAWaitingDownloadCanBeCancelled(t *testing.T) {
	at := filepath.Join(t.TempDir(), "f")
	part, err := os.Create(at + ".part")
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	if err := atomicfile.Lock(t.Context(), part, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	said := &notes{}
	err = New(Options{Progress: &canceller{said, cancel}}).Download(ctx, Request{URL: "http://127.0.0.1:1/"}, at)
	if !errors.Is(err, context.Canceled) || said.first() != "another process is fetching http://127.0.0.1:1/; waiting for it" {
		t.Errorf("got %v, said %q", err, said.first())
	}
}

func TestShow(t *testing.T) {
	for source, want := range map[string]string{
		"https://me:secret@site.example/a/b?sig=secret#x":              "https://site.example/a/b",
		"HTTP://token@site.example":                                    "http://site.example",
		"https://site.example:8443/a%20b":                              "https://site.example:8443/a%20b",
		"https://me:sec?ret@site.example/a":                            "https://site.example/a",
		"https://me:secret@site.example/%zz?secret":                    "https://site.example/%zz",
		"https://[::1/?secret":                                         "https://[::1/",
		"/path?with=query#and":                                         "/path?with=query#and",
		"oci:dir":                                                      "oci:dir",
		"deb:https://me:secret@site.example/x?secret":                  "deb:https://me:secret@site.example/x?secret", // see ShowAll
		"https://site.example/x.deb#sha256=" + strings.Repeat("0", 64): "https://site.example/x.deb",
	} {
		if got := Show(source); got != want {
			t.Errorf("%s: got %s, want %s", source, got, want)
		}
	}
	for text, want := range map[string]string{
		"deb:https://me:secret@site.example/x?secret,https://b.example/y?secret": "deb:https://site.example/x",
		`parsing "https://me:secret@h/%zz?secret": bad`:                          `parsing "https://h/%zz": bad`,
		"see https://docs.example/x. And (http://a.example/?secret), too":        "see https://docs.example/x. And (http://a.example/), too",
		`failed to parse Location header "http://x:y/?secret": invalid port "`:   `failed to parse Location header "http://x:y/": invalid port "`,
		`reference "me:secret@r.example:5000/a:1": bad`:                          `reference "r.example:5000/a:1": bad`,
		"proxy me:secret@192.0.2.1:3128 refuses":                                 "proxy 192.0.2.1:3128 refuses",
		"r.example:5000/a:v1@sha256:0123":                                        "r.example:5000/a:v1@sha256:0123",
	} {
		if got := ShowAll(text); !strings.HasPrefix(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// TestErrorsTellNoSecrets provokes every kind of error with URLs that contain
// secrets.
func TestErrorsTellNoSecrets(t *testing.T) {
	bad := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/location":
			w.Header().Set("Location", "http://other:port/?sig=secret")
			w.WriteHeader(http.StatusFound)
		case "/scheme":
			http.Redirect(w, r, "gopher://x/?sig=secret", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop?sig=secret", http.StatusFound)
		case "/closed":
			http.Redirect(w, r, "http://127.0.0.1:1/?sig=secret", http.StatusFound)
		default:
			panic(http.ErrAbortHandler)
		}
	})
	withUser := strings.Replace(bad, "http://", "http://me:secret@", 1)
	for _, address := range []string{
		withUser + "/location", withUser + "/scheme", withUser + "/loop", withUser + "/closed", withUser + "/reset?sig=secret",
		"http://me:secret@127.0.0.1:1/?sig=secret", "https://me:secret@%zz/?sig=secret", "https://me:secret@unknown.invalid/?sig=secret",
	} {
		client := New(Options{Limits: quick()})
		err := get(client, address)()
		downloaded := client.Download(t.Context(), Request{URL: address}, filepath.Join(t.TempDir(), "f"))
		for _, err := range []error{err, downloaded} {
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: got %v", address, err)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	sum := strings.Repeat("a1", 32)
	for source, want := range map[string][2]string{
		"https://h/x#sha256=" + sum:                  {"https://h/x", sum},
		"https://h/x#sha256=" + strings.ToUpper(sum): {"https://h/x", sum},
		"https://h/x?y=z":                            {"https://h/x?y=z", ""},
		"/path/with#hash":                            {"/path/with#hash", ""},
	} {
		address, got, err := Split(source)
		if err != nil || address != want[0] || got != want[1] {
			t.Errorf("%s: got %q, %q, %v", source, address, got, err)
		}
	}
	for _, source := range []string{"https://h/x#sha256=12", "https://h/x#sha256:" + sum, "http://h/#frag", "http://h/#"} {
		if _, _, err := Split(source); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: got %v", source, err)
		}
	}
}

// TestProxyThatRefuses uses a proxy that demands a password.
func TestProxyThatRefuses(t *testing.T) {
	proxy := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) })
	address := strings.TrimPrefix(proxy, "http://")
	client := New(Options{Limits: quick()})
	transport := client.base.(*repeater).inner.(*limiter).inner.(*picker)
	if transport.checked.Proxy == nil || transport.unchecked.Proxy == nil {
		t.Fatal("a transport ignores HTTPS_PROXY")
	}
	through := newTransport(quick(), nil)
	through.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://me:secret@" + address) }
	transport.checked = through
	err := get(client, "https://site.example/x")()
	var refused *proxyError
	if !errors.As(err, &refused) || refused.Code != http.StatusProxyAuthRequired || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
