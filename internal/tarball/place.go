package tarball

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"hookbuild/internal/initramfs"
)

// What Linux takes: a path of PATH_MAX bytes with its NUL, a name of NAME_MAX,
// and as many symlinks on the way to a file as MAXSYMLINKS.
const (
	longestPath   = 4095
	longestName   = 255
	longestTarget = 4095
	mostLinks     = 40
)

// place is a file that an archive has made so far, or a directory that is
// implied by a name.
type place struct {
	path     string // from the root
	parent   *place // nil for the root
	kind     initramfs.Type
	target   string // of a symlink
	children map[string]*place
}

// child returns the path of what is in the directory p.
func (p *place) child(name string) string {
	if p.path == "" {
		return name
	}
	return p.path + "/" + name
}

// clean returns a name as it is counted from the root. The slash that begins
// an absolute name is dropped, and ".." is resolved in the text, as dockerd does
// it. A name that leads out of the root is an error.
func clean(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%q contains a NUL: %w", name, initramfs.ErrUnsafePath)
	}
	if len(name) > longestPath {
		return "", fmt.Errorf("the path %q... has %d bytes, Linux takes %d", name[:64], len(name), longestPath)
	}
	c := strings.TrimPrefix(path.Clean(name), "/")
	if c == ".." || strings.HasPrefix(c, "../") {
		return "", fmt.Errorf("%q leads out of the archive's root: %w", name, initramfs.ErrUnsafePath)
	}
	if c == "." {
		return "", nil
	}
	for part := range strings.SplitSeq(c, "/") {
		if len(part) > longestName {
			return "", fmt.Errorf("the name %q... has %d bytes, Linux takes %d", part[:64], len(part), longestName)
		}
	}
	return c, nil
}

// walk is the way to a directory.
type walk struct {
	root *place
	at   *place
	// imply makes the directories that are missing and returns them.
	imply   bool
	implied []*place
	links   int
	steps   *int // that are left
}

// to follows the name, which is clean, through the symlinks that the archive
// has made, inside the root. It returns what is left of the name where the next
// directory is missing and none is implied.
func (w *walk) to(name string) (rest string, err error) {
	if name == "." || name == "" {
		return "", nil
	}
	for part, after := range elements(name) {
		next := w.at.children[part]
		switch {
		case next == nil && !w.imply:
			return path.Join(part, after), nil
		case next == nil:
			next = w.at.put(part, initramfs.Dir, "")
			w.implied = append(w.implied, next)
			w.at = next
		case next.kind == initramfs.Symlink:
			if err := w.follow(next); err != nil {
				return "", err
			}
		case next.kind != initramfs.Dir:
			return "", fmt.Errorf("it leads through %q, a %s: %w", next.path, next.kind, initramfs.ErrUnsafePath)
		default:
			w.at = next
		}
	}
	return "", nil
}

// elements yields the names in a path, each with what follows it.
func elements(name string) func(func(part, after string) bool) {
	return func(yield func(string, string) bool) {
		for name != "" {
			part, after, _ := strings.Cut(name, "/")
			if part != "" && !yield(part, after) {
				return
			}
			name = after
		}
	}
}

var errSteps = errors.New("the symlinks on the way to its files are more and longer than any image has")

// follow goes where a symlink leads, which must be a directory.
func (w *walk) follow(link *place) error {
	if w.links++; w.links > mostLinks {
		return fmt.Errorf("the symlinks on its way, such as %q, go in a circle: %w", link.path, initramfs.ErrUnsafePath)
	}
	if strings.HasPrefix(link.target, "/") {
		w.at = w.root
	}
	for part := range elements(link.target) {
		if *w.steps--; *w.steps < 0 {
			return errSteps
		}
		next := w.at.children[part]
		switch {
		case part == ".":
		case part == "..":
			if w.at.parent != nil {
				w.at = w.at.parent
			}
		case next == nil:
			return fmt.Errorf("it leads through the symlink %q to %q, which the archive has not made: %w", link.path, link.target, initramfs.ErrUnsafePath)
		case next.kind == initramfs.Symlink:
			if err := w.follow(next); err != nil {
				return err
			}
		case next.kind != initramfs.Dir:
			return fmt.Errorf("it leads through the symlink %q to %q, a %s: %w", link.path, next.path, next.kind, initramfs.ErrUnsafePath)
		default:
			w.at = next
		}
	}
	return nil
}

// put makes a file in a directory. What was there is removed, with all below it,
// unless both are directories.
func (p *place) put(name string, kind initramfs.Type, target string) *place {
	if old := p.children[name]; old != nil && old.kind == initramfs.Dir && kind == initramfs.Dir {
		return old
	}
	made := &place{path: p.child(name), parent: p, kind: kind, target: target}
	if p.children == nil {
		p.children = map[string]*place{}
	}
	p.children[name] = made
	return made
}

// locate returns the directory that name, which is clean, lies in, and makes
// what is missing of it.
func (l *lister) locate(name string) (*place, error) {
	w := &walk{root: l.root, at: l.root, imply: true, steps: &l.steps}
	if _, err := w.to(path.Dir(name)); err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	for _, dir := range w.implied {
		if err := l.count(1, len(dir.path)); err != nil {
			return nil, err
		}
	}
	if whole := w.at.child(path.Base(name)); len(whole) > longestPath {
		return nil, fmt.Errorf("%q leads to a path of %d bytes, Linux takes %d", name, len(whole), longestPath)
	}
	return w.at, nil
}

// linkTarget returns the path of the file that a hard link names, and its place
// if the archive has made it. A target that is a symlink is the symlink.
func (l *lister) linkTarget(name string) (string, *place, error) {
	target, err := clean(name)
	if err != nil || target == "" {
		return target, nil, err
	}
	w := &walk{root: l.root, at: l.root, steps: &l.steps}
	rest, err := w.to(path.Dir(target))
	if err != nil {
		return "", nil, err
	}
	base := path.Base(target)
	if rest != "" {
		return path.Join(w.at.path, rest, base), nil, nil
	}
	return w.at.child(base), w.at.children[base], nil
}
