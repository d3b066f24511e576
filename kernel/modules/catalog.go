package modules

import (
	"context"
	"maps"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// Catalog tells which devices a kernel's modules drive. It reads depmod's text
// indexes and opens a module only for the firmware that it requests, so it is
// fast even for a kernel with thousands of compressed modules. A [Set] has more
// information, such as symbols, and reads every module.
type Catalog struct {
	// Release is the name of the directory below lib/modules.
	Release string
	// Modules holds the loadable modules, sorted by path.
	Modules []*Listed
	// Builtin holds the names in modules.builtin, in its order.
	Builtin []string

	byName  map[string]*Listed
	builtin map[string][]string // the fields "key=value" by module
}

// Listed is one module in a [Catalog].
type Listed struct {
	Name, Path string
	Aliases    []string

	needs    []*Listed
	entry    initramfs.Entry
	firmware []string
	read     bool // whether firmware was read
}

// ReadCatalog reads the indexes in lib/modules/<release> of the tree. If they
// are missing or do not list every module, it reads the modules themselves,
// jobs at a time (0 means one per core).
func ReadCatalog(ctx context.Context, t *initramfs.Tree, release string, jobs int) (*Catalog, error) {
	c, complete, err := catalogFromIndexes(t, release)
	if err != nil || complete {
		return c, err
	}
	s, err := Read(ctx, t, release, jobs)
	if err != nil {
		return nil, err
	}
	return s.Catalog(), nil
}

// Catalog returns what the set knows of devices and firmware.
func (s *Set) Catalog() *Catalog {
	c := newCatalog(s.Release)
	for _, m := range s.Modules {
		c.add(&Listed{Name: m.Name, Path: m.Path, Aliases: m.Aliases, firmware: m.Firmware, read: true})
	}
	for _, m := range s.Modules {
		for _, d := range m.Dependencies() {
			c.byName[m.Name].needs = append(c.byName[m.Name].needs, c.byName[d.Name])
		}
	}
	c.addBuiltin(s)
	return c
}

func newCatalog(release string) *Catalog {
	return &Catalog{Release: release, byName: map[string]*Listed{}, builtin: map[string][]string{}}
}

func (c *Catalog) add(m *Listed) {
	c.Modules = append(c.Modules, m)
	c.byName[m.Name] = m
}

func (c *Catalog) addBuiltin(s *Set) {
	c.Builtin = s.Builtin
	for _, f := range s.builtinFields {
		c.builtin[f.module] = append(c.builtin[f.module], f.text)
	}
}

// catalogFromIndexes returns false if the indexes do not list every module.
func catalogFromIndexes(t *initramfs.Tree, release string) (*Catalog, bool, error) {
	c := newCatalog(release)
	for _, e := range moduleFiles(t, Root(release)) {
		rel := strings.TrimPrefix(e.Path, Root(release)+"/")
		c.add(&Listed{Name: NameOf(rel), Path: rel, entry: e})
	}
	for _, read := range []func(*initramfs.Tree) (bool, error){c.readDependencies, c.readAliases} {
		if complete, err := read(t); err != nil || !complete {
			return nil, false, err
		}
	}
	s := &Set{Release: release}
	if err := s.readBuiltin(t); err != nil {
		return nil, false, err
	}
	c.addBuiltin(s)
	return c, true, nil
}

// readDependencies reads modules.dep, whose lines are "PATH: PATH...". It
// reports whether every module has a line.
func (c *Catalog) readDependencies(t *initramfs.Tree) (bool, error) {
	text, err := readText(t, Root(c.Release)+"/modules.dep")
	if err != nil {
		return false, err
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		file, needs, found := strings.Cut(strings.TrimSpace(line), ":")
		m := c.byName[NameOf(file)]
		if !found || m == nil {
			continue
		}
		listed[m.Name] = true
		for _, need := range strings.Fields(needs) {
			if d := c.byName[NameOf(need)]; d != nil {
				m.needs = append(m.needs, d)
			}
		}
	}
	return len(listed) == len(c.Modules), nil
}

// readAliases reads modules.alias, whose lines are "alias ALIAS MODULE".
func (c *Catalog) readAliases(t *initramfs.Tree) (bool, error) {
	text, err := readText(t, Root(c.Release)+"/modules.alias")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(text)) {
		rest, found := strings.CutPrefix(strings.TrimSpace(line), "alias ")
		i := strings.LastIndexByte(rest, ' ')
		if !found || i < 0 {
			continue
		}
		if m := c.byName[strings.ReplaceAll(rest[i+1:], "-", "_")]; m != nil {
			m.Aliases = append(m.Aliases, rest[:i])
		}
	}
	return len(text) > 0 || len(c.Modules) == 0, nil
}

// Lookup returns a loadable module by its name, with dashes or underscores.
func (c *Catalog) Lookup(name string) (*Listed, bool) {
	m, ok := c.byName[strings.ReplaceAll(name, "-", "_")]
	return m, ok
}

// Firmware returns the firmware that the module and its dependencies request.
func (c *Catalog) Firmware(m *Listed) ([]string, error) {
	names, err := m.ownFirmware()
	for _, d := range m.needs {
		if err != nil {
			break
		}
		var more []string
		more, err = d.ownFirmware()
		names = append(names[:len(names):len(names)], more...)
	}
	return names, err
}

func (m *Listed) ownFirmware() ([]string, error) {
	if m.read {
		return m.firmware, nil
	}
	full, err := readModule(m.entry, m.Path)
	if err != nil {
		return nil, fault.Mark(err, fault.Invalid)
	}
	m.firmware, m.read = full.Firmware, true
	return m.firmware, nil
}

// BuiltinNames returns the sorted names of the modules in
// modules.builtin.modinfo.
func (c *Catalog) BuiltinNames() []string { return slices.Sorted(maps.Keys(c.builtin)) }

// BuiltinValues returns the values of a built-in module's field ("alias",
// "firmware") in order.
func (c *Catalog) BuiltinValues(module, key string) []string {
	var values []string
	for _, text := range c.builtin[module] {
		if value, found := strings.CutPrefix(text, key+"="); found {
			values = append(values, value)
		}
	}
	return values
}
