package main

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/initramfs"
	"hookbuild/test/lab/site"
)

// privateRegistry is a registry with a certificate that the system does not
// know, and the certificate in PEM form. It also serves a file, /file.
func privateRegistry(t *testing.T, file string) (host string, certificate []byte, at *httptest.Server) {
	t.Helper()
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/file" {
			http.ServeFile(w, r, file)
			return
		}
		images.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "https://")
	return host, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), server
}

// pushTools pushes an image of amd64.
func pushTools(t *testing.T, ref string, through http.RoundTripper) {
	t.Helper()
	layer, err := random.Layer(100, types.OCIUncompressedLayer)
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(parsed, image, remote.WithTransport(through)); err != nil {
		t.Fatal(err)
	}
}

// A registry and a web server of a private authority are used with --ca-file,
// and not without.
func TestCAFile(t *testing.T) {
	dir := t.TempDir()
	in, ca := filepath.Join(dir, "in"), filepath.Join(dir, "ca.pem")
	baseInitramfs(t, in, initramfs.None)
	host, certificate, server := privateRegistry(t, in)
	pushTools(t, host+"/tools:1", server.Client().Transport)
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	s := site.New(t, nil)
	args := []string{"embed", "--initramfs", "https://" + host + "/file", "-o", filepath.Join(dir, "out"), "--image", host + "/tools:1=127.0.0.1/embedded/tools"}
	e := embedding{t, s, t.TempDir()}
	if got := e.run(4, args...); !strings.Contains(got.stderr, "certificate") {
		t.Errorf("without --ca-file: %s", got.stderr)
	}
	e.run(0, append(args, "--ca-file", ca)...)
	want(t, e.list(filepath.Join(dir, "out")), "127.0.0.1/embedded/tools:latest")

	got := e.run(3, append(args, "--ca-file", filepath.Join(dir, "none.pem"))...)
	if !strings.Contains(got.stderr, "none.pem") || !strings.Contains(got.stderr, "give a file with certificates in PEM form") {
		t.Error(got.stderr)
	}
	if got := e.run(3, append(args, "--ca-file", in)...); !strings.Contains(got.stderr, "it has no certificate") {
		t.Error(got.stderr)
	}
}
