package embed

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/squashfs"
	"hookbuild/test/testneed"
)

func TestChooseCompression(t *testing.T) {
	all := Capabilities{SquashfsGzip: true, SquashfsXZ: true, SquashfsZstd: true}
	for title, test := range map[string]struct {
		asked  squashfs.Compression
		kernel Capabilities
		want   squashfs.Compression
		lacks  string
	}{
		"the best of all":      {"", all, squashfs.Zstd, ""},
		"HookOS's own kernel":  {"", hookKernel(), squashfs.Gzip, ""},
		"xz alone":             {"", Capabilities{SquashfsXZ: true}, squashfs.XZ, ""},
		"asked for":            {squashfs.XZ, all, squashfs.XZ, ""},
		"asked for in vain":    {squashfs.Zstd, hookKernel(), "", "CONFIG_SQUASHFS_ZSTD"},
		"none of the kernel's": {squashfs.LZ4, all, "", "lz4"},
	} {
		got, err := chooseCompression(test.asked, test.kernel)
		if got != test.want || test.lacks == "" && err != nil || test.lacks != "" && (err == nil || !strings.Contains(err.Error(), test.lacks)) {
			t.Errorf("%s: got %q, %v", title, got, err)
		}
	}
}

func TestPackedLayout(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	tree := treeOf(t, h, Options{Layout: Packed}, "one", "two").Tree
	two := h.pull(t, "two")
	base := two.Layers[0].DiffID.Hex
	diff, _ := tree.Lookup(StorePath + "/overlay2/" + base + "/diff")
	if diff.Type != initramfs.Symlink || diff.Target != "../../layers/"+base {
		t.Errorf("the diff is a %s to %q", diff.Type, diff.Target)
	}
	if d, _ := tree.Lookup(StorePath + "/layers"); d.Type != initramfs.Dir {
		t.Errorf("the mount point is a %s", d.Type)
	}
	for e := range tree.All() {
		if e.Type != initramfs.Dir && e.Type != initramfs.Regular && e.Type != initramfs.Symlink || len(e.Xattrs) > 0 {
			t.Errorf("%q is a %s with %v, which booting would break", e.Path, e.Type, e.Xattrs)
		}
	}
}

// unsquashfs lists the files of the layers.
func TestUnsquashfsListsTheLayers(t *testing.T) {
	unsquashfs := testneed.Tool(t, "unsquashfs")
	h := startHub(t, smallCorpus(t))
	r := treeOf(t, h, Options{Layout: Packed}, "two")
	file := filepath.Join(t.TempDir(), "layers")
	writeContent(t, r.Tree, StorePath+"/"+layersFile, file)
	out, err := exec.Command(unsquashfs, "-lc", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	two := h.pull(t, "two")
	base := "squashfs-root/" + two.Layers[0].DiffID.Hex
	for _, want := range []string{base + "/bin/a", base + "/bin/b", base + "/etc/gone", "/etc/kept", "/etc/gone"} {
		if !bytes.Contains(out, []byte(want+"\n")) {
			t.Errorf("%s is not in it:\n%s", want, out)
		}
	}
}

// A second store with the same layers finds them packed.
func TestPackedLayersAreCached(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	first := treeOf(t, h, Options{Layout: Packed}, "one", "two")
	second := treeOf(t, h, Options{Layout: Packed}, "two", "one")
	if first.packedAs != second.packedAs {
		t.Error("the same layers have two names")
	}
	if other := treeOf(t, h, Options{Layout: Packed}, "one"); other.packedAs == first.packedAs {
		t.Error("other layers have the same name")
	}
	if diff := cmp.Diff(listing(t, first.Tree), listing(t, second.Tree)); diff != "" {
		t.Error(diff)
	}
}

// Without CONFIG_SQUASHFS_XATTR opaque directories are expressed by whiteouts;
// other attributes would be lost.
func TestPackedLayoutWithoutXattrs(t *testing.T) {
	kernel := hookKernel()
	kernel.SquashfsXattr = false
	base := theLayer(t, aFile("d/old", "old", 0o644))
	h := startHub(t, map[string]v1.Image{
		"opaque":  theImage(t, base, theLayer(t, aFile("d/.wh..wh..opq", "", 0), aFile("d/new", "new", 0o644))),
		"capable": theImage(t, base, theLayer(t, withAttr(aFile("ping", "ping", 0o755), "security.capability", capability()))),
	})
	s, err := Open(treeOf(t, h, Options{Layout: Packed, Kernel: kernel}, "opaque").Tree, h.cache)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := s.openLayers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	top := s.images[0].layers[1].cacheID
	if e, _ := layers.Lookup(top + "/d/old"); !isWhiteout(e) {
		t.Errorf("in place of a whiteout is %+v", e)
	}
	_, err = Tree(t.Context(), []Item{{Image: h.pull(t, "capable"), Names: []string{"x"}}}, Options{Layout: Packed, Kernel: kernel, Cache: h.cache})
	if err == nil || !strings.Contains(err.Error(), "CONFIG_SQUASHFS_XATTR") || fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}

func writeContent(t *testing.T, tree *initramfs.Tree, name, file string) {
	t.Helper()
	e, ok := tree.Lookup(name)
	if !ok {
		t.Fatalf("%q does not exist", name)
	}
	if err := writeFile(file, e); err != nil {
		t.Fatal(err)
	}
}
