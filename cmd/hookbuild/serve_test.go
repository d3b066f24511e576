package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hookbuild/build/artifact"
	"hookbuild/internal/web"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
)

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hookbuild test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	kerneltest.WriteFile(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made}))
	kerneltest.WriteFile(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	return cert, key
}

// serving runs serve in the background and returns its address. It ends with the test.
func serving(t *testing.T, args ...string) (address string) {
	t.Helper()
	lines := servingLines(t, 2, args...)
	address, found := strings.CutPrefix(lines[1], "hookImagesURLPath: ")
	if !found {
		t.Fatalf("serve prints %q", lines)
	}
	return address
}

// servingLines runs serve in the background and returns the first n lines that it
// prints. It ends with the test.
func servingLines(t *testing.T, n int, args ...string) (printed []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	lines, stdout := io.Pipe()
	var stderr strings.Builder
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0", "--progress", "plain"}, args...), environment{
			getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: stdout, stderr: &stderr,
		})
		stdout.Close() // of a pipe: it never fails
		ended <- code
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 && code != exitInterrupted {
			t.Errorf("serve: exit code %d\n%s", code, stderr.String())
		}
		if warned := strings.Contains(stderr.String(), "only this host reaches 127.0.0.1:"); warned == slices.Contains(args, "--url") {
			t.Errorf("serve %q on a loopback address:\n%s", args, stderr.String())
		}
	})
	for text := bufio.NewScanner(lines); text.Scan(); {
		if printed = append(printed, text.Text()); len(printed) == n {
			return printed
		}
	}
	t.Fatalf("serve prints only %q", printed)
	return nil
}

// TestServePrintsTheSpecification compares the lines for the cluster specification.
func TestServePrintsTheSpecification(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"vmlinuz-x86_64", "initramfs-x86_64", "hook-b.iso", "hook-a.iso"} {
		kerneltest.WriteFile(t, filepath.Join(dir, name), []byte(name))
	}
	got := servingLines(t, 4, "--url", "https://boot.example/hook/", "--read-timeout", "5s", dir)
	want := []string{
		"# TinkerbellDatacenterConfig, spec:", "hookImagesURLPath: https://boot.example/hook",
		"hookIsoURL: https://boot.example/hook/hook-a.iso", "hookIsoURL: https://boot.example/hook/hook-b.iso",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s := site.New(t, nil)
	for say, args := range map[string][]string{
		"--read-timeout 0s is not positive":  {"serve", "--read-timeout", "0s", dir},
		"--read-timeout -1s is not positive": {"netboot", "serve", "--read-timeout", "-1s", "--ip", "192.0.2.9", dir},
		"belong together":                    {"serve", "--tls-cert", "serve_test.go", dir},
		"at most one directory":              {"serve", dir, dir},
	} {
		if got := runAt(t.Context(), s, args...); got.code != 2 || !strings.Contains(got.stderr, say) {
			t.Errorf("%v: exit code %d\n%s", args, got.code, got.stderr)
		}
	}
}

// TestServeHTTPS checks a server with a private certificate authority, which only
// --ca-file makes known.
func TestServeHTTPS(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	out := t.TempDir()
	if got := runAt(t.Context(), s, allArgs(t, s, sharedCache(t), out)...); got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	cert, key := selfSigned(t)
	address := serving(t, "--tls-cert", cert, "--tls-key", key, out) // the files are in its directory hook
	if !strings.HasPrefix(address, "https://127.0.0.1:") {
		t.Errorf("the address is %s", address)
	}
	got := runAt(t.Context(), s, "serve", "--check", address, "--progress", "plain")
	if got.code != 4 || !strings.Contains(got.stderr, "certificate") || !strings.Contains(got.stderr, "--ca-file") {
		t.Errorf("without --ca-file: exit code %d\n%s", got.code, got.stderr)
	}
	got = runAt(t.Context(), s, "serve", "--check", address, "--ca-file", cert, "--progress", "plain")
	if got.code != 0 {
		t.Errorf("with --ca-file: exit code %d\n%s", got.code, got.stderr)
	}
	says(t, got.stderr, "initramfs-x86_64: length, range and every byte", "initramfs-latest-lts-x86_64: length, range and every byte")
	got = runAt(t.Context(), s, "serve", "--check", strings.Replace(address, "https:", "http:", 1), "--ca-file", cert, "--progress", "plain")
	if got.code == 0 {
		t.Error("the server answers without TLS too")
	}
}

// flaky counts the layers that a registry sends, and breaks off each one that it
// sends for the first time.
type flaky struct {
	http.Handler
	mu   sync.Mutex
	sent map[string]int
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
		f.Handler.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	f.Handler.ServeHTTP(rec, r)
	body := rec.Body.Bytes()
	layer := len(body) > 1024 || r.Header.Get("Range") != "" // configurations are smaller
	f.mu.Lock()
	first := layer && f.sent[r.URL.Path] == 0
	if layer {
		f.sent[r.URL.Path]++
	}
	f.mu.Unlock()
	maps.Copy(w.Header(), rec.Header())
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(rec.Code)
	if first {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body) // the client is gone, or asks again
}

func (f *flaky) total() (sum int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.sent {
		sum += n
	}
	return sum
}

// reply is what a server answers.
type reply struct {
	status int
	length int64
	etag   string
	body   string
}

// request asks a server for a file, with header lines.
func request(t *testing.T, method, url string, header ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := web.New(web.Options{}).Transport().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{answer.StatusCode, answer.ContentLength, answer.Header.Get("ETag"), string(text)}
}

