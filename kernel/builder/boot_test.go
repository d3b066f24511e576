//go:build e2e

package builder

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// boot starts a compiled kernel in QEMU, with an initramfs compressed by zstd,
// and wants it to reach userspace.
func boot(t *testing.T, arch, vmlinuz, release string) {
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
}

// releaseOf reads a compiled kernel's release the way hookbuild does.
func releaseOf(t *testing.T, dir, arch string) string {
	t.Helper()
	m, err := kernel.FromDir(t.Context(), dir, kernelOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if kernel.DockerArch(m.Arch) != arch {
		t.Errorf("the kernel is for %s, not %s", m.Arch, arch)
	}
	features, err := m.Features(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if features.Option("CONFIG_IKCONFIG") != kernel.BuiltIn || features.Option("CONFIG_LIBCRC32C") != kernel.Module {
		t.Errorf("IKCONFIG is %v, LIBCRC32C is %v", features.Option("CONFIG_IKCONFIG"), features.Option("CONFIG_LIBCRC32C"))
	}
	set, err := m.ModuleSet(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := set.Lookup("libcrc32c"); !ok {
		t.Errorf("libcrc32c is not among the %d modules", len(set.Modules))
	}
	return m.Release
}
