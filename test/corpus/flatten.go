package corpus

import (
	"maps"
	"slices"
	"strings"

	"hookbuild/test/corpus/expect"
)

// flatten returns what a container of these layers sees, according to the OCI
// image specification and overlayfs. It is used only by the corpus, so that it
// can judge the product's result for the same layers.
func flatten(layers []*layer) (files []expect.File, deleted, opaque []expect.Name) {
	t := tree{}
	for i, l := range layers {
		deleted = append(deleted, t.apply(i, l.Files)...)
		for _, f := range l.Files {
			if f.Opaque {
				opaque = append(opaque, f.Path)
			}
		}
	}
	deleted = slices.DeleteFunc(deleted, func(n expect.Name) bool { _, again := t[n]; return again })
	slices.Sort(deleted)
	return t.list(), slices.Compact(deleted), opaque
}

type tree map[expect.Name]node

// node is a file and its inode: the layer and path in which it was created.
type node struct {
	expect.File
	layer int
	inode expect.Name
}

// apply applies one layer to the tree and returns what it deleted.
func (t tree) apply(number int, facts []fact) (deleted []expect.Name) {
	for _, f := range facts { // these see lower layers only
		if f.Whiteout || f.Opaque {
			deleted = append(deleted, t.remove(f.Path, f.Opaque)...)
		}
	}
	for _, f := range facts {
		if !f.Whiteout && !f.Opaque {
			t.put(number, f.File)
		}
	}
	return deleted
}

func (t tree) put(number int, f expect.File) {
	n := node{f, number, f.Path}
	if f.SameAs != "" {
		n.File, n.inode = t[f.SameAs].File, t[f.SameAs].inode
		n.Path = f.Path
	}
	n.SameAs = ""
	if f.Type != expect.Directory {
		t.remove(f.Path, false)
	}
	t[f.Path] = n
}

// remove deletes a path with everything below it, or with keep only what is
// below.
func (t tree) remove(path expect.Name, keep bool) (removed []expect.Name) {
	for p := range t {
		if p == path && !keep || strings.HasPrefix(string(p), string(path)+"/") {
			delete(t, p)
			removed = append(removed, p)
		}
	}
	return removed
}

// list returns the files sorted by path, with SameAs for those that share an
// inode with an earlier one.
func (t tree) list() []expect.File {
	type inode struct {
		layer int
		path  expect.Name
	}
	first := map[inode]expect.Name{}
	var files []expect.File
	for _, path := range slices.Sorted(maps.Keys(t)) {
		n := t[path]
		id := inode{n.layer, n.inode}
		if other, shared := first[id]; shared {
			n.SameAs = other
		} else {
			first[id] = path
		}
		files = append(files, n.File)
	}
	return files
}
