package kernel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel/modules"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// packedKernel returns a directory with Debian's cloud kernel whose modules are
// compressed, in turn with zstd, xz and gzip.
func packedKernel(t *testing.T) (dir, release string) {
	t.Helper()
	files := kerneltest.Unpacked(t, kerneltest.CloudKernel(t, "amd64"))
	vmlinuz, err := filepath.Glob(filepath.Join(files, "boot/vmlinuz-*"))
	if err != nil || len(vmlinuz) != 1 {
		t.Fatalf("%v, %v", vmlinuz, err)
	}
	dir = t.TempDir()
	release = strings.TrimPrefix(filepath.Base(vmlinuz[0]), "vmlinuz-")
	content, err := os.ReadFile(vmlinuz[0])
	if err != nil {
		t.Fatal(err)
	}
	kerneltest.WriteFile(t, filepath.Join(dir, "vmlinuz-"+release), content)
	tree := kerneltest.Tree(t, files)
	n := 0
	for e := range tree.All() {
		wanted := strings.Contains(e.Path, "/fs/squashfs/") || strings.Contains(e.Path, "/drivers/block/") || strings.Contains(e.Path, "/fs/overlayfs/")
		if !strings.HasPrefix(e.Path, modules.Root(release)+"/") || e.Type != initramfs.Regular || modules.IsModule(e.Path) && !wanted {
			continue
		}
		content := kerneltest.Content(t, tree, e.Path)
		name := filepath.Join(dir, e.Path)
		if modules.IsModule(e.Path) {
			suffix := []string{".zst", ".xz", ".gz"}[n%3]
			if strings.Contains(e.Path, "squashfs") {
				suffix = ".zst"
			}
			content, name = packed(t, suffix, content), name+suffix
			n++
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		kerneltest.WriteFile(t, name, content)
	}
	if n < 3 {
		t.Fatalf("only %d modules", n)
	}
	return dir, release
}

func packed(t *testing.T, suffix string, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch suffix {
	case ".zst":
		w, err = zstd.NewWriter(&out)
	case ".xz":
		w, err = xz.NewWriter(&out)
	case ".gz":
		w = gzip.NewWriter(&out)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(plain)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestPackedModules unpacks compressed modules, checks the indexes with depmod,
// and boots a machine whose busybox loads squashfs from them. The same machine
// with the original modules must fail, or the boot would prove nothing.
func TestPackedModules(t *testing.T) {
	dir, release := packedKernel(t)
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := fromDir(t.Context(), dir, Options{Cache: c, KeepPacked: true})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	m, err := fromDir(t.Context(), dir, Options{Cache: c})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for e := range m.Modules.All() {
		if modules.PlainName(e.Path) != e.Path {
			t.Errorf("%s is still compressed", e.Path)
		}
	}
	if m.Digest == raw.Digest {
		t.Error("other modules have the same digest")
	}
	judgeIndexes(t, m, release)

	testneed.Tool(t, lab.Emulator("amd64"))
	image := squashfsFile(t)
	if console := bootModules(t, raw, image); strings.Contains(console, "MOUNTED") {
		t.Errorf("busybox reads compressed modules, so that the boot proves nothing:\n%s", console)
	}
	if console := bootModules(t, m, image); !strings.Contains(console, "MOUNTED the-content") {
		t.Errorf("squashfs was not loaded:\n%s", console)
	}
}

// judgeIndexes compares modules.dep and modules.alias with depmod's. The order of
// modules that modules.order does not list is that in which depmod finds their
// files, so the lines are compared without their order.
func judgeIndexes(t *testing.T, m *Image, release string) {
	t.Helper()
	dir := t.TempDir()
	for e := range m.Modules.All() {
		if e.Type == initramfs.Regular {
			name := filepath.Join(dir, e.Path)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			kerneltest.WriteFile(t, name, kerneltest.Content(t, m.Modules, e.Path))
		}
	}
	depmod := testneed.Tool(t, "depmod")
	if out, err := exec.Command(depmod, "-b", dir, release).CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	for _, name := range []string{"modules.dep", "modules.alias"} {
		want, err := os.ReadFile(filepath.Join(dir, modules.Root(release), name))
		if err != nil {
			t.Fatal(err)
		}
		got := kerneltest.Content(t, m.Modules, path.Join(modules.Root(release), name))
		if diff := cmp.Diff(sortedLines(want), sortedLines(got)); diff != "" {
			t.Errorf("%s differs from depmod's (-) here (+):\n%s", name, diff)
		}
	}
}

func sortedLines(text []byte) []string {
	return slices.Sorted(strings.Lines(string(text)))
}

func squashfsFile(t *testing.T) []byte {
	t.Helper()
	from, name := t.TempDir(), filepath.Join(t.TempDir(), "image")
	kerneltest.WriteFile(t, filepath.Join(from, "file"), []byte("the-content\n"))
	if out, err := exec.Command(testneed.Tool(t, "mksquashfs"), from, name, "-comp", "gzip", "-quiet", "-no-progress").CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// bootModules boots a busybox that mounts the image, and returns the console.
func bootModules(t *testing.T, m *Image, image []byte) string {
	t.Helper()
	return bootWith(t, m, map[string][]byte{"image": image}, `/bin/busybox modprobe loop
/bin/busybox modprobe squashfs
/bin/busybox mount -t squashfs -o loop,ro /image /mnt && echo "MOUNTED $(/bin/busybox cat /mnt/file)"`)
}

// bootWith boots a busybox with the modules of m, which runs the commands, and
// returns the console.
func bootWith(t *testing.T, m *Image, files map[string][]byte, commands string) string {
	t.Helper()
	busybox, err := os.ReadFile(testneed.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	init := `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
` + commands + `
/bin/busybox poweroff -f
`
	all := map[string][]byte{"bin/busybox": busybox, "init": []byte(init)}
	maps.Copy(all, files)
	tree := &initramfs.Tree{}
	add := func(e initramfs.Entry) {
		t.Helper()
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"proc", "dev", "mnt"} {
		add(initramfs.Entry{Path: name, Type: initramfs.Dir, Mode: 0o755})
	}
	add(initramfs.Entry{Path: "dev/console", Type: initramfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1})
	for name, content := range all {
		e := initramfs.BytesFile(name, content, initramfs.Epoch())
		e.Mode = 0o755
		add(e)
	}
	if err := tree.Graft("", m.Modules); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name, vmlinuz := filepath.Join(dir, "initramfs"), filepath.Join(dir, "vmlinuz")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(initramfs.WriteSegment(t.Context(), f, tree, initramfs.SegmentOptions{Compression: initramfs.Gzip}), f.Close()); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := initramfs.CopyContent(t.Context(), &file, m.Kernel); err != nil {
		t.Fatal(err)
	}
	kerneltest.WriteFile(t, vmlinuz, file.Bytes())
	console, err := lab.Boot(t.Context(), lab.Machine{Arch: "amd64", Kernel: vmlinuz, Initramfs: []string{name}, MemoryMB: 512, Timeout: 3 * time.Minute})
	if err != nil {
		t.Logf("the machine: %v", err)
	}
	return console
}

func TestDamagedPackedModule(t *testing.T) {
	tree := &initramfs.Tree{}
	if err := tree.Add(initramfs.BytesFile("lib/modules/1/a.ko.zst", []byte("\x28\xb5\x2f\xfdjunk"), initramfs.Epoch())); err != nil {
		t.Fatal(err)
	}
	err := writePlain(t.Context(), io.Discard, tree)
	if err == nil || !strings.Contains(err.Error(), "a.ko.zst") || fault.KindOf(err) != fault.Invalid {
		t.Errorf("a damaged module gives %v", err)
	}
}
