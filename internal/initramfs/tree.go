// Package initramfs knows what a Linux kernel unpacks at boot: file trees, the
// newc archives (segments) that carry them, and the compressed streams that
// carry those. Rooms that make files make a [Tree]; nothing outside this
// package knows cpio.
package initramfs

import (
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"time"
)

// Tree is a set of files by path, as one unpacker after the other would leave
// them on a disk. A directory entry is always there for the parent of every
// file. The zero value is an empty tree. It is not safe for concurrent writing.
type Tree struct {
	entries map[string]*Entry
	// children counts the entries directly below a directory.
	children map[string]int
	// links lists the HardLinks that point to a file.
	links map[string][]string
}

// ConflictError says that a file cannot take the place of another without
// losing files. It names who put each of them there.
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

// Add puts e into the tree as an unpacker does that meets what stands there
// already:
//   - a symlink in the path to e, made by an earlier source, is followed inside
//     the tree (so "lib/x" over a merged-usr "lib -> usr/lib" lands in usr/lib);
//   - a directory over a directory, or over a symlink to one, keeps the
//     children; over a directory its mode, owner and time become e's;
//   - anything else replaces a file, symlink, device or empty directory;
//   - a non-directory over a filled directory would lose files: a [ConflictError];
//   - missing parents are made, mode 0755, root's, with e's time.
//
// A HardLink's target must be in the tree. When a file that has hard links is
// replaced, the other names keep the content.
func (t *Tree) Add(e Entry) error {
	clean, err := CleanPath(e.Path)
	if err != nil {
		return fmt.Errorf("putting a %s of %s: %w", e.Type, orUnknown(e.Origin), err)
	}
	if clean == "" {
		return nil // the root: always there
	}
	parent, err := t.resolveDir(path.Dir(clean), e)
	if err != nil {
		return err
	}
	e.Path = path.Join(parent, path.Base(clean))
	if e.Type == HardLink {
		return t.addLink(e)
	}
	old, exists := t.entries[e.Path]
	if exists {
		if e.Type == Dir && old.Type == Symlink {
			dest, ok := t.follow(e.Path)
			if target, found := t.entries[dest]; ok && (dest == "" || found && target.Type == Dir) {
				return nil
			}
		}
		if e.Type == Dir && old.Type == Dir {
			*old = e
			return nil
		}
		if old.Type == Dir && t.children[e.Path] > 0 {
			return &ConflictError{Path: e.Path, New: e.Origin, Old: old.Origin, Reason: fmt.Sprintf("a %s would replace a directory that is not empty", e.Type)}
		}
		t.drop(e.Path)
	}
	t.insert(e)
	return nil
}

func (t *Tree) addLink(e Entry) error {
	target, err := CleanPath(e.Target)
	if err != nil {
		return fmt.Errorf("linking %q of %s: %w", e.Path, orUnknown(e.Origin), err)
	}
	dir, ok := t.follow(path.Dir(target))
	full := path.Join(dir, path.Base(target))
	to := t.entries[full]
	if !ok || to == nil {
		return fmt.Errorf("linking %q of %s: the target %q does not exist", e.Path, orUnknown(e.Origin), e.Target)
	}
	if to.Type == HardLink {
		full = to.Target
		to = t.entries[full]
	}
	if to.Type == Dir {
		return fmt.Errorf("linking %q of %s: the target %q is a directory", e.Path, orUnknown(e.Origin), e.Target)
	}
	if e.Path == full {
		return nil
	}
	if old := t.entries[e.Path]; old != nil {
		if old.Type == HardLink && old.Target == full {
			return nil
		}
		if old.Type == Dir && t.children[e.Path] > 0 {
			return &ConflictError{Path: e.Path, New: e.Origin, Old: old.Origin, Reason: "a hard link would replace a directory that is not empty"}
		}
		t.drop(e.Path)
	}
	e.Target = full
	t.insert(e)
	return nil
}

// Remove deletes name and all that lies below it; a missing name is no error.
func (t *Tree) Remove(name string) {
	if t.entries[name] == nil {
		return
	}
	if t.entries[name].Type == Dir {
		t.RemoveChildren(name)
	}
	t.drop(name)
}

