package chain

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// standIn returns a directory with a minimal HookOS: Debian's kernel, and an
// initramfs whose init prints the kernel's command line and powers off.
func standIn(t *testing.T, ctx context.Context) string {
	t.Helper()
	dir := t.TempDir()
	l, err := lab.Open("")
	if err != nil {
		t.Fatal(err)
	}
	deb, err := l.Kernel(ctx, "amd64")
	if err != nil {
		testneed.Missing(t, "apt", err.Error())
	}
	store, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	image, err := kernel.FromDeb(ctx, []string{deb}, kernel.Options{Cache: store})
	if err != nil {
		t.Fatal(err)
	}
	from, err := image.Kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	writeFile(t, filepath.Join(dir, "vmlinuz-x86_64"), func(w io.Writer) error {
		_, err := io.Copy(w, from)
		return err
	})
	tree := initTree(t)
	writeFile(t, filepath.Join(dir, "initramfs-x86_64"), func(w io.Writer) error {
		return initramfs.WriteSegment(ctx, w, tree, initramfs.SegmentOptions{Compression: "zstd", Jobs: 1})
	})
	return dir
}

func writeFile(t *testing.T, name string, fill func(io.Writer) error) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := fill(f); err != nil {
		t.Fatal(err)
	}
}

// initTree returns the root file system of the stand-in.
func initTree(t *testing.T) *initramfs.Tree {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "init")
	build := exec.Command(testneed.Tool(t, "go"), "build", "-o", binary, "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	epoch := time.Unix(0, 0)
	init := initramfs.BytesFile("init", content, epoch)
	init.Mode = 0o755
	tree := &initramfs.Tree{}
	for _, e := range []initramfs.Entry{
		{Path: "proc", Type: initramfs.Dir, Mode: 0o755, ModTime: epoch},
		{Path: "dev/console", Type: initramfs.CharDevice, Mode: 0o600, ModTime: epoch, Major: 5, Minor: 1},
		init,
	} {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}
