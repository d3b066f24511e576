package serve

import (
	"context"
	"crypto/sha512"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hookbuild/internal/web"
	"hookbuild/test/slowtest"
)

// write fills a directory as a build does, in which all files appear at once.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	next := t.TempDir()
	var sums strings.Builder
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(next, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha512.Sum512([]byte(content)), name)
	}
	if err := os.WriteFile(filepath.Join(next, checksums), []byte(sums.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, dir); err != nil {
		t.Fatal(err)
	}
}

// start serves dir and returns its URL and what was logged.
func start(t *testing.T, dir string, timeout time.Duration) (string, func() string) {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	files, err := Open(dir, timeout, func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- Run(ctx, Options{Listener: l, Handler: files, ReadTimeout: timeout}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-end; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String() + "/", func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(lines, "\n")
	}
}

// ask sends one request, with a method, path and header lines, and returns the answer.
func ask(t *testing.T, url, method, path string, header ...string) (status int, head http.Header, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
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
	return answer.StatusCode, answer.Header, string(text)
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hook")
	write(t, dir, map[string]string{"vmlinuz-x86_64": "kernel", "initramfs-x86_64": "0123456789", "hook.iso": "iso", ".hidden": "x", "manifest.json": "{}", "dtbs-x.tar.gz": "x"})
	url, log := start(t, dir, time.Second)
	for _, tt := range []struct {
		method, path string
		header       []string
		status       int
		body         string
	}{
		{"GET", "vmlinuz-x86_64", nil, 200, "kernel"},
		{"HEAD", "initramfs-x86_64", nil, 200, ""},
		{"GET", "initramfs-x86_64", []string{"Range", "bytes=2-4"}, 206, "234"},
		{"GET", "initramfs-x86_64", []string{"Range", "bytes=20-"}, 416, "invalid range: failed to overlap\n"},
		{"GET", "healthz", nil, 200, "ok\n"},
		{"GET", ".hidden", nil, 404, "404 page not found\n"},
		{"GET", "..%2fx", nil, 404, "404 page not found\n"},
		{"GET", "", nil, 404, "404 page not found\n"},
		{"GET", "%1b%5b2J%0a::add-mask::x", nil, 404, "404 page not found\n"},
		{"POST", "vmlinuz-x86_64", nil, 405, "only GET and HEAD\n"},
	} {
		status, head, body := ask(t, url, tt.method, tt.path, tt.header...)
		if status != tt.status || body != tt.body {
			t.Errorf("%s %s: %d %q", tt.method, tt.path, status, body)
		}
		if tt.method == "HEAD" && head.Get("Content-Length") != "10" {
			t.Errorf("HEAD: %v", head)
		}
	}
	for name, kind := range map[string]string{
		"hook.iso": "application/x-iso9660-image", "checksums.txt": "text/plain; charset=utf-8", "manifest.json": "application/json",
		"dtbs-x.tar.gz": "application/gzip", "vmlinuz-x86_64": "application/octet-stream",
	} {
		if _, head, _ := ask(t, url, "HEAD", name); head.Get("Content-Type") != kind || head.Get("Accept-Ranges") != "bytes" {
			t.Errorf("HEAD %s: %v", name, head)
		}
	}
	_, head, _ := ask(t, url, "GET", "hook.iso")
	if status, _, _ := ask(t, url, "GET", "hook.iso", "If-None-Match", head.Get("ETag")); status != 304 {
		t.Errorf("its own ETag %q: %d", head.Get("ETag"), status)
	}
	// A range of a file that was replaced meanwhile would not fit the rest.
	for etag, want := range map[string]int{head.Get("ETag"): 206, `"another"`: 200} {
		if status, _, _ := ask(t, url, "GET", "hook.iso", "Range", "bytes=1-", "If-Range", etag); status != want {
			t.Errorf("a range if the ETag is %s: %d, want %d", etag, status, want)
		}
	}
	if !strings.Contains(log(), "GET /vmlinuz-x86_64: 200: 6 bytes in ") {
		t.Error(log())
	}
	if !strings.Contains(log(), `GET /\x1b[2J\n::add-mask::x: 404`) {
		t.Errorf("a hostile path is logged as\n%q", log())
	}
}

// A client that has the old kernel gets the old initramfs, although a build has
// replaced both. A client that starts again gets the new pair.
func TestOneConsistentSet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hook")
	write(t, dir, map[string]string{"vmlinuz-x86_64": "kernel 1", "initramfs-x86_64": "initramfs 1"})
	url, _ := start(t, dir, time.Second)
	fetch := func(name string) string {
		_, _, body := ask(t, url, "GET", name)
		return body
	}
	for _, step := range [][2]string{{"vmlinuz-x86_64", "kernel 1"}, {"", ""}, {"initramfs-x86_64", "initramfs 1"}, {"vmlinuz-x86_64", "kernel 2"}, {"initramfs-x86_64", "initramfs 2"}} {
		if step[0] == "" {
			write(t, dir, map[string]string{"vmlinuz-x86_64": "kernel 2", "initramfs-x86_64": "initramfs 2"})
		} else if got := fetch(step[0]); got != step[1] {
			t.Errorf("%s: %q, want %q", step[0], got, step[1])
		}
	}
}

