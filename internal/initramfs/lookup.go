package initramfs

import (
	"iter"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Lookup returns the entry at exactly this path; no symlink is followed.
func (t *Tree) Lookup(name string) (Entry, bool) {
	e, ok := t.entries[name]
	if !ok {
		return Entry{}, false
	}
	return *e, true
}

// Resolve follows the symlinks in name, including the last element, within the
// tree's root as the kernel does, and returns the resulting path. It returns
// false if that path does not exist or the links form a loop.
func (t *Tree) Resolve(name string) (string, bool) {
	dest, ok := t.follow("", "", name)
	if !ok || dest != "" && t.entries[dest] == nil {
		return "", false
	}
	return dest, true
}

// File returns the file of which name is a name: the entry at exactly this path
// or, if that is a HardLink, the entry that it refers to.
func (t *Tree) File(name string) (Entry, bool) {
	e := t.file(name)
	if e == nil {
		return Entry{}, false
	}
	return *e, true
}

// Find returns the file to which name leads, through symlinks as [Tree.Resolve]
// follows them and a HardLink at the end.
func (t *Tree) Find(name string) (Entry, bool) {
	at, ok := t.Resolve(name)
	if !ok {
		return Entry{}, false
	}
	return t.File(at)
}

// Len returns the number of entries.
func (t *Tree) Len() int { return len(t.entries) }

// All iterates over the entries sorted by path, element by element: a directory
// comes right before its content. A HardLink may come before its target.
func (t *Tree) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, p := range t.paths() {
			if !yield(*t.entries[p]) {
				return
			}
		}
	}
}

// Names returns the HardLinks to the entry at name, sorted, without name
// itself.
func (t *Tree) Names(name string) []string {
	return slices.Sorted(slices.Values(t.links[name]))
}

// Xattrs returns the entries that have extended attributes, in the tree's
// order.
func (t *Tree) Xattrs() []Entry {
	var with []Entry
	for e := range t.All() {
		if len(e.Xattrs) > 0 {
			with = append(with, e)
		}
	}
	return with
}

func (t *Tree) paths() []string {
	paths := make([]string, 0, len(t.entries))
	for p := range t.entries {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, ComparePaths)
	return paths
}

// ComparePaths compares paths element by element, so that a directory's content
// follows it directly: "a", "a/b", "a-b".
func ComparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// file returns the entry at name, or the one to which a HardLink there refers. It
// returns nil if name does not exist.
func (t *Tree) file(name string) *Entry {
	e := t.entries[name]
	if e != nil && e.Type == HardLink {
		return t.entries[e.Target]
	}
	return e
}

// follow resolves the symlinks in name, a path relative to the directory at,
// inside the directory root. Elements that do not exist are kept. It returns
// false for a loop.
func (t *Tree) follow(root, at, name string) (string, bool) {
	const mostLinks = 40 // the kernel's MAXSYMLINKS
	name = path.Clean(name)
	if dir := path.Join(at, name); t.entries[dir] != nil && t.entries[dir].Type == Dir && filepath.IsLocal(name) {
		return dir, true // nothing is below a symlink, so none is on the way
	}
	rest := strings.Split(name, "/")
	links := 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at != root {
				at = parentOf(at)
			}
			continue
		}
		next := below(at, part)
		e := t.file(next)
		if e == nil || e.Type != Symlink {
			at = next
			continue
		}
		if links++; links > mostLinks {
			return "", false
		}
		if strings.HasPrefix(e.Target, "/") {
			at = root
		}
		rest = append(strings.Split(e.Target, "/"), rest...)
	}
	return at, true
}

// below joins a directory's path and a name in it, both clean.
func below(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func parentOf(name string) string {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)]
}
