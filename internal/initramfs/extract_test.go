package initramfs_test

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/initramfs"
	"hookbuild/test/testneed"
	"hookbuild/test/treetest"
)

// TestOthersExtract extracts a segment with other tools and compares the
// result.
func TestOthersExtract(t *testing.T) {
	testneed.Root(t)
	var data bytes.Buffer
	tree := initramfs.Sample(t)
	if err := initramfs.WriteSegment(t.Context(), &data, tree, initramfs.SegmentOptions{Compression: initramfs.None}); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"cpio", "-idm", "--quiet", "--numeric-uid-gid"},
		{"bsdtar", "-xpf", "-", "--numeric-owner"},
	} {
		t.Run(command[0], func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(testneed.Tool(t, command[0]), command[1:]...)
			cmd.Dir, cmd.Stdin = dir, bytes.NewReader(data.Bytes())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if diff := cmp.Diff(restored(t, tree), restored(t, treetest.FromDir(t, dir))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// restored omits what the tools do not restore: the times of directories and
// symlinks (cpio), and sockets (bsdtar).
func restored(t *testing.T, tree *initramfs.Tree) []string {
	t.Helper()
	part := &initramfs.Tree{}
	var links []initramfs.Entry
	for e := range tree.All() {
		if e.Type == initramfs.HardLink {
			links = append(links, e)
			continue
		}
		if e.Type == initramfs.Dir || e.Type == initramfs.Symlink {
			e.ModTime = initramfs.Epoch()
		}
		if err := part.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range links {
		if err := part.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	part.Remove("run/sock")
	return treetest.Lines(t, part)
}
