// Package initramfs reads and writes what a Linux kernel unpacks at boot: file
// trees, the newc archives (segments) that carry them, and the compressed
// streams that carry those. Packages that produce files produce a [Tree];
// nothing outside this package deals with cpio.
//
// [WriteSegment] writes a Tree, and [FileWriter] a sequence of them; [Reader]
// reads them, and [Load] returns the tree that the kernel would make.
// Deliberately left out are archive formats other than newc, and segments
// compressed with bzip2 and lzo, which no HookOS kernel reads.
package initramfs

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Tree is a set of files by path, as a sequence of unpackers would leave them
// on disk. The parent of every file has a directory entry. The zero value is an
// empty tree. It is not safe for concurrent writing.
type Tree struct {
	entries map[string]*Entry
	// children counts the entries directly below a directory.
	children map[string]int
	// links lists the HardLinks that point to a file.
	links map[string][]string
}

// ConflictError reports a file that cannot replace another without losing
// files. It names the origin of both.
type ConflictError struct {
	Path     string
	New, Old string // the origins
	Reason   string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("putting %q of %s: %s (put there by %s)", e.Path, orUnknown(e.New), e.Reason, orUnknown(e.Old))
}

func orUnknown(origin string) string {
	if origin == "" {
		return "an unnamed source"
	}
	return origin
}

// Add puts e into the tree as an unpacker does that finds existing files:
//
//   - a symlink in the path to e, made by an earlier source, is followed inside
//     the tree (so "lib/x" over a merged-usr "lib -> usr/lib" lands in
//     usr/lib);
//   - a directory over a directory, or over a symlink to one, keeps the
//     children; over a directory its mode, owner and time become e's;
//   - anything else replaces a file, symlink, device or empty directory;
//   - a non-directory over a non-empty directory would lose files: a
//     [ConflictError];
//   - missing parents are created with mode 0755, owned by root, with e's time.
//
// The target of a HardLink must be in the tree; the HardLink takes everything
// but its Path and Origin from the target. When a file that has hard links is
// replaced, the other names keep the content.
func (t *Tree) Add(e Entry) error { return t.add("", e) }

// Graft adds all of other below the directory at ("" is the root). For other's
// files at is the root: no symlink leads them out of it.
func (t *Tree) Graft(at string, other *Tree) error {
	root, err := t.graftRoot(at, other)
	if err != nil {
		return err
	}
	var links []Entry
	for e := range other.All() {
		if e.Type == HardLink {
			links = append(links, e)
			continue
		}
		if err := t.add(root, e); err != nil {
			return err
		}
	}
	for _, e := range links {
		if err := t.add(root, e); err != nil {
			return err
		}
	}
	return nil
}

// graftRoot returns the directory that at leads to, creating it if other has
// files to put there.
func (t *Tree) graftRoot(at string, other *Tree) (string, error) {
	clean, err := CleanPath(at)
	if err != nil {
		return "", fmt.Errorf("adding files below a directory: %w", err)
	}
	for first := range other.All() {
		if clean == "" {
			break
		}
		first.Path = path.Join(clean, first.Path)
		return t.resolveDir("", clean, first)
	}
	return "", nil
}

// add is Add for a tree whose root is the directory root.
func (t *Tree) add(root string, e Entry) error {
	clean, err := CleanPath(e.Path)
	if err != nil {
		return fmt.Errorf("putting a %s of %s: %w", e.Type, orUnknown(e.Origin), err)
	}
	if clean == "" {
		return nil // the root always exists
	}
	if e.Type == Symlink && strings.ContainsRune(e.Target, 0) {
		return fmt.Errorf("putting %q of %s: its target %q contains a NUL: %w", e.Path, orUnknown(e.Origin), e.Target, ErrUnsafePath)
	}
	parent, err := t.resolveDir(root, path.Dir(clean), e)
	if err != nil {
		return err
	}
	e.Path = path.Join(parent, path.Base(clean))
	if e.Type == HardLink {
		return t.addLink(root, e)
	}
	old := t.entries[e.Path]
	if old == nil {
		t.insert(e)
		return nil
	}
	if dest, ok := t.follow(root, parent, path.Base(clean)); e.Type == Dir && ok && t.isDir(dest) {
		if old.Type == Dir {
			*old = e
		}
		return nil
	}
	return t.replace(e)
}

func (t *Tree) isDir(name string) bool {
	e := t.entries[name]
	return name == "" || e != nil && e.Type == Dir
}

