package kernel

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/kernel/deliver"
	"hookbuild/kernel/driver"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/modules"
	"hookbuild/kernel/plan"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// installed returns a kernel read from a directory.
func installed(t *testing.T, release string, image []byte) *Image {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "boot/vmlinuz-"+release), image)
	write(t, filepath.Join(dir, "boot/System.map-"+release), []byte("0 T start\n"))
	write(t, filepath.Join(dir, "boot/config-"+release), []byte("CONFIG_SQUASHFS=y\n"))
	write(t, filepath.Join(dir, "lib/modules", release, "modules.builtin"), []byte("kernel/fs/squashfs/squashfs.ko\n"))
	write(t, filepath.Join(dir, "dtbs/x/y.dtb"), []byte("tree"))
	m, err := fromDir(t.Context(), dir, options(t))
	if err == nil {
		err = m.Modules.Add(initramfs.BytesFile("lib/firmware/e100/d101m_ucode.bin", []byte("firmware"), time.Unix(0, 0)))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func startRegistry(t *testing.T) (host string, client *oci.Client) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	return host, oci.NewClient(oci.Options{Cache: options(t).Cache, Insecure: []string{host}})
}

// TestPackAndRead packs, pushes, pulls and reads a kernel.
func TestPackAndRead(t *testing.T) {
	for arch, kernel := range map[string][]byte{"amd64": kerneltest.BzImage(t, "6.6.32", ""), "arm64": kerneltest.Arm64Image("6.6.32")} {
		t.Run(arch, func(t *testing.T) {
			m := installed(t, "6.6.32", kernel)
			image, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir(), Labels: map[string]string{"org.hookbuild.flavor": "f"}})
			if err != nil {
				t.Fatal(err)
			}
			host, client := startRegistry(t)
			ref := host + "/hook/hook-kernel:6.6.32-12345678"
			push(t, ref, image)
			pulled, err := client.Image(t.Context(), ref, v1.Platform{OS: "linux", Architecture: arch})
			if err != nil {
				t.Fatal(err)
			}
			back, err := fromKernelImage(t.Context(), pulled, options(t))
			if err != nil {
				t.Fatal(err)
			}
			defer back.Close()
			compareImages(t, m, back)
			found, err := findLatest(t.Context(), client, wanted{Repository: host + "/hook/hook-kernel", Series: "6.6", Arch: m.Arch}, progress.Discard{})
			if err != nil {
				t.Fatal(err)
			}
			if found.Digest != pulled.Digest {
				t.Errorf("the latest is %s, pushed was %s", found.Digest, pulled.Digest)
			}
			other := map[string]string{"x86_64": "aarch64", "aarch64": "x86_64"}[m.Arch]
			if _, err := findLatest(t.Context(), client, wanted{Repository: host + "/hook/hook-kernel", Series: "6.6", Arch: other}, progress.Discard{}); err == nil {
				t.Errorf("a kernel for %s was found for %s", m.Arch, other)
			}
		})
	}
}

func compareImages(t *testing.T, want, got *Image) {
	t.Helper()
	if got.Arch != want.Arch || got.Release != want.Release || got.SystemMap == nil || got.Config == nil {
		t.Errorf("the image is read as %+v", got)
	}
	if a, b := paths(want.Modules), paths(got.Modules); !slices.Equal(a, b) {
		t.Errorf("the modules are %q, were %q", b, a)
	}
	if a, b := paths(want.DTBs), paths(got.DTBs); !slices.Equal(a, b) {
		t.Errorf("the device trees are %q, were %q", b, a)
	}
	a, errA := readSmall(t.Context(), want.Kernel, 1<<30)
	b, errB := readSmall(t.Context(), got.Kernel, 1<<30)
	if string(a) != string(b) || errA != nil || errB != nil {
		t.Errorf("the kernel has %d bytes, had %d; %v, %v", len(b), len(a), errA, errB)
	}
}

func TestPackIsReproducible(t *testing.T) {
	digests := map[string]bool{}
	var packed int64
	for i := range 2 {
		m := installed(t, "6.6.32", kerneltest.BzImage(t, "6.6.32", ""))
		m.Source = "dir:same"
		for i > 0 && time.Now().Unix() == packed { // so that files get another time
			time.Sleep(10 * time.Millisecond)
		}
		packed = time.Now().Unix()
		image, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[digest.String()] = true
	}
	if len(digests) != 1 {
		t.Errorf("the same kernel packed twice gives %v", digests)
	}
}

