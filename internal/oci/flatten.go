package oci

import (
	"context"
	"fmt"
	"path"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// The prefixes of names that delete files (OCI image specification, "Image
// Layer Filesystem Changeset"). Other names that start with metaPrefix are the
// bookkeeping of aufs and not part of an image.
const (
	whiteoutPrefix = ".wh."
	metaPrefix     = ".wh..wh."
	opaqueMarker   = ".wh..wh..opq"
)

// Tree returns the image's file system: the layers on top of each other, as an
// overlay mount shows them. An entry's Origin names its layer. The layers'
// files in the cache stay open as long as any of their entries is referenced.
func (m *Image) Tree(ctx context.Context) (*initramfs.Tree, error) {
	if err := m.Fetch(ctx); err != nil {
		return nil, err
	}
	tree := &initramfs.Tree{}
	for _, l := range m.Layers {
		entries, err := l.Entries(ctx)
		if err != nil {
			return nil, err
		}
		if err := applyLayer(tree, entries); err != nil {
			return nil, fault.Invalidf("unpacking %s: %w", l, err)
		}
	}
	return tree, nil
}

// applyLayer puts a layer over those in tree. Its deletions apply only to the
// layers below, wherever in the layer they are listed.
func applyLayer(tree *initramfs.Tree, entries []initramfs.Entry) error {
	for _, e := range entries {
		if err := applyWhiteout(tree, e); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if isBookkeeping(e) || e.Path == "" {
			continue
		}
		if err := replace(tree, e); err != nil {
			return err
		}
	}
	return nil
}

func applyWhiteout(tree *initramfs.Tree, e initramfs.Entry) error {
	dir, base := path.Split(e.Path)
	name, isWhiteout := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case base == opaqueMarker:
		tree.RemoveChildren(path.Clean("/" + dir)[1:])
	case strings.HasPrefix(base, metaPrefix):
	case isWhiteout && (name == "" || name == "." || name == ".."):
		return fmt.Errorf("%q names no file to delete: %w", e.Path, initramfs.ErrUnsafePath)
	case isWhiteout:
		tree.Remove(dir + name)
	case isDeviceWhiteout(e):
		tree.Remove(e.Path)
	}
	return nil
}

// isBookkeeping reports whether an entry is not a file of the image.
func isBookkeeping(e initramfs.Entry) bool {
	if isDeviceWhiteout(e) || strings.HasPrefix(path.Base(e.Path), whiteoutPrefix) {
		return true
	}
	for part := range strings.SplitSeq(e.Path, "/") {
		if strings.HasPrefix(part, metaPrefix) {
			return true
		}
	}
	return false
}

// isDeviceWhiteout reports whether e is a whiteout in overlayfs's own form,
// which some tools leave in layers and which the kernel would honour there.
func isDeviceWhiteout(e initramfs.Entry) bool {
	return e.Type == initramfs.CharDevice && e.Major == 0 && e.Minor == 0
}

// replace puts e in place of whatever the layers below have there. Only two
// directories are merged. Unlike between images, no symlink below is followed:
// a directory replaces a symlink.
func replace(tree *initramfs.Tree, e initramfs.Entry) error {
	for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
		if below, ok := tree.Lookup(dir); ok && below.Type != initramfs.Dir {
			tree.Remove(dir)
		}
	}
	if e.Type == initramfs.HardLink && e.Target == e.Path {
		return fmt.Errorf("%q is a hard link to itself", e.Path)
	}
	below, ok := tree.Lookup(e.Path)
	if ok && (below.Type != initramfs.Dir || e.Type != initramfs.Dir) {
		tree.Remove(e.Path)
	}
	return tree.Add(e)
}
