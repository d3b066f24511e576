// Package site gives tests the smallest place that a HookOS can be built at: a
// Hook checkout of four files, and a registry with the images it names. What it
// makes does not boot; package lab makes what does.
package site

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/linuxkit/containers"
)

// Template is the checkout's linuxkit-templates/hook.template.yaml.
const Template = `kernel:
  image: "${HOOK_KERNEL_IMAGE}"
  cmdline: "console=ttyS0"
init:
  - "${HOOK_CONTAINER_INIT_IMAGE}"
  - "${HOOK_CONTAINER_EMBEDDED_IMAGE}"
services:
  - name: hello
    image: "${HOOK_CONTAINER_HELLO_IMAGE}"
    command: ["/hello"]
files:
  - path: etc/version
    contents: "${HOOK_VERSION} ${HOOK_KERNEL_ID} $HOME"
  - path: etc/note
    source: note.txt
`

// Site is a checkout and a registry with what it needs.
type Site struct {
	// Dir is the checkout.
	Dir string
	// Host is the registry's "127.0.0.1:PORT"; it speaks HTTP.
	Host string
}

// New makes a site for amd64 that goes when the test ends. Wrap may stand
// before the registry; nil is nothing.
func New(t *testing.T, wrap func(http.Handler) http.Handler) *Site {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	s := &Site{Dir: t.TempDir(), Host: strings.TrimPrefix(server.URL, "http://")}
	for file, content := range map[string]string{
		"linuxkit-templates/hook.template.yaml": Template,
		"kernel/configs/generic-6.6.y-x86_64":   "",
		"images/hook-init/Dockerfile":           "FROM scratch\n",
		"images/hook-hello/Dockerfile":          "FROM scratch\n",
		"images/hook-embedded/Dockerfile":       "FROM scratch\n",
		"note.txt":                              "note\n",
	} {
		WriteFile(t, filepath.Join(s.Dir, file), content)
	}
	list, err := containers.List(t.Context(), os.DirFS(s.Dir), s.Base(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]map[string]string{
		"hook-init":  {"init": "#!/bin/sh\n", "bin/sh": "shell"},
		"hook-hello": {"hello": "hello program"},
	}
	for _, c := range list {
		if files, ok := contents[c.Name]; ok {
			Push(t, c.Reference, files)
		}
	}
	return s
}

// Base begins the references of the checkout's containers.
func (s *Site) Base() string { return s.Host + "/hook/" }

// WriteFile writes a file and the directories it lies in.
func WriteFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Push makes an amd64 image of one layer and gives its digest.
func Push(t *testing.T, ref string, files map[string]string) string {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o755, Size: int64(len(files[path]))})
		if err == nil {
			_, err = io.WriteString(tw, files[path])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers", DiffIDs: diffIDs(t, img)}})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func diffIDs(t *testing.T, img v1.Image) []v1.Hash {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config.RootFS.DiffIDs
}