func TestWrongLabel(t *testing.T) {
	m := installed(t, "6.6.32", kerneltest.BzImage(t, "6.6.32", ""))
	image, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Architecture = "arm64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	host, client := startRegistry(t)
	push(t, host+"/k:1", image)
	pulled, err := client.Image(t.Context(), host+"/k:1", v1.Platform{OS: "linux", Architecture: "arm64"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fromKernelImage(t.Context(), pulled, options(t)); err == nil || !strings.Contains(err.Error(), "labelled arm64, but its kernel is for x86_64") {
		t.Errorf("the error is %v", err)
	}
	push(t, host+"/k:2", empty.Image)
	pulled, err = client.Image(t.Context(), host+"/k:2", v1.Platform{OS: "linux", Architecture: "amd64"})
	if err == nil {
		_, err = fromKernelImage(t.Context(), pulled, options(t))
	}
	if err == nil {
		t.Error("an empty image is taken for a kernel")
	}
}

// TestExport reads exports with our own reader and with skopeo.
func TestExport(t *testing.T) {
	m := installed(t, "6.6.32", kerneltest.BzImage(t, "6.6.32", ""))
	image, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, client := startRegistry(t)
	for path, source := range map[string]string{"layout": "oci:" + dir + "/layout:k:1", "image.tar.gz": "docker-archive:" + dir + "/image.tar.gz"} {
		for range 2 { // the second export replaces the first
			o := deliver.Options{NoLoad: true, Offline: true, Force: true, Export: filepath.Join(dir, path)}
			err := deliver.Deliver(t.Context(), "k:1", o, func(context.Context) (*deliver.Made, error) {
				return &deliver.Made{Image: image, Discard: func() error { return nil }}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		pulled, err := client.Image(t.Context(), source, v1.Platform{OS: "linux", Architecture: "amd64"})
		if err != nil {
			t.Fatal(err)
		}
		back, err := fromKernelImage(t.Context(), pulled, options(t))
		if err != nil {
			t.Fatal(err)
		}
		defer back.Close()
		compareImages(t, m, back)
	}
	out, err := exec.Command(testneed.Tool(t, "skopeo"), "inspect", "oci:"+dir+"/layout:k:1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"Architecture": "amd64"`) {
		t.Errorf("skopeo: %v\n%s", err, out)
	}
}

// TestOpenExported opens exported kernels of either architecture without
// specifying which.
func TestOpenExported(t *testing.T) {
	for arch, kernel := range map[string][]byte{"x86_64": kerneltest.BzImage(t, "6.6.32", ""), "aarch64": kerneltest.Arm64Image("6.6.32")} {
		m := installed(t, "6.6.32", kernel)
		image, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		_, client := startRegistry(t)
		for _, path := range []string{"layout", "image.tar"} {
			o := deliver.Options{NoLoad: true, Offline: true, Force: true, Export: filepath.Join(dir, path)}
			err := deliver.Deliver(t.Context(), "k:1", o, func(context.Context) (*deliver.Made, error) {
				return &deliver.Made{Image: image, Discard: func() error { return nil }}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, ref := range []string{"oci:" + dir + "/layout", "docker-archive:" + dir + "/image.tar", "image:oci:" + dir + "/layout:k:1"} {
			back, err := Open(t.Context(), ref, OpenOptions{Options: options(t), Client: client})
			if err != nil {
				t.Errorf("%s: %v", ref, err)
				continue
			}
			if back.Arch != arch {
				t.Errorf("%s is for %s, want %s", ref, back.Arch, arch)
			}
			if err := back.Close(); err != nil {
				t.Error(err)
			}
			arches, err := Arches(t.Context(), ref, OpenOptions{Options: options(t), Client: client})
			if err != nil || !slices.Equal(arches, []string{arch}) {
				t.Errorf("%s is for %q, want %s: %v", ref, arches, arch, err)
			}
		}
		damaged := filepath.Join(dir, "damaged.tar")
		write(t, damaged, []byte("<html>"))
		arches, err := Arches(t.Context(), "docker-archive:"+damaged, OpenOptions{Options: options(t), Client: client})
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "HTML") {
			t.Errorf("a file that is not an image is for %q, error %v", arches, err)
		}
	}
}

// TestImageWithItsDrivers opens a kernel image that has the modules of a driver, with
// that driver, which nothing is built for, and with another.
func TestImageWithItsDrivers(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	source := func(text string) driver.Spec {
		dir := filepath.Join(t.TempDir(), "ours")
		write(t, filepath.Join(dir, "Kbuild"), []byte("obj-m := ours.o\n"))
		write(t, filepath.Join(dir, "ours.c"), []byte(text))
		return driver.Spec{Source: dir}
	}
	ours := source("first")
	o := OpenOptions{Options: options(t), Drivers: []driver.Spec{ours}}
	drivers, err := o.openDrivers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := installed(t, "6.6.32", kerneltest.BzImage(t, "6.6.32", ""))
	m.drivers = digestsOf(drivers)
	if err := driver.CloseAll(drivers); err != nil {
		t.Fatal(err)
	}
	image, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	host, client := startRegistry(t)
	ref := host + "/hook-kernel:6.6.32"
	push(t, ref, image)
	o.Client = client
	same, err := Open(t.Context(), "image:"+ref, o)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := image.Digest(); err != nil || same.Digest != want.String() {
		t.Errorf("the kernel is %s, want %s, %v", same.Digest, want, err)
	}
	if err := same.Close(); err != nil {
		t.Error(err)
	}
	o.Arch = "x86_64"
	pinned, err := Pin(t.Context(), "image:"+ref, o)
	if err != nil || len(pinned.Drivers) != 1 || pinned.Builder != nil {
		t.Errorf("a container is wanted, for nothing: %+v, %v", pinned, err)
	}
	for name, other := range map[string][]driver.Spec{"another": {source("second")}, "one more": {ours, source("second")}} {
		o.Drivers = other
		if len(other) > 1 {
			o.Drivers[1].Name = "more"
		}
		if _, err := Open(t.Context(), "image:"+ref, o); err == nil || !strings.Contains(err.Error(), "the kernel comes without its headers") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReferences: errors in a reference are found before any work.
func TestReferences(t *testing.T) {
	source, err := flavor.Upstream().Find("hook-latest-lts-amd64")
	if err != nil {
		t.Fatal(err)
	}
	armbian, err := flavor.Upstream().Find("armbian-uefi-x86-edge")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ref   string
		f     flavor.Flavor
		place bool
		say   string
	}{
		{"", source, false, ""}, {"latest", source, false, ""}, {"build", source, false, ""}, {"latest", armbian, false, ""},
		{"image:r/k:1", flavor.Flavor{}, true, ""}, {"oci:d", flavor.Flavor{}, true, ""}, {"daemon:k:1", source, true, ""},
		{"deb:a.deb,b.deb", flavor.Flavor{}, true, ""}, {"dir:/boot", source, true, ""},
		{"build", armbian, false, "comes ready-made from Armbian"},
		{"latest", flavor.Flavor{}, false, "no flavor was named"},
		{"zip:x", source, false, "one of latest, build, image:REF, deb:FILE, dir:DIR"},
		{"latest:6.6", source, false, "use one of latest"}, {"image", source, false, "use one of latest"}, {"vmlinuz", source, false, "use one of latest"},
		{"../deb/linux-image.deb", source, false, "; did you mean deb:../deb/linux-image.deb?"},
	} {
		if got := IsPlace(c.ref); got != c.place {
			t.Errorf("%q is a place: %v, want %v", c.ref, got, c.place)
		}
		err := CheckReference(c.ref, OpenOptions{Plan: plan.Request{Flavor: c.f}})
		switch {
		case c.say == "" && err != nil:
			t.Errorf("%q for %q: %v", c.ref, c.f.ID, err)
		case c.say != "" && (err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.say)):
			t.Errorf("%q for %q: %v; it should say %q", c.ref, c.f.ID, err, c.say)
		}
	}
}

// TestArmbian builds an artifact like Armbian's and reads its kernel.
func TestArmbian(t *testing.T) {
	host, client := startRegistry(t)
	package_ := kerneltest.MakeDeb(t, "Package: linux-image-edge-x86\nVersion: 24\nArchitecture: amd64\n", map[string]string{
		"./boot/vmlinuz-6.8.9-edge-x86":                        string(kerneltest.BzImage(t, "6.8.9-edge-x86", "")),
		"./lib/modules/6.8.9-edge-x86/modules.builtin":         "kernel/fs/squashfs/squashfs.ko\n",
		"./usr/lib/linux-image-6.8.9-edge-x86/rockchip/rk.dtb": "tree",
		"./usr/share/doc/linux-image-6.8.9-edge-x86/copyright": "GPL",
	})
	archive := kerneltest.Tar(t, map[string]string{"global/linux-headers-edge.deb": "x", "global/linux-image-edge-x86_24_amd64.deb": string(package_)})
	kerneltest.PushArtifact(t, host+"/os/kernel-x86-edge:6.8.9-Sab12-D1", "kernel.tar", archive)
	kerneltest.PushArtifact(t, host+"/os/kernel-x86-edge:6.8.10-Sab12-D1", "readme.txt", []byte("no kernel"))
	kerneltest.PushArtifact(t, host+"/os/kernel-x86-edge:latest", "readme.txt", []byte("no kernel"))
	m, err := fromArmbian(t.Context(), client, host+"/os/kernel-x86-edge:6.8.9-Sab12-D1", options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Release != "6.8.9-edge-x86" || m.Arch != "x86_64" || !slices.Equal(paths(m.DTBs), []string{"rockchip/rk.dtb"}) {
		t.Errorf("the kernel is read as %+v", m)
	}
	latest, err := latestArmbian(t.Context(), client, host+"/os/kernel-x86-edge")
	if err != nil || latest != host+"/os/kernel-x86-edge:6.8.10-Sab12-D1" {
		t.Errorf("the newest is %q, %v", latest, err)
	}
	if _, err := fromArmbian(t.Context(), client, latest, options(t)); err == nil || !strings.Contains(err.Error(), "holds no .tar file") {
		t.Errorf("an artifact without a kernel gives %v", err)
	}
}

func push(t *testing.T, ref string, image v1.Image) {
	t.Helper()
	parsed, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(parsed, image, remote.WithContext(context.Background())); err != nil {
		t.Fatal(err)
	}
}

// TestSelect keeps a few modules of a real kernel and adds their firmware.
func TestSelect(t *testing.T) {
	o := options(t)
	m, err := FromDeb(t.Context(), []string{kerneltest.CloudKernel(t, "amd64")}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	firmware := &initramfs.Tree{}
	set, err := modules.Read(t.Context(), m.Modules, m.Release, 0)
	if err != nil {
		t.Fatal(err)
	}
	asked := ""
	for _, use := range set.Firmware() {
		if !use.BuiltIn && !strings.ContainsAny(use.Name, "*?[") {
			asked = use.Name
			break
		}
	}
	if err := firmware.Add(initramfs.BytesFile("lib/firmware/"+asked, []byte("fw"), initramfs.Epoch())); err != nil {
		t.Fatal(err)
	}
	selection, err := m.keepChosen(t.Context(), modules.Choice{Exclude: []string{"fs/btrfs"}}, firmware, o)
	if err != nil {
		t.Fatal(err)
	}
	if selection.Kept >= selection.Total || selection.Kept < selection.Total/2 {
		t.Errorf("%d of %d modules were kept", selection.Kept, selection.Total)
	}
	all := paths(m.Modules)
	if slices.ContainsFunc(all, func(p string) bool { return strings.Contains(p, "/btrfs.ko") }) {
		t.Error("an excluded module is still there")
	}
	if asked != "" && !slices.Contains(all, "lib/firmware/"+asked) {
		t.Errorf("the firmware %s was not added", asked)
	}
	openChosen(t, m, asked)
}

// openChosen packs a kernel of which modules were chosen, and opens the image with the
// same choice and firmware, as CI does, and with another choice.
func openChosen(t *testing.T, m *Image, firmware string) {
	t.Helper()
	image, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	host, client := startRegistry(t)
	ref := host + "/hook-kernel:chosen"
	push(t, ref, image)
	o := OpenOptions{Options: options(t), Client: client}
	o.Plan.Firmware = t.TempDir()
	write(t, filepath.Join(o.Plan.Firmware, firmware), []byte("fw"))
	o.Plan.Modules.Exclude = []string{"fs/btrfs"}
	same, err := Open(t.Context(), "image:"+ref, o)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paths(same.Modules), paths(m.Modules); !slices.Equal(got, want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	if err := same.Close(); err != nil {
		t.Error(err)
	}
	o.Plan.Modules.Include = []string{"fs/btrfs"}
	if _, err := Open(t.Context(), "image:"+ref, o); err == nil || !strings.Contains(err.Error(), "matches none") {
		t.Errorf("another choice: %v", err)
	}
}
