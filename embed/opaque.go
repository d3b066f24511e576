package embed

import (
	"maps"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
)

// merged is the view of a stack of layers: a directory's children by name, nil
// for anything that is not a directory.
type merged struct{ children map[string]*merged }

func mergedDir() *merged { return &merged{children: map[string]*merged{}} }

func (m *merged) isDir() bool { return m != nil && m.children != nil }

// mergedView stacks the layers, given nearest first.
func mergedView(layers []*layer) *merged {
	root := mergedDir()
	for _, l := range slices.Backward(layers) {
		for e := range l.diff.files.All() {
			root.put(e)
		}
	}
	return root
}

func (m *merged) put(e initramfs.Entry) {
	parent, name := m.at(path.Dir(e.Path)), path.Base(e.Path)
	if !parent.isDir() {
		return
	}
	switch old := parent.children[name]; {
	case isWhiteout(e):
		delete(parent.children, name)
	case e.Type != initramfs.Dir:
		parent.children[name] = &merged{}
	case isOpaque(e) || !old.isDir():
		parent.children[name] = mergedDir()
	}
}

// at returns the file at name, or nil.
func (m *merged) at(name string) *merged {
	if name == "." {
		return m
	}
	for part := range strings.SplitSeq(name, "/") {
		if m == nil {
			return nil
		}
		m = m.children[part]
	}
	return m
}

// spellOut returns the layer's files with every opaque directory expressed by
// whiteouts: one for each name that the layers below show there and this layer
// does not replace. It is for places where xattrs do not survive. A directory
// that was opaque then shows as merged, which a container sees only in its link
// count.
func spellOut(l *layer) (*overlayDiff, error) {
	var opaque []initramfs.Entry
	for e := range l.diff.files.All() {
		if e.Type == initramfs.Dir && isOpaque(e) {
			opaque = append(opaque, e)
		}
	}
	if len(opaque) == 0 {
		return l.diff, nil
	}
	below := mergedView(l.below())
	spelled := &overlayDiff{files: &initramfs.Tree{}}
	if err := spelled.files.Graft("", l.diff.files); err != nil {
		return nil, err
	}
	for _, dir := range opaque {
		if err := spelled.files.Add(withoutXattr(dir, opaqueXattr)); err != nil {
			return nil, err
		}
		if err := spelled.hide(dir, below.at(dir.Path)); err != nil {
			return nil, err
		}
	}
	return spelled, nil
}

// hide adds whiteouts for what is below the directory dir.
func (d *overlayDiff) hide(dir initramfs.Entry, below *merged) error {
	if !below.isDir() {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(below.children)) {
		at := path.Join(dir.Path, name)
		own, exists := d.files.Lookup(at)
		if !exists {
			if err := d.files.Add(whiteout(at, dir.UID, dir.GID, dir.ModTime, dir.Origin)); err != nil {
				return err
			}
			continue
		}
		if own.Type != initramfs.Dir {
			continue
		}
		if err := d.hide(own, below.children[name]); err != nil {
			return err
		}
	}
	return nil
}

// withXattr returns e with one more extended attribute; the original's
// attributes are not modified.
func withXattr(e initramfs.Entry, name, value string) initramfs.Entry {
	attrs := map[string]string{name: value}
	for k, v := range e.Xattrs {
		if k != name {
			attrs[k] = v
		}
	}
	e.Xattrs = attrs
	return e
}

func withoutXattr(e initramfs.Entry, name string) initramfs.Entry {
	attrs := maps.Clone(e.Xattrs)
	delete(attrs, name)
	e.Xattrs = attrs
	return e
}
