package engine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/test/testneed"
)

// behindProxy returns a client of this machine's engine behind a proxy that refuses
// requests for a path with the status.
func behindProxy(t *testing.T, path string, status int) *client.Client {
	t.Helper()
	testneed.Docker(t)
	toEngine := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "engine"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(client.DefaultDockerHost, "unix://"))
		}},
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, path) {
			w.WriteHeader(status)
			return
		}
		toEngine.ServeHTTP(w, r)
	}))
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Listener.Close() // the one that it is not to use
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	engine, err := client.NewClientWithOpts(client.WithHost("unix://"+socket), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return engine
}

// An engine without BuildKit is an error that says what to do.
func TestBuildWithoutBuildKit(t *testing.T) {
	request := Request{Context: func(w io.Writer) error { return io.ErrUnexpectedEOF }}
	build := func(engine *client.Client) string {
		t.Helper()
		err := Build(t.Context(), engine, request, progress.Start(nil, 0, "build"))
		if err == nil || fault.KindOf(err) != fault.Outside {
			t.Fatalf("got %v, want an error from outside", err)
		}
		return err.Error()
	}
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
		engine := behindProxy(t, "/session", status)
		if said := build(engine); !strings.Contains(said, "docker.sock") || !strings.Contains(said, fmt.Sprint("received ", status)) || !strings.Contains(said, Remedy) {
			t.Errorf("status %d: %s", status, said)
		}
	}
	old, err := client.NewClientWithOpts(client.WithHost(client.DefaultDockerHost), client.WithVersion("1.38"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if said := build(old); !strings.Contains(said, "version 1.38 of its API") || !strings.Contains(said, Remedy) {
		t.Errorf("an old API: %s", said)
	}
}

// The engine says that it lacks a base image, and not that a step failed; an image
// that was loaded is used.
func TestBuildOnABaseImageOutOfReach(t *testing.T) {
	testneed.Docker(t)
	engine, err := client.NewClientWithOpts(client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	build := func(dockerfile string, tags ...string) error {
		files := func(w io.Writer) error { return writeDockerfile(w, dockerfile) }
		return Build(t.Context(), engine, Request{Context: files, Tags: tags}, progress.Start(nil, 0, "build"))
	}
	const base = "127.0.0.1:1/hookbuild-test/base:1"
	err = build("FROM " + base + "\n")
	if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), base) || strings.Contains(err.Error(), "frontend") {
		t.Errorf("got %v", err)
	}
	if err := build("FROM scratch\nCOPY Dockerfile /\n", base); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeImage(t, engine, base) })
	if err := build("FROM " + base + "\n"); err != nil {
		t.Errorf("with the image in the engine: %v", err)
	}
}

func writeDockerfile(w io.Writer, text string) error {
	tw := tar.NewWriter(w)
	err := tw.WriteHeader(&tar.Header{Name: "Dockerfile", Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = io.WriteString(tw, text)
	}
	return errors.Join(err, tw.Close())
}

func removeImage(t *testing.T, engine *client.Client, ref string) {
	t.Helper()
	if _, err := engine.ImageRemove(context.WithoutCancel(t.Context()), ref, image.RemoveOptions{PruneChildren: true}); err != nil {
		t.Error(err)
	}
}
