package squashfs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	backend "github.com/diskfs/go-diskfs/backend/file"
	diskfs "github.com/diskfs/go-diskfs/filesystem/squashfs"
	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/initramfs"
	"hookbuild/test/testneed"
	"hookbuild/test/treetest"
)

// samples returns trees to test a writer with.
func samples(t testing.TB) map[string]*initramfs.Tree {
	all := map[string]*initramfs.Tree{"empty": {}, "everything": everything(t), "wide": wide(t, 3000)}
	for seed := range uint64(4) {
		all[fmt.Sprintf("grown %d", seed)] = grown(seed)
	}
	return all
}

// options returns the options of the images.
func options() map[string]Options {
	return map[string]Options{
		"gzip":   {ModTime: time.Unix(1e9, 0)},
		"zstd":   {Compression: Zstd, Level: 3, BlockSize: 1 << 20},
		"small":  {Compression: Gzip, BlockSize: 4 << 10, Level: 1},
		"xz":     {Compression: XZ, BlockSize: 64 << 10},
		"xz 4K":  {Compression: XZ, BlockSize: 4 << 10},
		"xz 1M":  {Compression: XZ, BlockSize: 1 << 20},
		"zstd 9": {Compression: Zstd, Level: 9, BlockSize: 32 << 10},
	}
}

// judged runs judge on an image of every sample, written and joined, with all
// options.
func judged(t *testing.T, judge func(t *testing.T, tree *initramfs.Tree, image []byte)) {
	for name, tree := range samples(t) {
		t.Run(name, func(t *testing.T) { judge(t, tree, made(t, tree, Options{})) })
		t.Run("joined "+name, func(t *testing.T) { judge(t, tree, joined(t, tree, 3, Options{})) })
	}
	for name, o := range options() {
		t.Run(name, func(t *testing.T) {
			tree := everything(t)
			judge(t, tree, made(t, tree, o))
		})
	}
}

func TestReadsBack(t *testing.T) {
	judged(t, func(t *testing.T, tree *initramfs.Tree, image []byte) {
		same(t, tree, read(t, image))
	})
}

