package linuxkit

import (
	"fmt"
	"time"

	"hookbuild/internal/initramfs"
)

// layout is the root file system under construction, with the origin of each
// part.
type layout struct {
	tree    initramfs.Tree
	modTime time.Time
	parts   []Part
	// owner maps the origin of an entry to its part. Every origin begins with
	// its part, so it belongs to only one.
	owner map[string]int
}

// source adds entries on behalf of one part.
type source struct {
	*layout
	part int
	// origins caches the origins: images have thousands of files but few
	// layers.
	origins map[string]string
}

func newLayout(modTime time.Time) *layout {
	if modTime.IsZero() {
		modTime = initramfs.Epoch()
	}
	return &layout{modTime: modTime, owner: map[string]int{}}
}

// begin starts a part.
func (l *layout) begin(p Part) *source {
	l.parts = append(l.parts, p)
	return &source{layout: l, part: len(l.parts) - 1, origins: map[string]string{}}
}

func (s *source) origin(inner string) string {
	if made, ok := s.origins[inner]; ok {
		return made
	}
	p := s.parts[s.part]
	made := p.Where
	if p.Name != "" {
		made += fmt.Sprintf(" %q", p.Name)
	}
	if p.Line > 0 {
		made += fmt.Sprintf(" (%s)", place(p.Line, p.File))
	}
	if inner != "" {
		made += ", " + inner
	}
	s.origins[inner] = made
	s.owner[made] = s.part
	return made
}

// add adds one entry.
func (s *source) add(e initramfs.Entry) error {
	e.Origin = s.origin(e.Origin)
	return s.tree.Add(e)
}

// directory adds a directory of LinuxKit's own, with its parents.
func (s *source) directory(name string) error {
	for i, c := range name + "/" {
		if c != '/' {
			continue
		}
		if err := s.add(s.own(initramfs.Entry{Path: name[:i], Type: initramfs.Dir, Mode: 0o755})); err != nil {
			return err
		}
	}
	return nil
}

// file adds a file of LinuxKit's own, mode 0644.
func (s *source) file(name string, content []byte) error {
	return s.add(initramfs.BytesFile(name, content, s.modTime))
}

// own returns e with the time of generated files.
func (s *source) own(e initramfs.Entry) initramfs.Entry {
	e.ModTime = s.modTime
	return e
}

// graft adds all of tree below the directory at.
func (s *source) graft(at string, tree *initramfs.Tree) error {
	ours, err := s.labelled(tree)
	if err != nil {
		return err
	}
	return s.tree.Graft(at, ours)
}

// labelled returns a copy of tree whose entries have this part's origins.
func (s *source) labelled(tree *initramfs.Tree) (*initramfs.Tree, error) {
	ours := &initramfs.Tree{}
	var links []initramfs.Entry
	for e := range tree.All() {
		e.Origin = s.origin(e.Origin)
		if e.Type == initramfs.HardLink {
			links = append(links, e)
			continue
		}
		if err := ours.Add(e); err != nil {
			return nil, err
		}
	}
	for _, e := range links {
		if err := ours.Add(e); err != nil {
			return nil, err
		}
	}
	return ours, nil
}

// graftUnder adds what tree has and the root file system lacks. The result is
// the same as if tree had been added first, except that a directory of tree
// goes through an existing symlink.
func (s *source) graftUnder(tree *initramfs.Tree) error {
	var links []initramfs.Entry
	for e := range tree.All() {
		if s.covers(e.Path) {
			continue
		}
		if e.Type == initramfs.HardLink {
			links = append(links, e)
			continue
		}
		if err := s.add(e); err != nil {
			return err
		}
	}
	for _, e := range links {
		if target, ok := tree.Lookup(e.Target); ok && s.covers(e.Target) && !s.isOurs(e.Target) {
			name := e.Path
			e = target
			e.Path = name // the name that it linked to belongs to another file now
		}
		if err := s.add(e); err != nil {
			return err
		}
	}
	return nil
}

// covers reports whether something is at name in the root file system.
func (s *source) covers(name string) bool {
	_, ok := lookup(&s.tree, name)
	return ok
}

func (s *source) isOurs(name string) bool {
	e, ok := lookup(&s.tree, name)
	part, known := s.owner[e.Origin]
	return ok && known && part == s.part
}

// count records what each part contributed to the finished tree.
func (l *layout) count(tree *initramfs.Tree) {
	for e := range tree.All() {
		if i, ok := l.owner[e.Origin]; ok && e.Type != initramfs.Dir {
			l.parts[i].Files++
			l.parts[i].Bytes += e.Size
		}
	}
}