// replace puts e in the place of what is there.
func (t *Tree) replace(e Entry) error {
	if old := t.entries[e.Path]; old.Type == Dir && t.children[e.Path] > 0 {
		return &ConflictError{
			Path: e.Path, New: e.Origin, Old: old.Origin,
			Reason: fmt.Sprintf("a %s would replace a non-empty directory", e.Type),
		}
	}
	t.drop(e.Path)
	t.insert(e)
	return nil
}

func (t *Tree) addLink(root string, e Entry) error {
	file, err := t.linkTarget(root, e)
	if err != nil {
		return fmt.Errorf("linking %q of %s: %w", e.Path, orUnknown(e.Origin), err)
	}
	if e.Path == file {
		return nil
	}
	e = Entry{Path: e.Path, Type: HardLink, Target: file, Origin: e.Origin}
	switch old := t.entries[e.Path]; {
	case old == nil:
		t.insert(e)
	case old.Type == HardLink && old.Target == file:
	default:
		return t.replace(e)
	}
	return nil
}

// linkTarget returns the path of the file that the HardLink e refers to.
func (t *Tree) linkTarget(root string, e Entry) (string, error) {
	target, err := CleanPath(e.Target)
	if err != nil {
		return "", err
	}
	dir, ok := t.follow(root, root, path.Dir(target))
	if !ok {
		return "", fmt.Errorf("the symlinks on the way to the target %q form a loop", e.Target)
	}
	file := t.file(path.Join(dir, path.Base(target)))
	switch {
	case file == nil:
		return "", fmt.Errorf("the target %q does not exist", e.Target)
	case file.Type == Dir:
		return "", fmt.Errorf("the target %q is a directory", e.Target)
	}
	return file.Path, nil
}

// Remove deletes name and everything below it, if it exists.
func (t *Tree) Remove(name string) {
	if t.entries[name] == nil {
		return
	}
	if t.children[name] > 0 {
		t.RemoveChildren(name)
	}
	t.drop(name)
}

// RemoveChildren deletes everything below the directory name ("" is the root)
// and keeps the directory.
func (t *Tree) RemoveChildren(name string) {
	prefix := name + "/"
	if name == "" {
		prefix = ""
	}
	var below []string
	for p := range t.entries {
		if strings.HasPrefix(p, prefix) {
			below = append(below, p)
		}
	}
	slices.Sort(below)
	for _, p := range slices.Backward(below) {
		t.drop(p)
	}
}

func (t *Tree) insert(e Entry) {
	if t.entries == nil {
		t.entries = map[string]*Entry{}
		t.children = map[string]int{}
		t.links = map[string][]string{}
	}
	t.entries[e.Path] = &e
	t.children[parentOf(e.Path)]++
	if e.Type == HardLink {
		t.links[e.Target] = append(t.links[e.Target], e.Path)
	}
}

// drop deletes one entry. If the file has other names, the first of them takes
// its place, so that no hard link loses its target.
func (t *Tree) drop(name string) {
	e := t.entries[name]
	delete(t.entries, name)
	delete(t.children, name)
	t.children[parentOf(name)]--
	if e.Type == HardLink {
		t.links[e.Target] = slices.DeleteFunc(t.links[e.Target], func(l string) bool { return l == name })
		return
	}
	others := t.Names(name)
	delete(t.links, name)
	if len(others) == 0 {
		return
	}
	heir := *e
	heir.Path = others[0]
	t.entries[heir.Path] = &heir
	for _, l := range others[1:] {
		t.entries[l].Target = heir.Path
		t.links[heir.Path] = append(t.links[heir.Path], l)
	}
}

// resolveDir returns the directory that dir leads to inside root, creating
// missing directories on behalf of e.
func (t *Tree) resolveDir(root, dir string, e Entry) (string, error) {
	dest, ok := t.follow(root, root, dir)
	if !ok {
		return "", fmt.Errorf("putting %q of %s: the symlinks on its path form a loop", e.Path, orUnknown(e.Origin))
	}
	if t.isDir(dest) {
		return dest, nil
	}
	made := ""
	for part := range strings.SplitSeq(dest, "/") {
		made = below(made, part)
		switch have := t.entries[made]; {
		case t.isDir(made):
		case have == nil:
			t.insert(Entry{Path: made, Type: Dir, Mode: 0o755, ModTime: e.ModTime, Origin: e.Origin})
		default:
			return "", &ConflictError{Path: e.Path, New: e.Origin, Old: have.Origin, Reason: fmt.Sprintf("its parent %q is a %s", made, have.Type)}
		}
	}
	return dest, nil
}