func TestUnsquashfsExtracts(t *testing.T) {
	testneed.Root(t)
	unsquashfs := testneed.Tool(t, "unsquashfs")
	judged(t, func(t *testing.T, tree *initramfs.Tree, image []byte) {
		dest := filepath.Join(t.TempDir(), "root")
		out, err := exec.Command(unsquashfs, "-quiet", "-no-progress", "-d", dest, onDisk(t, image)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		same(t, tree, treetest.FromDir(t, dest))
	})
}

func TestKernelMounts(t *testing.T) {
	testneed.Root(t)
	mount := testneed.Tool(t, "mount")
	judged(t, func(t *testing.T, tree *initramfs.Tree, image []byte) {
		at := t.TempDir()
		out, err := exec.Command(mount, "-t", "squashfs", "-o", "loop,ro", onDisk(t, image), at).CombinedOutput()
		if err != nil {
			if strings.Contains(string(out), "unknown filesystem") || strings.Contains(string(out), "loop device") {
				testneed.Missing(t, "squashfs", string(out))
			}
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		same(t, tree, treetest.FromDir(t, at))
		for e := range tree.All() { // found by name, through the directory index
			if _, err := os.Lstat(filepath.Join(at, e.Path)); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestDiskfsReads compares what go-diskfs can read: it knows neither setuid
// bits nor device numbers nor links, nor the name spaces of attributes.
func TestDiskfsReads(t *testing.T) {
	judged(t, func(t *testing.T, tree *initramfs.Tree, image []byte) {
		f, err := os.Open(onDisk(t, image))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fs, err := diskfs.Read(backend.New(f, true), int64(len(image)), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]initramfs.Entry{}
		walkDiskfs(t, fs, ".", got)
		if len(got) != tree.Len() {
			t.Errorf("%d entries of %d", len(got), tree.Len())
		}
		for e := range tree.All() {
			want, g := e, got[e.Path]
			if e.Type == initramfs.HardLink {
				want, _ = tree.Lookup(e.Target)
			}
			if diff := cmp.Diff(diskfsLine(t, want), diskfsLine(t, g)); diff != "" {
				t.Errorf("%q: %s", e.Path, diff)
			}
		}
	})
}

func walkDiskfs(t *testing.T, fs *diskfs.FileSystem, dir string, all map[string]initramfs.Entry) {
	t.Helper()
	entries, err := fs.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range entries {
		name := filepath.Join(dir, d.Name())
		info, err := d.Info()
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*diskfs.StatT)
		e := initramfs.Entry{
			Path: name, Mode: uint32(info.Mode().Perm()), ModTime: info.ModTime(), UID: stat.UID, GID: stat.GID,
			Xattrs: stat.Xattrs, Target: stat.LinkTarget,
		}
		if info.Mode().IsRegular() {
			content, err := fs.ReadFile(name)
			if err != nil {
				t.Fatalf("%q: %v", name, err)
			}
			e.Size, e.Open = int64(len(content)), initramfs.BytesFile("", content, e.ModTime).Open
		}
		all[name] = e
		if d.IsDir() {
			walkDiskfs(t, fs, name, all)
		}
	}
}

func diskfsLine(t *testing.T, e initramfs.Entry) string {
	t.Helper()
	line := fmt.Sprintf("%o %d:%d %d %q", e.Mode&0o777, e.UID, e.GID, max(e.ModTime.Unix(), 0), e.Target)
	var attrs []string
	for name, value := range e.Xattrs {
		if len(e.Xattrs) > 2 {
			break // it reads the third and later ones from wrong positions
		}
		for _, space := range xattrPrefixes() {
			name = strings.TrimPrefix(name, space)
		}
		attrs = append(attrs, fmt.Sprintf(" %s=%q", name, value))
	}
	slices.Sort(attrs)
	line += strings.Join(attrs, "")
	if e.Open != nil {
		line += treetest.Sum(t, e)
	}
	return line
}

// TestReadsOthers reads the images of mksquashfs.
func TestReadsOthers(t *testing.T) {
	testneed.Root(t)
	mksquashfs, unsquashfs := testneed.Tool(t, "mksquashfs"), testneed.Tool(t, "unsquashfs")
	dir := filepath.Join(t.TempDir(), "root")
	source := onDisk(t, made(t, everything(t), Options{}))
	if out, err := exec.Command(unsquashfs, "-quiet", "-no-progress", "-d", dir, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wideImage := onDisk(t, made(t, wide(t, 2000), Options{}))
	if out, err := exec.Command(unsquashfs, "-quiet", "-no-progress", "-d", dir+"/more", wideImage).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := treetest.FromDir(t, dir)
	for _, arguments := range []string{
		"-comp gzip", "-comp zstd -b 1M", "-comp xz -b 256K", "-comp xz -Xbcj x86", "-comp lz4", "-comp gzip -noI -noX", "-comp gzip -noD -noF -no-exports",
		"-comp gzip -no-fragments", "-comp zstd -always-use-fragments", "-comp xz -no-duplicates -b 4K", "-comp gzip -noId -no-sparse",
	} {
		t.Run(arguments, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "image")
			args := append([]string{dir, name, "-quiet", "-no-progress"}, strings.Fields(arguments)...)
			if out, err := exec.Command(mksquashfs, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			image, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			same(t, want, read(t, image))
		})
	}
}

// TestJobsDoNotMatter proves that the image depends only on the tree.
func TestJobsDoNotMatter(t *testing.T) {
	for name, o := range options() {
		t.Run(name, func(t *testing.T) {
			tree := everything(t)
			o.Jobs = 1
			want := made(t, tree, o)
			for _, jobs := range []int{2, 3, 40} {
				o.Jobs = jobs
				if !bytes.Equal(want, made(t, tree, o)) {
					t.Errorf("%d jobs produce another image", jobs)
				}
			}
		})
	}
}
