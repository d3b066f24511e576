package fetch

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
)

// server gives content under /file with an ETag, and counts the transfers.
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
	return Options{Cache: c}
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
