package deliver

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/cache"
	"hookbuild/internal/dockerhost"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/test/testneed"
)

// maker counts how often an image is made.
type maker struct {
	image           v1.Image
	made, discarded int
}

func newMaker(t *testing.T) *maker {
	t.Helper()
	image, err := random.Image(1000, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &maker{image: image}
}

func (m *maker) produce(context.Context) (*Made, error) {
	m.made++
	return &Made{m.image, func() error { m.discarded++; return nil }}, nil
}

func (m *maker) id(t *testing.T) string {
	t.Helper()
	id, err := m.image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

// notes records what the user is told.
type notes struct {
	sync.Mutex
	text string
}

func (n *notes) Report(e progress.Event) {
	n.Lock()
	defer n.Unlock()
	n.text += e.Task + " " + e.Text + "\n"
}

func startRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// imagesFrom returns a client with an empty cache and these mirrors.
func imagesFrom(t *testing.T, mirrors ...oci.Mirror) *oci.Client {
	t.Helper()
	store, err := cache.Open(t.TempDir(), progress.Discard{})
	if err != nil {
		t.Fatal(err)
	}
	return oci.NewClient(oci.Options{Cache: store, Mirrors: mirrors})
}

// A kernel that only the mirror has is exported from there, unchanged; for a
// push only the registry itself counts.
func TestMirror(t *testing.T) {
	noDocker(t)
	m, told := newMaker(t), &notes{}
	const ref = "registry.invalid/hook-kernel:6.6.32-12345678"
	mirror := startRegistry(t)
	images := imagesFrom(t, oci.Mirror{From: "registry.invalid", To: mirror + "/copy"})
	o := Options{Client: images, Push: true, NoLoad: true, Progress: told}
	if err := Deliver(t.Context(), mirror+"/copy/hook-kernel:6.6.32-12345678", o, m.produce); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Deliver(t.Context(), ref, Options{Client: images, Export: dir + "/layout", NoLoad: true, Progress: told}, m.produce); err != nil {
		t.Fatal(err)
	}
	if got := layoutID(t, dir+"/layout"); got != m.id(t) || m.made != 1 {
		t.Errorf("the layout has %s, want %s; it was made %d times", got, m.id(t), m.made)
	}
	if err := Deliver(t.Context(), ref, o, m.produce); err == nil || !strings.Contains(err.Error(), "registry.invalid") {
		t.Errorf("pushing to a registry that is not there: %v", err)
	}
}

func noDocker(t *testing.T) {
	t.Helper()
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/none.sock")
}

// archiveID returns the ID of the image ref in an archive, or "" if the archive
// lacks it.
func archiveID(t *testing.T, path, ref string) string {
	t.Helper()
	find, err := archive(path).find(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if find == nil {
		return ""
	}
	made, err := find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := made.Image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

// TestDeliver puts one image into one place after the other: it is made once,
// and each place gets the same image.
func TestDeliver(t *testing.T) {
	noDocker(t)
	m, told := newMaker(t), &notes{}
	ref, dir := startRegistry(t)+"/hook-kernel:6.6.32-12345678", t.TempDir()
	for _, step := range []struct {
		name string
		o    Options
		made int
		say  string
	}{
		{"to an archive", Options{Export: dir + "/k.tar.gz"}, 1, "the image was not loaded into Docker"},
		{"to that archive again", Options{Export: dir + "/k.tar.gz"}, 1, "k.tar.gz already has "},
		{"from the archive to the registry", Options{Export: dir + "/k.tar.gz", Push: true}, 1, "push "},
		{"to the registry again", Options{Push: true}, 1, "the registry already has "},
		{"from the registry to a layout", Options{Export: dir + "/layout"}, 1, "the registry already has "},
		{"from the layout, offline", Options{Export: dir + "/layout", Offline: true, NoLoad: true}, 1, "layout already has "},
		{"to a directory of archives", Options{ExportDir: dir}, 1, "the registry already has "},
		{"by force", Options{Push: true, Force: true}, 2, "push "},
	} {
		told.text = ""
		step.o.Progress, step.o.Client = told, imagesFrom(t)
		if err := Deliver(t.Context(), ref, step.o, m.produce); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if m.made != step.made || m.discarded != step.made {
			t.Errorf("%s: the image was made %d times and discarded %d times, want %d", step.name, m.made, m.discarded, step.made)
		}
		if !strings.Contains(told.text, step.say) {
			t.Errorf("%s: the user is told %q, not %q", step.name, told.text, step.say)
		}
	}
	for _, file := range []string{"k.tar.gz", "hook-kernel-6.6.32-12345678.tar.gz"} {
		if got := archiveID(t, filepath.Join(dir, file), ref); got != m.id(t) {
			t.Errorf("%s has the image %s, not %s", file, got, m.id(t))
		}
	}
	if got := archiveID(t, filepath.Join(dir, "k.tar.gz"), "other:1"); got != "" {
		t.Errorf("the archive has the image other:1: %s", got)
	}
}

func TestNowhere(t *testing.T) {
	noDocker(t)
	m := newMaker(t)
	err := Deliver(t.Context(), "registry.invalid/k:1", Options{Offline: true}, m.produce)
	if err == nil || fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), "--export PATH or --push") {
		t.Errorf("without a Docker the error is %v", err)
	}
	if m.discarded != m.made {
		t.Error("the image's files are left")
	}
	told := &notes{}
	err = Deliver(t.Context(), "127.0.0.1:1/k:1", Options{NoLoad: true, Client: imagesFrom(t), Progress: told}, newMaker(t).produce)
	if err != nil || !strings.Contains(told.text, "no published kernel image could be looked up; building it here: looking for the kernel image: ") {
		t.Errorf("with a registry that cannot be asked: %v; the user is told %q", err, told.text)
	}
	err = Deliver(t.Context(), "127.0.0.1:1/k:1", Options{Push: true}, m.produce)
	if err == nil || fault.KindOf(err) != fault.Outside || m.made != 1 {
		t.Errorf("with a registry that does not answer: %v; made %d times", err, m.made)
	}
	if text := err.Error(); !strings.HasPrefix(text, `looking for the kernel image "127.0.0.1:1/k:1": asking 127.0.0.1:1: dial tcp`) || !strings.HasSuffix(text, "; check the network and HTTPS_PROXY") {
		t.Errorf("for a push to a registry that does not answer, the error is %v", err)
	}
}

// TestDocker exports an image that Docker has: Docker's copy is unchanged, and
// the export has its ID.
func TestDocker(t *testing.T) {
	testneed.Docker(t)
	m := newMaker(t)
	const ref = "hookbuild-test/deliver:6.6.32-12345678"
	api, err := dockerhost.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	t.Cleanup(func() { removeImage(t, ref) })
	if err := Deliver(t.Context(), ref, Options{Offline: true, Force: true}, m.produce); err != nil {
		t.Fatal(err)
	}
	before, err := api.ImageInspect(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, o := range []Options{
		{Offline: true, Export: dir + "/layout", NoLoad: true},
		{Offline: true, Export: dir + "/k.tar"},
		{Offline: true, NoLoad: true},
	} {
		if err := Deliver(t.Context(), ref, o, m.produce); err != nil {
			t.Fatal(err)
		}
	}
	if m.made != 1 {
		t.Errorf("the image was made %d times", m.made)
	}
	after, err := api.ImageInspect(t.Context(), ref)
	if err != nil || after.ID != before.ID || after.Metadata != before.Metadata {
		t.Errorf("Docker had %s, tagged %v; it has %s, tagged %v; %v", before.ID, before.Metadata, after.ID, after.Metadata, err)
	}
	if got := archiveID(t, dir+"/k.tar", ref); got != before.ID {
		t.Errorf("the archive has %s, Docker %s", got, before.ID)
	}
	if got := layoutID(t, dir+"/layout"); got != before.ID {
		t.Errorf("the layout has %s, Docker %s", got, before.ID)
	}
}

// TestDockerRefuses delivers an image that Docker cannot unpack, which Docker
// reports after it has answered 200.
func TestDockerRefuses(t *testing.T) {
	testneed.Docker(t)
	broken, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte("this is no tar archive"), types.DockerLayer))
	if err != nil {
		t.Fatal(err)
	}
	produce := func(context.Context) (*Made, error) { return &Made{broken, func() error { return nil }}, nil }
	const ref = "hookbuild-test/broken:6.6.32-12345678"
	err = Deliver(t.Context(), ref, Options{Offline: true, Force: true}, produce)
	if fault.KindOf(err) != fault.Outside || !strings.Contains(err.Error(), ref) {
		t.Errorf("the error is %v", err)
	}
}

// layoutID returns the ID of the one image in a layout.
func layoutID(t *testing.T, dir string) string {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil || len(list.Manifests) != 1 {
		t.Fatalf("the layout has %+v, %v", list, err)
	}
	image, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	id, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

// TestOtherArchive exports to an archive that contains another image.
func TestOtherArchive(t *testing.T) {
	noDocker(t)
	path := filepath.Join(t.TempDir(), "k.tar")
	tag, err := name.NewTag("other:1")
	if err != nil {
		t.Fatal(err)
	}
	m := newMaker(t)
	if err := tarball.WriteToFile(path, tag, m.image); err != nil {
		t.Fatal(err)
	}
	if err := Deliver(t.Context(), "k:1", Options{Offline: true, Export: path}, m.produce); err != nil {
		t.Fatal(err)
	}
	if m.made != 1 || archiveID(t, path, "k:1") == "" {
		t.Error("an archive with another image counts as one with this image")
	}
}

func removeImage(t *testing.T, ref string) {
	api, err := dockerhost.Connect(context.Background())
	if err != nil {
		t.Error(err)
		return
	}
	defer api.Close()
	if _, err := api.ImageRemove(context.Background(), ref, image.RemoveOptions{}); err != nil {
		t.Error(err)
	}
}
