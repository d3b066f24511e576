// Package survey collects what a HookOS consists of, compares two, and writes the
// results as text or an HTML page. It reads an opened kernel, an opened initramfs
// or both, and changes nothing.
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
	// Name is the name for the user.
	Name string
	// Kernel is nil if only an initramfs was given.
	Kernel *kernel.Image
	// WithoutModules reports that Kernel is only a vmlinuz, whose modules are not
	// known.
	WithoutModules bool
	// Existing is nil if only a kernel was given.
	Existing *remaster.Existing
	// Record is the entry for the files in manifest.json, or nil.
	Record *artifact.Build
	// Jobs is the number of modules that are read in parallel. 0 means one for
	// each core.
	Jobs int
}

// System is what a HookOS consists of.
type System struct {
	Name string
	// Kernel and Features are nil if no kernel was given.
	Kernel   *kernel.Report
	Features *kernel.Features
	// Catalog is nil if the modules are not known.
	Catalog *modules.Catalog
	// Drivers lists the devices that each module drives.
	Drivers []devices.Claims
	// Tree is empty if no initramfs was given. Then the fields below it are zero.
	Tree     *initramfs.Tree
	HasTree  bool
	Segments []initramfs.Segment
	Memory   embed.Memory
	Images   []Image
	// Layout is the layout of the store of the images, empty without a store.
	Layout embed.Layout
	Record *artifact.Build
}

// Image is an embedded image.
type Image struct {
	ID    string
	Names []string
	// Digests are the names by digest.
	Digests []string
	Size    int64 // of the unpacked files
	// Layers are the chain IDs of the layers, lowest first.
	Layers []string
}

// Read returns the system that the parts make up.
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
	s.Layout = store.Layout()
	for _, image := range store.Images() {
		layers := make([]string, len(image.Layers))
		for i, chain := range image.Layers {
			layers[i] = chain.String()
		}
		s.Images = append(s.Images, Image{image.ID.String(), image.Names, image.Digests, image.Size, layers})
	}
	return nil
}

// part is the part of a system that a file belongs to.
type part int

const (
	ofSystem part = iota
	ofModules
	ofFirmware
	ofImages
	ofContainers
)

// partOf returns the part that the file at a path belongs to.
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

// sizes returns the total size of the files of each part.
func (s *System) sizes() map[part]int64 {
	total := map[part]int64{}
	for e := range s.Tree.All() {
		if e.Type == initramfs.Regular {
			total[partOf(e.Path)] += e.Size
		}
	}
	return total
}

// firmware returns the names of the firmware files, sorted.
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

// node is a file, a directory with the size of everything below it, or what gather
// combined.
type node struct {
	Name     string  `json:"n"`
	Size     int64   `json:"s"`
	Files    int     `json:"f,omitempty"` // in a directory or in what gather combined
	Children []*node `json:"c,omitempty"`

	byName map[string]*node
}

// treemap returns the tree of the files with their sizes, largest first. In each
// directory, files and directories smaller than 1/2000 of the total are combined.
func (s *System) treemap() *node {
	root := &node{Name: "/", byName: map[string]*node{}}
	for e := range s.Tree.All() {
		if e.Type == initramfs.Regular && e.Size > 0 {
			root.add(strings.Split(e.Path, "/"), e.Size)
		}
	}
	root.gather(root.Size / 2000)
	return root
}

func (n *node) add(names []string, size int64) {
	n.Size += size
	n.Files++
	if len(names) == 0 {
		return
	}
	child := n.byName[names[0]]
	if child == nil {
		child = &node{Name: names[0], byName: map[string]*node{}}
		n.byName[names[0]] = child
		n.Children = append(n.Children, child)
	}
	child.add(names[1:], size)
}

// gather sorts the children and combines those smaller than least into one without
// a name. It joins a directory with its only child.
func (n *node) gather(least int64) {
	rest := &node{}
	var kept []*node
	for _, c := range n.Children {
		if c.Size < least {
			rest.Size += c.Size
			rest.Files += c.Files
			continue
		}
		c.gather(least)
		kept = append(kept, c)
	}
	slices.SortFunc(kept, func(a, b *node) int {
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
