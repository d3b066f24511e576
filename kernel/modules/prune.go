package modules

import (
	"path"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// Choice selects modules of a kernel. A pattern is a module's name ("ice",
// "snd-*") or its path in the kernel's source, with "*" within one element
// ("drivers/net/ethernet/intel/*"). A directory means everything below it
// ("sound", "drivers/gpu/").
type Choice struct {
	// Include, if not empty, keeps only the modules that match it and their
	// dependencies. Exclude then removes modules.
	Include, Exclude []string
}

// Kept is the result of applying a [Choice].
type Kept struct {
	Modules []*Module
	// Needed are the modules that Exclude matches but that are kept because
	// others depend on them.
	Needed []*Module
}

// Choose returns the modules that a choice keeps: the requested ones and their
// dependencies, by symbols and by softdep. A pattern that matches nothing is an
// error: it is probably a typing mistake.
func (s *Set) Choose(c Choice) (*Kept, error) {
	wanted := slices.Clone(s.Modules)
	if len(c.Include) > 0 {
		wanted = nil
	}
	for _, pattern := range c.Include {
		found, err := s.matching(pattern)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, found...)
	}
	excluded := map[*Module]bool{}
	for _, pattern := range c.Exclude {
		found, err := s.matching(pattern)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			excluded[m] = true
		}
	}
	wanted = slices.DeleteFunc(wanted, func(m *Module) bool { return excluded[m] })
	return s.withDependencies(wanted, excluded), nil
}

// matching returns the modules that match a pattern.
func (s *Set) matching(pattern string) ([]*Module, error) {
	var found []*Module
	for _, m := range s.Modules {
		ok, err := m.matches(pattern)
		if err != nil {
			return nil, fault.Usagef("reading the module pattern %q: %w", pattern, err)
		}
		if ok {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil, fault.Usagef("choosing modules of %s: the pattern %q matches none of the %d modules", s.Release, pattern, len(s.Modules))
	}
	return found, nil
}

func (m *Module) matches(pattern string) (bool, error) {
	if !strings.Contains(pattern, "/") {
		ok, err := path.Match(strings.ReplaceAll(pattern, "-", "_"), m.Name)
		if ok || err != nil {
			return ok, err
		}
	}
	pattern = strings.Trim(strings.TrimPrefix(pattern, "kernel/"), "/")
	place := strings.TrimSuffix(strings.TrimPrefix(PlainName(m.Path), "kernel/"), ".ko")
	elements := strings.Split(place, "/")
	depth := strings.Count(pattern, "/") + 1
	if depth > len(elements) {
		_, err := path.Match(pattern, "")
		return false, err
	}
	return path.Match(pattern, strings.Join(elements[:depth], "/"))
}

// withDependencies adds the dependencies to a list, in the set's order.
func (s *Set) withDependencies(wanted []*Module, excluded map[*Module]bool) *Kept {
	keep := map[*Module]bool{}
	for len(wanted) > 0 {
		m := wanted[len(wanted)-1]
		wanted = wanted[:len(wanted)-1]
		if keep[m] {
			continue
		}
		keep[m] = true
		wanted = append(wanted, m.deps...)
		for _, soft := range m.softModules() {
			if d, ok := s.Lookup(soft); ok && !excluded[d] {
				wanted = append(wanted, d)
			}
		}
	}
	kept := &Kept{}
	for _, m := range s.Modules {
		if keep[m] {
			kept.Modules = append(kept.Modules, m)
		}
		if keep[m] && excluded[m] {
			kept.Needed = append(kept.Needed, m)
		}
	}
	return kept
}

// softModules returns the modules that softdep lines name: "pre: a b post: c".
func (m *Module) softModules() []string {
	var names []string
	for _, line := range m.SoftDeps {
		for _, word := range strings.Fields(line) {
			if !strings.HasSuffix(word, ":") {
				names = append(names, word)
			}
		}
	}
	return names
}

// Prune removes all modules except the kept ones from the tree, and the
// directories that become empty. It rewrites modules.order and the indexes, and
// returns the remaining set.
func (s *Set) Prune(t *initramfs.Tree, kept *Kept) (*Set, error) {
	keep := map[string]bool{}
	for _, m := range kept.Modules {
		keep[m.Path] = true
	}
	for _, m := range s.Modules {
		if keep[m.Path] {
			continue
		}
		t.Remove(Root(s.Release) + "/" + m.Path)
	}
	removeEmpty(t, Root(s.Release)+"/kernel/")
	left := &Set{Release: s.Release, Builtin: s.Builtin, builtinFields: s.builtinFields, byName: map[string]*Module{}, owners: map[string]*Module{}}
	var list []*Module
	for _, m := range kept.Modules {
		fresh := *m
		fresh.deps, fresh.users = nil, 0
		list = append(list, &fresh)
	}
	left.sort(list, nil)
	if err := left.link(); err != nil {
		return nil, err
	}
	if err := left.writeOrder(t); err != nil {
		return nil, err
	}
	return left, left.WriteIndexes(t)
}

// removeEmpty removes the directories below prefix that hold no files.
func removeEmpty(t *initramfs.Tree, prefix string) {
	filled := map[string]bool{}
	var dirs []string
	for e := range t.All() {
		if e.Type == initramfs.Dir {
			dirs = append(dirs, e.Path)
			continue
		}
		for dir := path.Dir(e.Path); dir != "." && !filled[dir]; dir = path.Dir(dir) {
			filled[dir] = true
		}
	}
	for _, dir := range dirs {
		if strings.HasPrefix(dir, prefix) && !filled[dir] {
			t.Remove(dir)
		}
	}
}

// writeOrder replaces modules.order.
func (s *Set) writeOrder(t *initramfs.Tree) error {
	old, ok := t.Lookup(Root(s.Release) + "/modules.order")
	if !ok {
		return nil
	}
	var text strings.Builder
	for _, m := range s.Modules {
		text.WriteString(PlainName(m.Path) + "\n")
	}
	e := initramfs.BytesFile(old.Path, []byte(text.String()), old.ModTime)
	e.Origin = old.Origin
	return t.Add(e)
}