// TestServeReference serves a pushed HookOS from a registry that breaks off every
// layer once, and then again without the registry.
func TestServeReference(t *testing.T) {
	trouble := &flaky{sent: map[string]int{}}
	s := newShelf(t, func(h http.Handler) http.Handler { trouble.Handler = h; return trouble })
	ref := s.host + "/hookos:v1"
	s.run(0, "push", s.out, ref)
	cache := t.TempDir()
	address := serving(t, "--cache-dir", cache, ref)
	pulled := filepath.Join(t.TempDir(), "pulled")
	s.run(0, "pull", ref, pulled)
	want := contents(t, pulled)
	for name, text := range want {
		got := request(t, http.MethodGet, address+"/"+name)
		if got.status != http.StatusOK || got.body != text {
			t.Errorf("%s: %+v, want %q", name, got, text)
		}
		if same := request(t, http.MethodGet, address+"/"+name, "If-None-Match", got.etag); same.status != http.StatusNotModified {
			t.Errorf("%s: its own ETag %q: %d", name, got.etag, same.status)
		}
		if part := request(t, http.MethodGet, address+"/"+name, "Range", "bytes=2-4"); part.status != http.StatusPartialContent || part.body != text[2:5] {
			t.Errorf("%s: a range: %+v", name, part)
		}
		if head := request(t, http.MethodHead, address+"/"+name); head.length != int64(len(text)) {
			t.Errorf("%s: HEAD says %d bytes", name, head.length)
		}
	}
	if len(want) != 8 { // two files with a link each, two files, two listings
		t.Errorf("pulled %v", slices.Sorted(maps.Keys(want)))
	}
	if got := request(t, http.MethodGet, address+"/vmlinuz"); got.status != http.StatusNotFound {
		t.Errorf("a name that is not there: %d", got.status)
	}
	s.run(0, "serve", "--check", address)
	before := trouble.total()
	again := serving(t, "--cache-dir", cache, "--arch", "arm64", "--offline", ref)
	if got := request(t, http.MethodGet, again+"/vmlinuz-x86_64"); got.status != http.StatusNotFound {
		t.Errorf("of another architecture: %d", got.status)
	}
	s.run(0, "serve", "--check", again)
	if trouble.total() != before {
		t.Errorf("the registry sent %d layers again", trouble.total()-before)
	}
}

// TestServeReferenceServesTheSBOM serves what is attached to a HookOS, also offline,
// and the HookOS without it where the registry does not tell.
func TestServeReferenceServesTheSBOM(t *testing.T) {
	p := newListed(t)
	var silent atomic.Bool
	s := newShelf(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if silent.Load() && strings.Contains(r.URL.Path, "/referrers/") {
				http.Error(w, "not today", http.StatusForbidden)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	ref, cache := s.host+"/hookos:v1", t.TempDir()
	s.run(0, "push", p.out, ref)
	pulled := filepath.Join(t.TempDir(), "pulled")
	s.run(0, "pull", ref, pulled)
	want := contents(t, pulled)
	if want[artifact.SBOMFile] == "" || want[artifact.ProvenanceFile] == "" {
		t.Fatalf("pulled %v", slices.Sorted(maps.Keys(want)))
	}
	for _, more := range [][]string{nil, {"--offline"}} {
		address := serving(t, append([]string{"--cache-dir", cache, ref}, more...)...)
		for name, text := range want {
			if got := request(t, http.MethodGet, address+"/"+name); got.status != http.StatusOK || got.body != text {
				t.Errorf("%v: %s: %+v, want %q", more, name, got, text)
			}
		}
		s.run(0, "serve", "--check", address)
	}
	silent.Store(true)
	got := s.run(2, "serve", ref, "--listen", "nowhere") // after it has read everything
	if !strings.Contains(got.stderr, "warning: sbom.spdx.json and provenance.json are left out: listing what is attached") || !strings.Contains(got.stderr, "403 Forbidden") {
		t.Error(got.stderr)
	}
	address := serving(t, "--cache-dir", t.TempDir(), ref)
	s.run(0, "serve", "--check", address)
	if got := request(t, http.MethodGet, address+"/"+artifact.SBOMFile); got.status != http.StatusNotFound {
		t.Errorf("an SBOM that was not read: %+v", got)
	}
}

func TestServeReferenceRefuses(t *testing.T) {
	s := newShelf(t, func(h http.Handler) http.Handler {
		return &damaged{h, "initramfs- of aarch64", "initramfs- of aarch6X"}
	})
	s.run(0, "push", s.out, s.host+"/hookos:v1")
	site.Push(t, s.host+"/other:1", map[string]string{"bin/x": "x"})
	for _, c := range []struct {
		code int
		said string
		args []string
	}{
		{3, "something on the way changed it", []string{s.host + "/hookos:v1"}},
		{3, "not a HookOS", []string{s.host + "/other:1"}},
		{4, "hookos:none", []string{s.host + "/hookos:none"}},
		{4, "not completely in the cache", []string{s.host + "/hookos:v1", "--offline"}},
		{3, "or a reference with its registry", []string{"out/hook"}},
		{3, "or a reference with its registry", []string{"./host.example/hookos:v1"}},
		{2, "at most one", []string{s.host + "/hookos:v1", "x"}},
	} {
		if got := s.run(c.code, append([]string{"serve", "--listen", "127.0.0.1:0"}, c.args...)...); !strings.Contains(got.stderr, c.said) {
			t.Errorf("%v: %s", c.args, got.stderr)
		}
	}
}
