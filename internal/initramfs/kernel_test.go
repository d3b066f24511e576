package initramfs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// TestKernelUnpacks boots Linux with segments of every kind and compares the
// files there with the result of [initramfs.Load].
func TestKernelUnpacks(t *testing.T) {
	testneed.Tool(t, "qemu-system-x86_64")
	kernel := kernelImage(t)
	file := filepath.Join(t.TempDir(), "initramfs")
	data := initramfs.BootFile(t)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	console, err := lab.Boot(t.Context(), lab.Machine{Arch: "amd64", Kernel: kernel, Initramfs: []string{file}, MemoryMB: 512, Cmdline: "quiet loglevel=1"})
	if err != nil {
		t.Fatal(err)
	}
	initramfs.CompareBoot(t, data, console)
}

// kernelImage returns the vmlinuz of Debian's cloud kernel.
func kernelImage(t *testing.T) string {
	t.Helper()
	testneed.Tool(t, "apt-get")
	dpkg := testneed.Tool(t, "dpkg-deb")
	l, err := lab.Open("")
	if err != nil {
		t.Fatal(err)
	}
	deb, err := l.Kernel(t.Context(), "amd64")
	if err != nil {
		testneed.Missing(t, "kernel", err.Error())
	}
	dir := t.TempDir()
	if out, err := exec.Command(dpkg, "-x", deb, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	return found[0]
}
