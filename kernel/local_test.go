package kernel

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/kernel/deliver"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// A kernel that was compiled here and is not published is used, unless a published one
// was built from the same files.
func TestKernelOfDocker(t *testing.T) {
	testneed.Docker(t)
	host, client := startRegistry(t)
	repository := host + "/hook/hook-kernel"
	packed := func(version string) v1.Image {
		m := installed(t, version, kerneltest.BzImage(t, version, ""))
		image, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	load(t, repository+":6.6.40-aaaaaaaa", packed("6.6.40"))
	o := OpenOptions{Options: options(t), Client: client}
	w := wanted{Repository: repository, Series: "6.6", Arch: "x86_64", Hash: "aaaaaaaa", HashOnly: true}

	find := func(want string) {
		t.Helper()
		image, err := o.findWanted(t.Context(), w)
		if err != nil || image.Source != want {
			t.Fatalf("found %+v, %v; want %s", image, err, want)
		}
	}
	find("daemon:" + repository + ":6.6.40-aaaaaaaa") // the registry has no such repository
	push(t, repository+":6.6.50-bbbbbbbb", packed("6.6.50"))
	find("daemon:" + repository + ":6.6.40-aaaaaaaa")
	w.Hash = "cccccccc"
	if _, err := o.findWanted(t.Context(), w); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "--kernel build") {
		t.Errorf("without a kernel of the checkout, the error is %v", err)
	}
	w.Hash = "aaaaaaaa"
	push(t, repository+":6.6.32-aaaaaaaa", packed("6.6.32"))
	find(repository + ":6.6.32-aaaaaaaa")
}

// Two kernels of one release in Docker, which have no manifest there, are told apart:
// each has its own modules.
func TestKernelsOfDockerHaveTheirOwnModules(t *testing.T) {
	testneed.Docker(t)
	o := OpenOptions{Options: options(t), Arch: "x86_64"}
	o.Client = oci.NewClient(oci.Options{Cache: o.Cache})
	for hash, module := range map[string]string{"aaaaaaaa": "first", "bbbbbbbb": "second"} {
		m := installed(t, "6.6.40", kerneltest.BzImage(t, "6.6.40", ""))
		path := "lib/modules/6.6.40/kernel/" + module + ".txt"
		if err := m.Modules.Add(initramfs.BytesFile(path, []byte(module), time.Unix(0, 0))); err != nil {
			t.Fatal(err)
		}
		packed, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		ref := "hookbuild-test/own-modules:6.6.40-" + hash
		load(t, ref, packed)
		opened, err := Open(t.Context(), "daemon:"+ref, o)
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		if _, ok := opened.Modules.Lookup(path); !ok {
			t.Errorf("the kernel with the digest %q has another's modules: %q", opened.Digest, paths(opened.Modules))
		}
	}
}

// load puts an image into Docker for the test.
func load(t *testing.T, ref string, built v1.Image) {
	t.Helper()
	produce := func(context.Context) (*deliver.Made, error) {
		return &deliver.Made{Image: built, Discard: func() error { return nil }}, nil
	}
	if err := deliver.Deliver(t.Context(), ref, deliver.Options{Offline: true, Force: true}, produce); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		api, err := dockerhost.Connect(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
			return
		}
		defer api.Close()
		if _, err := api.ImageRemove(context.WithoutCancel(t.Context()), ref, image.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
}
