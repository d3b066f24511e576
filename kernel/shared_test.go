package kernel

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"

	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/oci"
	"hookbuild/internal/shared"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/plan"
	"hookbuild/test/kerneltest"
)

// newSharer returns the options of a machine with an empty cache that shares with
// the repository. There is no Docker Engine.
func newSharer(t *testing.T, repository string) (OpenOptions, *shared.Cache) {
	t.Helper()
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	client := oci.NewClient(oci.Options{Cache: c})
	s := shared.New(shared.Options{Client: client, From: []string{repository}, To: repository})
	c.WithRemote(s)
	f, err := flavor.Upstream().Find("hook-latest-lts-amd64")
	if err != nil {
		t.Fatal(err)
	}
	hook, err := filepath.Abs("../testdata/hook")
	if err != nil {
		t.Fatal(err)
	}
	return OpenOptions{
		Options: Options{Cache: c}, Client: client, Arch: "x86_64", Built: t.TempDir(), Time: time.Unix(1_700_000_000, 0),
		Plan: plan.Request{Flavor: f, HookDir: hook, PointRelease: "32", Strip: true},
	}, s
}

// A kernel that one machine compiled is opened on another without a Docker Engine.
func TestCompiledKernelIsShared(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/team/cache"
	first, to := newSharer(t, repository)
	if _, err := Open(t.Context(), "build", first); err == nil || !strings.Contains(err.Error(), "Docker") {
		t.Fatalf("without a Docker Engine a kernel is compiled: %v", err)
	}
	keep(t, first)
	if err := to.Push(t.Context()); err != nil {
		t.Fatal(err)
	}

	second, _ := newSharer(t, repository)
	p, err := second.resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if place, size, err := second.Shared(t.Context(), p); place != repository || size == 0 || err != nil {
		t.Errorf("it is at %q with %d bytes, %v", place, size, err)
	}
	m, err := Open(t.Context(), "build", second)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	again, err := Open(t.Context(), "build", first)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if m.Release != "6.6.32" || m.Source != "build:"+p.Reference || m.Digest != again.Digest || m.Modules.Len() == 0 || m.Modules.Len() != again.Modules.Len() {
		t.Errorf("got %v with %d files and %s, want %v with %d files and %s", m, m.Modules.Len(), m.Digest, again, again.Modules.Len(), again.Digest)
	}

	for name, change := range map[string]func(*OpenOptions){
		"an option":   func(o *OpenOptions) { o.Plan.Sets = []string{"CONFIG_ICE=m"} },
		"the release": func(o *OpenOptions) { o.Plan.PointRelease = "33" },
		"the time":    func(o *OpenOptions) { o.Time = time.Unix(1_700_000_001, 0) },
		"stripping":   func(o *OpenOptions) { o.Plan.Strip = false },
		"the builder": func(o *OpenOptions) { o.Container.Image = "registry.example/builder:1" },
		"the base":    func(o *OpenOptions) { o.Container.Base = "debian:12" },
		"--force":     func(o *OpenOptions) { o.Fresh = true },
	} {
		other, _ := newSharer(t, repository)
		change(&other)
		if _, err := Open(t.Context(), "build", other); err == nil || !strings.Contains(err.Error(), "Docker") {
			t.Errorf("with another value of %s the kernel is not compiled: %v", name, err)
		}
	}
}

// A compiled kernel names the patches and the firmware that it was opened with.
func TestOpenedKernelNamesWhatWasAdded(t *testing.T) {
	o, _ := newSharer(t, "registry.invalid/team/cache")
	change, firmware := filepath.Join(t.TempDir(), "fix.patch"), t.TempDir()
	kerneltest.WriteFile(t, change, []byte("--- a/Makefile\n+++ b/Makefile\n@@ -1 +1 @@\n-VERSION = 6\n+VERSION = 7\n"))
	kerneltest.WriteFile(t, filepath.Join(firmware, "x.bin"), []byte("firmware"))
	o.Plan.Patches, o.Plan.Firmware = []string{change}, firmware
	keep(t, o)
	m, err := Open(t.Context(), "build", o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pinned, err := o.pinFirmware(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sum, err := digest.OfFile(t.Context(), change)
	want := Additions{Firmware: pinned, Patches: []PinnedFile{{change, sum}}}
	if diff := cmp.Diff(want, m.Added); diff != "" || err != nil {
		t.Errorf("%s%v", diff, err)
	}
}

// keep puts a kernel into the cache as if it had been compiled there.
func keep(t *testing.T, o OpenOptions) {
	t.Helper()
	p, err := o.resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, err := o.compiledKey(p)
	if err != nil || key == "" {
		t.Fatalf("key %q, %v", key, err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"kernel":     kerneltest.BzImage(t, "6.6.32", ""),
		"kernel.tar": kerneltest.Tar(t, map[string]string{"lib/modules/6.6.32/modules.builtin": ""}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, _, err := o.Cache.Derived(t.Context(), compiledKind, key, func(w io.Writer) error { return writeDir(context.Background(), w, dir) })
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestUnpackDirRefusesOtherFiles(t *testing.T) {
	for _, name := range []string{"../x", "a/b", "/etc/x", "..", `a\b`} {
		dir := filepath.Join(t.TempDir(), "kernel")
		archive := kerneltest.Tar(t, map[string]string{name: "x"})
		if err := unpackDir(strings.NewReader(string(archive)), dir); err == nil {
			t.Errorf("%q is unpacked", name)
		}
		if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
			t.Errorf("%q leaves %v %v", name, left, err)
		}
	}
}
