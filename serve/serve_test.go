package serve

import (
	"context"
	"crypto/sha512"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hookbuild/internal/web"
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
	write(t, dir, map[string]string{"vmlinuz-x86_64": "kernel", "initramfs-x86_64": "0123456789", "hook.iso": "iso", ".hidden": "x"})
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
	_, head, _ := ask(t, url, "GET", "hook.iso")
	if head.Get("Content-Type") != "application/x-iso9660-image" {
		t.Error(head)
	}
	if status, _, _ := ask(t, url, "GET", "hook.iso", "If-None-Match", head.Get("ETag")); status != 304 {
		t.Errorf("its own ETag %q: %d", head.Get("ETag"), status)
	}
	if !strings.Contains(log(), "GET /vmlinuz-x86_64: 200: 6 bytes in ") {
		t.Error(log())
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

// Clients that stop reading are disconnected in time. Meanwhile others are served.
func TestSlowClients(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hook")
	write(t, dir, map[string]string{"vmlinuz-x86_64": "kernel", "initramfs-x86_64": strings.Repeat("x", 32<<20)})
	const timeout, clients = 2 * time.Second, 300
	url, log := start(t, dir, timeout)
	host := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	for i := range clients {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		request := "GET /initramfs-x86_64 HTTP/1.1\r\nHost: x\r\n\r\n"
		if i%2 == 0 {
			request = request[:20] // a header without end
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, body := ask(t, url, "GET", "vmlinuz-x86_64"); status != 200 || body != "kernel" {
		t.Errorf("%d %q", status, body)
	}
	for deadline := time.Now().Add(60 * time.Second); strings.Count(log(), "stopped after") < clients/2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d are cut off", strings.Count(log(), "stopped after"), clients/2)
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
	if err := os.WriteFile(filepath.Join(dir, "initramfs-x86_64"), []byte("0123456780"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), web.New(web.Options{}), url, func(string) {}); err == nil || !strings.Contains(err.Error(), "initramfs-x86_64: its checksum differs") {
		t.Error(err)
	}
}