// A BMC reads an ISO image in ranges. They are all of the image that was there when it
// began, although a build has replaced it.
func TestOneImageInRanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hook")
	write(t, dir, map[string]string{"hook.iso": "image 1"})
	url, _ := start(t, dir, time.Minute)
	for _, step := range [][2]string{{"bytes=0-4", "image"}, {"", ""}, {"bytes=5-6", " 1"}, {"bytes=0-4", "image"}, {"bytes=5-6", " 2"}} {
		if step[0] == "" {
			write(t, dir, map[string]string{"hook.iso": "image 2"})
		} else if _, _, got := ask(t, url, "GET", "hook.iso", "Range", step[0]); got != step[1] {
			t.Errorf("%s: %q, want %q", step[0], got, step[1])
		}
	}
}

// Five thousand clients that stop reading, or never end their request, are
// disconnected in time. Meanwhile others are served.
func TestSlowClients(t *testing.T) {
	const timeout, clients = 2 * time.Second, 5000
	dir := filepath.Join(t.TempDir(), "hook")
	write(t, dir, map[string]string{"vmlinuz-x86_64": "kernel", "initramfs-x86_64": strings.Repeat("x", 32<<20)})
	url, log := start(t, dir, timeout)
	slow := slowtest.Open(t, strings.Trim(strings.TrimPrefix(url, "http:"), "/"), clients, "GET /initramfs-x86_64 HTTP/1.1\r\nHost: x\r\n\r\n")
	if status, _, body := ask(t, url, "GET", "vmlinuz-x86_64"); status != 200 || body != "kernel" {
		t.Errorf("%d %q", status, body)
	}
	slow.Cut(time.Minute)
	for deadline := time.Now().Add(time.Minute); strings.Count(log(), "stopped after") < clients/2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d are cut off", strings.Count(log(), "stopped after"), clients/2)
		}
	}
}

// A client that goes away in the middle of a file is in the log, with its address.
func TestStoppedHalfWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hook")
	write(t, dir, map[string]string{"initramfs-x86_64": strings.Repeat("x", 32<<20)})
	url, log := start(t, dir, time.Minute)
	conn, err := net.Dial("tcp", strings.Trim(strings.TrimPrefix(url, "http:"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	address := conn.LocalAddr().String()
	if _, err := io.WriteString(conn, "GET /initramfs-x86_64 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	want := "HTTP " + address + ": GET /initramfs-x86_64: 200: stopped after "
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log(), want) || !strings.Contains(log(), "of 33554432 bytes"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log lacks %q:\n%s", want, log())
		}
	}
}

func TestCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hook")
	write(t, dir, map[string]string{"vmlinuz-x86_64": "kernel", "initramfs-x86_64": "0123456789"})
	url, _ := start(t, dir, time.Second)
	n := 0
	if err := Check(t.Context(), web.New(web.Options{}), url, func(string) { n++ }); err != nil || n != 2 {
		t.Error(n, err)
	}
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range") // as a server does that answers no ranges
		http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
	}))
	defer plain.Close()
	err := Check(t.Context(), web.New(web.Options{}), plain.URL, func(string) {})
	if err == nil || strings.Count(err.Error(), "but BMCs and iPXE need ranges (206)") != 2 {
		t.Errorf("a server without ranges: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "initramfs-x86_64"), []byte("0123456780"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), web.New(web.Options{}), url, func(string) {}); err == nil || !strings.Contains(err.Error(), "initramfs-x86_64: its checksum differs") {
		t.Error(err)
	}
}

// TestCheckElsewhere names the place that has the build, when the address checked has
// none.
func TestCheckElsewhere(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "a", "hook"), map[string]string{"vmlinuz-x86_64": "kernel"})
	server := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer server.Close()
	for _, test := range []struct{ path, says string }{
		{"/a", "; " + server.URL + "/a/hook has one: use that address"},
		{"/a/", "; " + server.URL + "/a/hook has one: use that address"},
		{"/a/hook/vmlinuz-x86_64", "; " + server.URL + "/a/hook has one: use that address"},
		{"/a/b/c", "; " + server.URL + "/a/hook has one: use that address"},
		{"/b/c", "has no build there, nor in the directories above; name the address of the directory"},
		{"", "has no build there, nor in the directories above; name the address of the directory"},
	} {
		err := Check(t.Context(), web.New(web.Options{}), server.URL+test.path, func(string) {})
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "404 Not Found") {
			t.Errorf("%q: %v; want %q", test.path, err, test.says)
		}
	}
	var asked int
	deep := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusNotFound)
	}))
	defer deep.Close()
	if err := Check(t.Context(), web.New(web.Options{}), deep.URL+strings.Repeat("/a", 50), func(string) {}); err == nil || asked > mostPlaces+1 || !strings.Contains(err.Error(), "nor in the nearest directories above, where hookbuild looked;") {
		t.Errorf("%d requests, %v", asked, err)
	}
	secret := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer secret.Close()
	if err := Check(t.Context(), web.New(web.Options{}), secret.URL, func(string) {}); err == nil || !strings.Contains(err.Error(), "answer without a login") {
		t.Error(err)
	}
}
