package squashfs

import (
	"fmt"
	"path"
	"time"

	"hookbuild/internal/initramfs"
)

// node is an inode of the image being written.
type node struct {
	entry    initramfs.Entry
	children []name // of a directory, sorted
	links    uint32
	number   uint32
	parent   uint32 // of a directory: the number of its parent
	modTime  uint32
	uid, gid uint16    // indexes into the id table
	data     *fileData // of a regular file
	listing  listing   // of a directory
	ref      inodeRef
}

// name is a name of a node in a directory.
type name struct {
	base string
	node *node
}

// plan is the content of an image.
type plan struct {
	root *node
	// inodes are in the order of writing: a directory's subdirectories, its
	// other files, itself. So the files of one directory are adjacent, and a
	// child always precedes its parent.
	inodes []*node
	ids    []uint32
}

// newPlan arranges a tree. Its root directory has mode 0755 and is owned by
// root.
func newPlan(t *initramfs.Tree, modTime time.Time) (*plan, error) {
	root := initramfs.Entry{Type: initramfs.Dir, Mode: 0o755, ModTime: modTime}
	p := &plan{root: &node{entry: root, links: 2}}
	byPath := map[string]*node{".": p.root}
	for e := range t.All() {
		if e.Type != initramfs.HardLink {
			byPath[e.Path] = &node{entry: e, links: 1}
		}
	}
	for e := range t.All() {
		if err := place(e, byPath); err != nil {
			return nil, describe(e, err)
		}
	}
	p.order(p.root, map[*node]bool{})
	p.root.parent = uint32(len(p.inodes)) + 1 // no inode has it; mksquashfs does the same
	return p, p.fill()
}

// place puts an entry, which may be a hard link, into its directory.
func place(e initramfs.Entry, byPath map[string]*node) error {
	dir, n := byPath[path.Dir(e.Path)], byPath[e.Path]
	if e.Type == initramfs.HardLink {
		if n = byPath[e.Target]; n != nil {
			n.links++
		}
	}
	base := path.Base(e.Path)
	switch {
	case dir == nil || n == nil:
		return fmt.Errorf("its directory or link target %q does not exist", e.Target)
	case len(base) > mostName:
		return fmt.Errorf("its name has %d bytes; squashfs allows %d", len(base), mostName)
	case e.Type == initramfs.Dir:
		n.links++ // its own "."
		dir.links++
	}
	dir.children = append(dir.children, name{base, n})
	return nil
}

// order lists and numbers the inodes below n, then n.
func (p *plan) order(n *node, seen map[*node]bool) {
	for _, c := range n.children {
		if c.node.entry.Type == initramfs.Dir {
			p.order(c.node, seen)
		}
	}
	for _, c := range n.children {
		if c.node.entry.Type != initramfs.Dir && !seen[c.node] {
			seen[c.node] = true
			p.add(c.node)
		}
	}
	p.add(n)
	for _, c := range n.children {
		c.node.parent = n.number
	}
}

func (p *plan) add(n *node) {
	p.inodes = append(p.inodes, n)
	n.number = uint32(len(p.inodes))
}

// fill checks the inodes and converts their owners and times.
func (p *plan) fill() error {
	numbers := map[uint32]uint16{}
	for _, n := range p.inodes {
		err := n.check()
		if err == nil {
			n.modTime, err = seconds(n.entry.ModTime)
		}
		if err == nil {
			n.uid, err = p.id(n.entry.UID, numbers)
		}
		if err == nil {
			n.gid, err = p.id(n.entry.GID, numbers)
		}
		if err != nil {
			return describe(n.entry, err)
		}
	}
	return nil
}

// id returns the index of a user's or group's id in the id table.
func (p *plan) id(id uint32, numbers map[uint32]uint16) (uint16, error) {
	if n, ok := numbers[id]; ok {
		return n, nil
	}
	if len(p.ids) == mostIDs {
		return 0, fmt.Errorf("squashfs holds no more than %d different owners", mostIDs)
	}
	n := uint16(len(p.ids))
	numbers[id] = n
	p.ids = append(p.ids, id)
	return n, nil
}

// describe adds the entry to err.
func describe(e initramfs.Entry, err error) error {
	origin := e.Origin
	if origin == "" {
		origin = "an unnamed source"
	}
	return fmt.Errorf("writing %q of %s into a squashfs: %w", e.Path, origin, err)
}

// seconds returns a modification time in the format's encoding.
func seconds(t time.Time) (uint32, error) {
	if t.IsZero() {
		return 0, nil
	}
	if s := t.Unix(); s >= 0 && s < 1<<32 {
		return uint32(s), nil
	}
	return 0, fmt.Errorf("its modification time %s is outside 1970 to 2106", t.UTC().Format(time.RFC3339))
}
