package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
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

	"hookbuild/bundles"
	"hookbuild/embed"
	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kerneltest"
	"hookbuild/linuxkit/containers"
)

const miniTemplate = `kernel:
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

// site is a checkout and a registry with what it needs.
type site struct {
	dir  string
	host string
}

func newSite(t *testing.T) *site {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	s := &site{dir: t.TempDir(), host: strings.TrimPrefix(server.URL, "http://")}
	for file, content := range map[string]string{
		"linuxkit-templates/hook.template.yaml": miniTemplate,
		"kernel/configs/generic-6.6.y-x86_64":   "",
		"images/hook-init/Dockerfile":           "FROM scratch\n",
		"images/hook-hello/Dockerfile":          "FROM scratch\n",
		"images/hook-embedded/Dockerfile":       "FROM scratch\n",
		"note.txt":                              "note\n",
	} {
		writeFile(t, filepath.Join(s.dir, file), content)
	}
	list, err := containers.List(os.DirFS(s.dir), s.base(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]map[string]string{
		"hook-init":  {"init": "#!/bin/sh\n", "bin/sh": "shell"},
		"hook-hello": {"hello": "hello program"},
	}
	for _, c := range list {
		if files, ok := contents[c.Name]; ok {
			push(t, c.Reference, files)
		}
	}
	return s
}

func (s *site) base() string { return s.host + "/hook/" }

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// push makes an amd64 image of one layer and gives its digest.
func push(t *testing.T, ref string, files map[string]string) string {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, path := range slices.Sorted(keys(files)) {
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

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func diffIDs(t *testing.T, img v1.Image) []v1.Hash {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config.RootFS.DiffIDs
}

// newBuilder takes its kernel packages from a cache that the tests share, since
// they are long to unpack, and no segment: its salt is its own.
func newBuilder(t *testing.T, jobs int) *Builder {
	t.Helper()
	c, err := cache.Open(kerneltest.Dir(t, "build"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Builder{Cache: c, Client: oci.NewClient(oci.Options{Cache: c, Jobs: jobs}), Jobs: jobs, Version: "test", Salt: t.Name() + t.TempDir()}
}

func (s *site) request(t *testing.T, out string) Request {
	t.Helper()
	f, err := flavor.Find("hook-latest-lts-amd64")
	if err != nil {
		t.Fatal(err)
	}
	w, err := OpenWorkspace(s.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		Workspace: w, Flavor: f, Kernel: "deb:" + kerneltest.CloudKernel(t, "amd64"), ContainersBase: s.base(), Out: out,
		Layout: embed.Directory, Segment: initramfs.SegmentOptions{Compression: initramfs.Zstd},
		Embed: &Embed{List: bundles.List{{Source: s.host + "/actions/cexec:v1", Name: "127.0.0.1/embedded/cexec", RemoveSource: true}}},
	}
}

func TestHookOSIsReproducible(t *testing.T) {
	s := newSite(t)
	push(t, s.host+"/actions/cexec:v1", map[string]string{"bin/cexec": "the action", "etc/x": "y"})
	var sums []string
	for _, jobs := range []int{1, 3} {
		b := newBuilder(t, jobs)
		r := s.request(t, t.TempDir())
		r.Segment.Jobs = jobs
		result, err := b.HookOS(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		tarball, err := hashFile(result.Tarball)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, tarball)
		checkInitramfs(t, filepath.Join(result.Dir, "initramfs-x86_64"))
	}
	if sums[0] != sums[1] {
		t.Errorf("one job gives %s, three give %s", sums[0], sums[1])
	}
}

// checkInitramfs looks for the one file of each source that says it is there.
func checkInitramfs(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string]string{
		"init":                                  "#!/bin/sh\n",
		"containers/services/hello/lower/hello": "hello program",
		"etc/version":                           "0.11.1 hook-latest-lts-amd64 $HOME",
		"etc/note":                              "note\n",
	}
	repositories := false
	r := initramfs.NewReader(context.Background(), f, initramfs.Limits{})
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		repositories = repositories || strings.HasSuffix(record.Path, "image/overlay2/repositories.json")
		content, ok := want[record.Path]
		if !ok {
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != content {
			t.Errorf("%s: got %q", record.Path, got)
		}
		delete(want, record.Path)
	}
	if len(want) > 0 || !repositories {
		t.Errorf("missing %v; repositories.json there: %t", want, repositories)
	}
	if n := len(r.Segments()); n != 2 {
		t.Errorf("%d segments", n)
	}
}

func TestHookOSNamesWhatIsWrong(t *testing.T) {
	s := newSite(t)
	push(t, s.host+"/actions/cexec:v1", map[string]string{"bin/cexec": "the action"})
	tests := []struct {
		name   string
		change func(*Request)
		want   string
		kind   fault.Kind
	}{
		{"no such image", func(r *Request) { r.Embed.List[0].Source = s.host + "/actions/kexec:v1" }, "actions/kexec", fault.Outside},
		{"a wrong digest", func(r *Request) {
			r.Embed.List[0].Source = s.host + "/actions/cexec:v1@sha256:" + strings.Repeat("0", 64)
		}, "cexec", fault.Outside},
		{"no such template", func(r *Request) { r.Template = "peg" }, "peg.template.yaml", fault.Invalid},
		{"no such kernel", func(r *Request) { r.Kernel = "deb:missing.deb" }, "missing.deb", fault.Invalid},
		{"an unknown kind of kernel", func(r *Request) { r.Kernel = "zip:x" }, "deb:FILE", fault.Usage},
		{"a kernel of the other architecture", func(r *Request) {
			r.Kernel = "deb:" + kerneltest.CloudKernel(t, "arm64")
		}, "aarch64", fault.Invalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out := t.TempDir()
			r := s.request(t, out)
			test.change(&r)
			_, err := newBuilder(t, 2).HookOS(t.Context(), r)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v", err)
			}
			if got := fault.KindOf(err); got != test.kind {
				t.Errorf("exit code %d, want %d: %v", got, test.kind, err)
			}
			if left := names(t, out); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestTemplateFaultsAreNamed(t *testing.T) {
	s := newSite(t)
	for what, template := range map[string]string{
		"HOOK_CONTAINER_NOSUCH_IMAGE": strings.Replace(miniTemplate, "HOOK_CONTAINER_HELLO_IMAGE", "HOOK_CONTAINER_NOSUCH_IMAGE", 1),
		"comand":                      strings.Replace(miniTemplate, "command:", "comand:", 1),
		"/init":                       strings.Replace(miniTemplate, "HOOK_CONTAINER_INIT_IMAGE", "HOOK_CONTAINER_HELLO_IMAGE", 1),
		"note.txt":                    strings.Replace(miniTemplate, "source: note.txt", "source: missing/note.txt", 1),
	} {
		t.Run(what, func(t *testing.T) {
			writeFile(t, filepath.Join(s.dir, "linuxkit-templates/hook.template.yaml"), template)
			r := s.request(t, t.TempDir())
			r.Embed = nil
			_, err := newBuilder(t, 2).HookOS(t.Context(), r)
			if err == nil || !strings.Contains(err.Error(), what) || fault.KindOf(err) != fault.Invalid {
				t.Errorf("got %v (exit code %d)", err, fault.KindOf(err))
			}
		})
	}
}