// RemoveChildren deletes all that lies below the directory name ("" is the
// root) and keeps the directory.
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

// Lookup gives the entry at exactly this path; no symlink is followed.
func (t *Tree) Lookup(name string) (Entry, bool) {
	e, ok := t.entries[name]
	if !ok {
		return Entry{}, false
	}
	return *e, true
}

// Resolve follows the symlinks in name, the last element included, clamped at
// the tree's root as the kernel does, and gives the path that it leads to. It
// is false when that path does not exist or the links go in a circle.
func (t *Tree) Resolve(name string) (string, bool) {
	dest, ok := t.follow(name)
	if !ok || dest != "" && t.entries[dest] == nil {
		return "", false
	}
	return dest, true
}

// Len is the number of entries.
func (t *Tree) Len() int { return len(t.entries) }

// All walks the entries sorted by path, element by element: a directory comes
// right before what it contains. A HardLink may come before its target.
func (t *Tree) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, p := range t.paths() {
			if !yield(*t.entries[p]) {
				return
			}
		}
	}
}

// Names lists the HardLinks to the entry at name, sorted, without name itself.
func (t *Tree) Names(name string) []string {
	return slices.Sorted(slices.Values(t.links[name]))
}

// Graft adds all of other below the directory at ("" is the root).
func (t *Tree) Graft(at string, other *Tree) error {
	var links []Entry
	for e := range other.All() {
		e.Path = path.Join(at, e.Path)
		if e.Type == HardLink {
			e.Target = path.Join(at, e.Target)
			links = append(links, e)
			continue
		}
		if err := t.Add(e); err != nil {
			return err
		}
	}
	for _, e := range links {
		if err := t.Add(e); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) paths() []string {
	paths := make([]string, 0, len(t.entries))
	for p := range t.entries {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, ComparePaths)
	return paths
}

// ComparePaths orders paths element by element, so that a directory's content
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

// drop deletes one entry. The first other name of a dropped file takes its
// place, so that no hard link is left without a target.
func (t *Tree) drop(name string) {
	e := t.entries[name]
	delete(t.entries, name)
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

func parentOf(name string) string {
	dir := path.Dir(name)
	if dir == "." {
		return ""
	}
	return dir
}

// resolveDir gives the directory that dir leads to, and makes what is missing
// of it on behalf of e.
func (t *Tree) resolveDir(dir string, e Entry) (string, error) {
	if dir == "." {
		return "", nil
	}
	dest, ok := t.follow(dir)
	if !ok {
		return "", fmt.Errorf("putting %q of %s: the symlinks on its path go in a circle", e.Path, orUnknown(e.Origin))
	}
	made := ""
	for part := range strings.SplitSeq(dest, "/") {
		made = path.Join(made, part)
		switch have := t.entries[made]; {
		case made == "" || have != nil && have.Type == Dir:
		case have == nil:
			t.insert(Entry{Path: made, Type: Dir, Mode: 0o755, ModTime: e.ModTime, Origin: e.Origin})
		default:
			return "", &ConflictError{Path: e.Path, New: e.Origin, Old: have.Origin, Reason: fmt.Sprintf("its parent %q is a %s", made, have.Type)}
		}
	}
	return dest, nil
}

// follow resolves name's symlinks; elements that do not exist are kept as they
// are. It is false for a circle.
func (t *Tree) follow(name string) (string, bool) {
	const mostLinks = 40 // as the kernel's MAXSYMLINKS
	rest := strings.Split(path.Clean(name), "/")
	at, links := "", 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = parentOf(at)
			continue
		}
		next := path.Join(at, part)
		e := t.entries[next]
		if e == nil || e.Type != Symlink {
			at = next
			continue
		}
		if links++; links > mostLinks {
			return "", false
		}
		if strings.HasPrefix(e.Target, "/") {
			at = ""
		}
		rest = append(strings.Split(e.Target, "/"), rest...)
	}
	return at, true
}

// Epoch is the time given to entries that have none of their own: reproducible
// and valid in every format.
func Epoch() time.Time { return time.Unix(0, 0).UTC() }
