//go:build e2e

package container

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/initramfs"
	"hookbuild/kernel/inspect"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// boot starts a compiled kernel in QEMU, with an initramfs compressed by zstd,
// and requires it to reach userspace and to load the modules.
func boot(t *testing.T, arch, vmlinuz, release string, modules map[string][]byte) {
	t.Helper()
	testneed.Tool(t, lab.Emulator(arch))
	dir := t.TempDir()
	program := filepath.Join(dir, "init")
	build := exec.Command(testneed.Tool(t, "go"), "build", "-o", program, "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	var tree initramfs.Tree
	for name, content := range modules {
		if err := tree.Add(initramfs.BytesFile("modules/"+name, content, initramfs.Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []initramfs.Entry{
		{Path: "proc", Type: initramfs.Dir, Mode: 0o755},
		{Path: "dev", Type: initramfs.Dir, Mode: 0o755},
		{Path: "dev/console", Type: initramfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1},
		{Path: "init", Mode: 0o755, Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(program) }},
	} {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	packed := filepath.Join(dir, "initramfs")
	f, err := os.Create(packed)
	if err != nil {
		t.Fatal(err)
	}
	if err := initramfs.WriteSegment(t.Context(), f, &tree, initramfs.SegmentOptions{Compression: initramfs.Zstd}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	console, err := lab.Boot(t.Context(), lab.Machine{Arch: arch, Kernel: vmlinuz, Initramfs: []string{packed}, MemoryMB: 512, Timeout: 5 * time.Minute})
	if err != nil || !strings.Contains(console, "userspace runs on Linux "+release) || strings.Contains(console, "its configuration has 0 bytes") {
		t.Errorf("%v\n%s", err, console)
	}
	for name := range modules {
		if !strings.Contains(console, "/modules/"+name+" is loaded: <nil>") || !strings.Contains(console, "the taint is 4096") {
			t.Errorf("%s is not loaded, or does not taint the kernel:\n%s", name, console)
		}
	}
}

// releaseOf returns a compiled kernel's release, after checking its
// architecture, configuration and modules.
func releaseOf(t *testing.T, dir, arch string) string {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "kernel"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	image, err := inspect.Identify(f, info.Size(), f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]; image.Arch != want {
		t.Errorf("the kernel is for %s, not %s", image.Arch, want)
	}
	facts, err := image.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(facts.Config), "CONFIG_IKCONFIG=y") || !strings.Contains(string(facts.Config), "CONFIG_LIBCRC32C=m") {
		t.Errorf("the configuration inside the kernel is\n%s", facts.Config)
	}
	list, err := exec.Command("tar", "-tf", filepath.Join(dir, "kernel.tar")).Output()
	if err != nil || !strings.Contains(string(list), "/libcrc32c.ko") {
		t.Errorf("libcrc32c is not among the modules, %v:\n%s", err, list)
	}
	return facts.Release
}
