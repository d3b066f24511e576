// Package survey collects what a HookOS consists of, tells what differs between
// two, and writes both as a page for a browser. It reads a kernel, an initramfs
// or both that package remaster opened, and changes nothing.
package survey

import (
	"context"
	"path"
	"slices"
	"strings"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/devices"
	"hookbuild/kernel/modules"
)

// Parts are the opened files of a HookOS.
type Parts struct {
	// Name is what a user calls them.
	Name string
	// Kernel is nil when only an initramfs was given.
	Kernel *kernel.Image
	// WithoutModules reports that Kernel is a vmlinuz alone, whose modules are
	// not known.
	WithoutModules bool
	// Existing is nil when only a kernel was given.
	Existing *remaster.Existing
	// Record is the entry for the files in manifest.json; nil without one.
	Record *artifact.Build
	// Jobs is how many modules are read at once; 0 means one a core.
	Jobs int
}

// System is what a HookOS consists of.
type System struct {
	Name string
	// Kernel and Features are nil when no kernel was given.
	Kernel   *kernel.Report
	Features *kernel.Features
	// Catalog is nil when the modules are not known.
	Catalog *modules.Catalog
	// Drivers lists what drives devices, by module.
	Drivers []devices.Claims
	// Tree is empty when no initramfs was given; then the fields below it are
	// zero too.
	Tree     *initramfs.Tree
	HasTree  bool
	Segments []initramfs.Segment
	Memory   embed.Memory
	Images   []Image
	Record   *artifact.Build
}

// Image is an embedded image.
type Image struct {
	ID    string
	Names []string
	// Digests are the names by digest.
	Digests []string
	Size    int64 // of the unpacked files
}

// Read collects what the parts tell.
func Read(ctx context.Context, p Parts) (*System, error) {
	s := &System{Name: p.Name, Tree: &initramfs.Tree{}, Record: p.Record}
	if err := s.readKernel(ctx, p); err != nil {
		return nil, err
	}
	if err := s.readInitramfs(ctx, p); err != nil {
		return nil, err
	}
	if s.Catalog != nil {
		s.Drivers = devices.ClaimsOf(s.Catalog)
	}
	return s, nil
}

func (s *System) readKernel(ctx context.Context, p Parts) (err error) {
	if p.Kernel == nil {
		return nil
	}
	if s.Kernel, err = p.Kernel.Report(ctx); err != nil {
		return err
	}
	if s.Features, err = p.Kernel.Features(ctx); err != nil || p.WithoutModules {
		return err
	}
	s.Catalog, err = p.Kernel.Catalog(ctx, p.Jobs)
	return err
}

func (s *System) readInitramfs(ctx context.Context, p Parts) (err error) {
	if p.Existing == nil {
		return nil
	}
	s.Tree, s.HasTree, s.Segments = p.Existing.Contents.Tree, true, p.Existing.Contents.Segments
	s.Memory = embed.MemoryToBoot(p.Existing.Size(), s.Tree.All())
	if p.Kernel == nil {
		if s.Catalog, err = kernel.CatalogIn(ctx, s.Tree, p.Jobs); err != nil {
			return err
		}
	}
	store, err := p.Existing.Store()
	if err != nil || store == nil {
		return err
	}
	for _, image := range store.Images() {
		s.Images = append(s.Images, Image{image.ID.String(), image.Names, image.Digests, image.Size})
	}
	return nil
}

// part says what a file belongs to.
type part int

const (
	ofSystem part = iota
	ofModules
	ofFirmware
	ofImages
	ofContainers
)

// partOf classifies a path.
func partOf(name string) part {
	below := strings.TrimPrefix(name, "usr/") + "/"
	switch {
	case strings.HasPrefix(below, "lib/modules/"):
		return ofModules
	case strings.HasPrefix(below, "lib/firmware/"):
		return ofFirmware
	case name == embed.StorePath || strings.HasPrefix(name, embed.StorePath+"/"):
		return ofImages
	case strings.HasPrefix(name, "containers/"):
		return ofContainers
	}
	return ofSystem
}

// sizes adds up the files by what they belong to.
func (s *System) sizes() map[part]int64 {
	total := map[part]int64{}
	for e := range s.Tree.All() {
		if e.Type == initramfs.Regular {
			total[partOf(e.Path)] += e.Size
		}
	}
	return total
}

// firmware lists the names of the firmware files on board, sorted.
func (s *System) firmware() []string {
	var names []string
	for e := range s.Tree.All() {
		if partOf(e.Path) == ofFirmware && e.Type != initramfs.Dir {
			_, name, _ := strings.Cut(e.Path, "lib/firmware/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Node is a directory or file with the size of all below it.
type Node struct {
	Name     string  `json:"n"`
	Size     int64   `json:"s"`
	Files    int     `json:"f,omitempty"` // in a directory, and in what was gathered
	Children []*Node `json:"c,omitempty"`

	byName map[string]*Node
}

// Treemap returns the tree of the files with their sizes, largest first. What is
// smaller than a 2000th of all is gathered, directory by directory.
func (s *System) Treemap() *Node {
	root := &Node{Name: "/", byName: map[string]*Node{}}
	for e := range s.Tree.All() {
		if e.Type == initramfs.Regular && e.Size > 0 {
			root.add(strings.Split(e.Path, "/"), e.Size)
		}
	}
	root.gather(root.Size / 2000)
	return root
}

func (n *Node) add(names []string, size int64) {
	n.Size += size
	n.Files++
	if len(names) == 0 {
		return
	}
	child := n.byName[names[0]]
	if child == nil {
		child = &Node{Name: names[0], byName: map[string]*Node{}}
		n.byName[names[0]] = child
		n.Children = append(n.Children, child)
	}
	child.add(names[1:], size)
}

// gather sorts the children and puts those below least into one, and joins a
// directory with its only child.
func (n *Node) gather(least int64) {
	rest := &Node{}
	var kept []*Node
	for _, c := range n.Children {
		if c.Size < least {
			rest.Size += c.Size
			rest.Files += c.Files
			continue
		}
		c.gather(least)
		kept = append(kept, c)
	}
	slices.SortFunc(kept, func(a, b *Node) int {
		if a.Size != b.Size {
			return int(max(-1, min(1, b.Size-a.Size)))
		}
		return strings.Compare(a.Name, b.Name)
	})
	n.Children = kept
	if len(kept) == 0 {
		return
	}
	if rest.Files > 0 {
		n.Children = append(n.Children, rest)
	} else if len(kept) == 1 && n.Name != "/" {
		n.Name, n.Children = path.Join(n.Name, kept[0].Name), kept[0].Children
	}
}
