package fetch

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
)

// server serves content under /file with an ETag, and counts the transfers.
type server struct {
	*httptest.Server
	content, tag string
	gets         int
}

func newServer(t *testing.T) *server {
	s := &server{content: "one", tag: `"1"`}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/file" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", s.tag)
		if r.Method == http.MethodGet {
			s.gets++
		}
		if _, err := io.WriteString(w, s.content); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func options(t *testing.T) Options {
	t.Helper()
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	limits := web.Limits{Header: time.Second, Idle: 100 * time.Millisecond, Tries: 2, Pause: time.Millisecond}
	return Options{Cache: c, Web: web.New(web.Options{Limits: limits})}
}

func read(t *testing.T, source string, o Options) string {
	t.Helper()
	f, err := Open(t.Context(), source, o)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDownloadIsKeptUntilItChanges(t *testing.T) {
	s, o := newServer(t), options(t)
	url := s.URL + "/file"
	for range 2 {
		if got := read(t, url, o); got != "one" {
			t.Errorf("got %q", got)
		}
	}
	if s.gets != 1 {
		t.Errorf("%d transfers", s.gets)
	}
	s.content, s.tag = "another", `"2"`
	if got := read(t, url, o); got != "another" {
		t.Errorf("after a change: got %q", got)
	}
	s.Close()
	o.Offline = true
	if got := read(t, url, o); got != "another" {
		t.Errorf("offline: got %q", got)
	}
}

func TestFaults(t *testing.T) {
	s, o := newServer(t), options(t)
	for source, kind := range map[string]fault.Kind{
		s.URL + "/none":       fault.Outside,
		"no-such-file":        fault.Invalid,
		t.TempDir():           fault.Invalid,
		"http://127.0.0.1:1/": fault.Outside,
	} {
		_, err := Open(t.Context(), source, o)
		if err == nil || !strings.Contains(err.Error(), source) || fault.KindOf(err) != kind {
			t.Errorf("%s: got %v", source, err)
		}
	}
	o.Offline = true
	if _, err := Open(t.Context(), s.URL+"/file", o); err == nil || !strings.Contains(err.Error(), "cache") {
		t.Errorf("offline and unknown: got %v", err)
	}
}

// A file with a hole is not read for a minute before something says that it is too
// large.
func TestDigestOfHugeFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sparse")
	if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, 30<<30)); err != nil {
		t.Fatal(err)
	}
	f, err := Open(t.Context(), name, options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Digest(t.Context(), f); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "it has 32212254720 bytes") {
		t.Errorf("got %v", err)
	}
}

// A URL with a checksum is fetched only once.
func TestPinned(t *testing.T) {
	s, o := newServer(t), options(t)
	pin := func(content string) string {
		return fmt.Sprintf("%s/file#sha256=%x", s.URL, sha256.Sum256([]byte(content)))
	}
	if got := read(t, pin("one"), o); got != "one" {
		t.Errorf("got %q", got)
	}
	s.content, s.tag = "another", `"2"`
	_, err := Open(t.Context(), pin("third"), o)
	if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), s.URL+"/file") || !strings.Contains(err.Error(), ", want ") {
		t.Errorf("another content: %v", err)
	}
	s.Close()
	o.Offline = true
	if got := read(t, pin("one"), o); got != "one" {
		t.Errorf("offline: got %q", got)
	}
	if _, err := Open(t.Context(), s.URL+"/file#sha256=1", o); fault.KindOf(err) != fault.Usage {
		t.Errorf("no checksum: %v", err)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	s, o := newServer(t), options(t)
	said := &events{}
	o.Progress = said
	secret := strings.Replace(s.URL, "http://", "http://me:secret@", 1)
	read(t, secret+"/file?sig=secret", o)
	_, err := Open(t.Context(), secret+"/none?sig=secret", o)
	if err == nil || strings.Contains(err.Error()+said.text, "secret") {
		t.Errorf("%v; said %s", err, said.text)
	}
	if !strings.Contains(said.text, "is fetched over plain HTTP and not verified") {
		t.Errorf("said %s", said.text)
	}
}

type events struct{ text string }

func (e *events) Report(event progress.Event) { e.text += event.Task + " " + event.Text + "\n" }

func TestServerThatStalls(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(s.Close)
	_, err := Open(t.Context(), s.URL+"/file", options(t))
	if err == nil || !strings.Contains(err.Error(), "stalled") || fault.KindOf(err) != fault.Outside {
		t.Errorf("got %v", err)
	}
}
