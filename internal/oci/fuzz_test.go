package oci

import (
	"bytes"
	"path"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
)

// Any two layers combine to a valid file tree.
func FuzzApplyLayer(f *testing.F) {
	for _, tc := range flattenings() {
		lower, upper := tc.layers[0], tc.layers[len(tc.layers)-1]
		f.Add(tarOf(f, lower...), tarOf(f, upper...))
	}
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		tree := &initramfs.Tree{}
		for _, layer := range [][]byte{lower, upper} {
			entries, err := tarball.Entries(bytes.NewReader(layer), int64(len(layer)), "fuzz")
			if err != nil {
				return
			}
			if err := applyLayer(tree, entries); err != nil {
				return
			}
		}
		for e := range tree.All() {
			checkEntry(t, tree, e)
		}
	})
}

func checkEntry(t *testing.T, tree *initramfs.Tree, e initramfs.Entry) {
	if dir := path.Dir(e.Path); dir != "." {
		if parent, ok := tree.Lookup(dir); !ok || parent.Type != initramfs.Dir {
			t.Errorf("%q is not in a directory", e.Path)
		}
	}
	if e.Type == initramfs.HardLink {
		if to, ok := tree.Lookup(e.Target); !ok || to.Type == initramfs.HardLink || to.Type == initramfs.Dir {
			t.Errorf("%q is a link to %q, a %s (%t)", e.Path, e.Target, to.Type, ok)
		}
	}
}
