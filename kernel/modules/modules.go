// Package modules reads kernel modules (ELF files, plain or compressed by gzip,
// xz or zstd) and natively makes the indexes that modprobe needs and that
// kmod's depmod program makes. It also tells which devices a set of modules
// drives and which firmware it requests.
//
// The text indexes are those of depmod(8) and modules.dep(5). The binary
// indexes have the trie format described in kmod's libkmod-index.c, version
// 2.1. kmod's modprobe reads only the binary indexes, busybox only the text.
// Configuration files of depmod (search order, overrides) are not supported on
// purpose: if two modules have the same name, "updates" takes precedence, which
// is depmod's default.
package modules

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"hookbuild/internal/initramfs"
)

// Module holds the information in one .ko file.
type Module struct {
	// Name is the module's name, with underscores: "snd_hda_intel".
	Name string
	// Path is relative to lib/modules/RELEASE: "kernel/drivers/net/veth.ko.xz".
	Path string
	// Aliases, SoftDeps, WeakDeps and Firmware are the values of those fields
	// of .modinfo in order.
	Aliases, SoftDeps, WeakDeps, Firmware []string
	// Description, Vermagic, License and Version are the fields of those names.
	Description, Vermagic, License, Version string
	// Requires lists the modules in the field "depends".
	Requires []string

	exports []string
	needs   []string
	deps    []*Module // direct dependencies by symbol, in the order in which they are needed
	users   int       // number of modules that depend on this one
	order   int       // position in the topological order: users before used
	index   int       // index in Set.Modules
}

// Set holds all modules of one release.
type Set struct {
	// Release is the name of the directory below lib/modules.
	Release string
	// Modules is in the order of modules.order. Modules that modules.order
	// lacks follow, sorted by path.
	Modules []*Module
	// Builtin holds the names in modules.builtin, in its order.
	Builtin []string

	builtinFields []builtinField
	byName        map[string]*Module
	owners        map[string]*Module // by exported symbol
}

// Root returns the directory of a release's modules in a file tree.
func Root(release string) string { return "lib/modules/" + release }

// Read reads all modules in lib/modules/<release> of the tree, jobs at a time
// (0 means one per core), and resolves their dependencies.
func Read(ctx context.Context, t *initramfs.Tree, release string, jobs int) (*Set, error) {
	s := &Set{Release: release, byName: map[string]*Module{}, owners: map[string]*Module{}}
	files := moduleFiles(t, Root(release))
	read := make([]*Module, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(jobsOr(jobs))
	for i, e := range files {
		group.Go(func() (err error) {
			if err = ctx.Err(); err == nil {
				read[i], err = readModule(e, strings.TrimPrefix(e.Path, Root(release)+"/"))
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	order, err := readOrder(t, release)
	if err != nil {
		return nil, err
	}
	s.sort(read, order)
	if err := s.readBuiltin(t); err != nil {
		return nil, err
	}
	return s, s.link()
}

func jobsOr(jobs int) int {
	if jobs > 0 {
		return jobs
	}
	return runtime.GOMAXPROCS(0)
}

// moduleFiles returns the .ko files below root, one for each module name.
func moduleFiles(t *initramfs.Tree, root string) []initramfs.Entry {
	best := map[string]initramfs.Entry{}
	for e := range t.All() {
		rel, inside := strings.CutPrefix(e.Path, root+"/")
		if !inside || !IsModule(e.Path) || e.Type != initramfs.Regular && e.Type != initramfs.HardLink {
			continue
		}
		name := e.Path
		e, _ = t.File(name)
		e.Path = name
		old, taken := best[NameOf(e.Path)]
		if !taken || strings.HasPrefix(rel, "updates/") && !strings.HasPrefix(old.Path, root+"/updates/") {
			best[NameOf(e.Path)] = e
		}
	}
	files := make([]initramfs.Entry, 0, len(best))
	for _, e := range best {
		files = append(files, e)
	}
	slices.SortFunc(files, func(a, b initramfs.Entry) int { return initramfs.ComparePaths(a.Path, b.Path) })
	return files
}

// IsModule reports whether a file is a module, judging by its name.
func IsModule(name string) bool {
	for _, suffix := range []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// NameOf returns the module name for a path: "snd_hda" for "a/snd-hda.ko.xz".
func NameOf(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// Lookup returns a module by its name, with dashes or underscores.
func (s *Set) Lookup(name string) (*Module, bool) {
	m, ok := s.byName[strings.ReplaceAll(name, "-", "_")]
	return m, ok
}

// sort puts the modules in the order of modules.order.
func (s *Set) sort(read []*Module, order map[string]int) {
	place := func(m *Module) int {
		if n, listed := order[PlainName(m.Path)]; listed {
			return n
		}
		return len(order)
	}
	slices.SortStableFunc(read, func(a, b *Module) int { return place(a) - place(b) })
	s.Modules = read
	for i, m := range read {
		m.index = i
		s.byName[m.Name] = m
	}
}

// PlainName removes what follows ".ko" in a module's path: "a.ko.xz" becomes
// "a.ko".
func PlainName(name string) string {
	if i := strings.LastIndex(name, ".ko."); i >= 0 {
		return name[:i+len(".ko")]
	}
	return name
}

// readOrder returns the line number of each line of modules.order. A missing
// file has no lines.
func readOrder(t *initramfs.Tree, release string) (map[string]int, error) {
	text, err := readText(t, Root(release)+"/modules.order")
	if err != nil {
		return nil, err
	}
	order := map[string]int{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if _, seen := order[line]; !seen {
			order[line] = len(order)
		}
	}
	return order, nil
}

func (m *Module) errorf(format string, args ...any) error {
	return fmt.Errorf("reading the module %q: "+format, append([]any{m.Path}, args...)...)
}
