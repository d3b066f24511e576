package modules

import (
	"slices"
	"strings"

	"hookbuild/internal/fault"
)

// link finds each module's direct dependencies by the symbols that it needs,
// and the order in which modules can be loaded.
func (s *Set) link() error {
	for _, m := range s.Modules {
		for _, symbol := range m.exports {
			s.owners[symbol] = m
		}
	}
	for _, m := range s.Modules {
		s.linkModule(m)
	}
	return s.arrange()
}

func (s *Set) linkModule(m *Module) {
	for _, symbol := range m.needs {
		// On PowerPC, the names of functions' entry points start with a dot.
		owner := s.owners[strings.TrimPrefix(symbol, ".")]
		if owner == nil || slices.Contains(m.deps, owner) {
			continue
		}
		m.deps = append(m.deps, owner)
		owner.users++
	}
}

// arrange sorts topologically, users first. The order is the same as depmod's
// (the last module without users comes first), since it shows in modules.dep.
func (s *Set) arrange() error {
	users := make([]int, len(s.Modules))
	var free []*Module
	for i, m := range s.Modules {
		if users[i] = m.users; m.users == 0 {
			free = append(free, m)
		}
	}
	placed := 0
	for ; len(free) > 0; placed++ {
		m := free[len(free)-1]
		free = free[:len(free)-1]
		m.order = placed
		for _, d := range m.deps {
			if users[d.index]--; users[d.index] == 0 {
				free = append(free, d)
			}
		}
	}
	if placed == len(s.Modules) {
		return nil
	}
	return fault.Invalidf("resolving the modules of %s: these depend on each other in a circle: %s",
		s.Release, strings.Join(s.circular(users), ", "))
}

// circular names the modules that still have users after the sorting.
func (s *Set) circular(users []int) []string {
	var names []string
	for i, m := range s.Modules {
		if users[i] > 0 {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Dependencies returns all modules that must be loaded before m. Modules that
// others need come last.
func (m *Module) Dependencies() []*Module {
	seen := map[*Module]bool{}
	var all []*Module
	todo := slices.Clone(m.deps)
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[d] {
			continue
		}
		seen[d] = true
		all = append(all, d)
		todo = append(todo, d.deps...)
	}
	slices.SortFunc(all, func(a, b *Module) int { return a.order - b.order })
	return all
}
