package modules

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
)

// FirmwareUse is one firmware file that a module asks for.
type FirmwareUse struct {
	// Name is relative to lib/firmware and may have wildcards.
	Name string
	// Module names who asks.
	Module string
	// BuiltIn tells whether that module is part of the kernel itself.
	BuiltIn bool
}

// Firmware lists what the modules and the kernel itself ask for, sorted by
// name.
func (s *Set) Firmware() []FirmwareUse {
	var uses []FirmwareUse
	for _, m := range s.Modules {
		for _, name := range m.Firmware {
			uses = append(uses, FirmwareUse{Name: name, Module: m.Name})
		}
	}
	for _, f := range s.builtinFields {
		if name, found := strings.CutPrefix(f.text, "firmware="); found {
			uses = append(uses, FirmwareUse{Name: name, Module: f.module, BuiltIn: true})
		}
	}
	slices.SortFunc(uses, func(a, b FirmwareUse) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Module, b.Module)
	})
	return slices.Compact(uses)
}

// firmwareRoots are where firmware lies in packages and images.
func firmwareRoots() []string { return []string{"lib/firmware", "usr/lib/firmware", ""} }

// FindFirmware looks a name up in a file tree: at lib/firmware,
// usr/lib/firmware or the tree's root, plain or as the kernel can unpack it
// (.zst, .xz). It gives the paths of what it finds.
func FindFirmware(from *initramfs.Tree, name string) []string {
	for _, root := range firmwareRoots() {
		for _, suffix := range []string{"", ".zst", ".xz"} {
			if found := globTree(from, path.Join(root, name)+suffix); len(found) > 0 {
				return found
			}
		}
	}
	return nil
}

// globTree finds paths in a tree; only the last element may have wildcards.
func globTree(t *initramfs.Tree, pattern string) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		if _, ok := t.Resolve(pattern); ok {
			return []string{pattern}
		}
		return nil
	}
	var found []string
	for e := range t.All() {
		if ok, err := path.Match(pattern, e.Path); ok && err == nil && e.Type != initramfs.Dir {
			found = append(found, e.Path)
		}
	}
	return found
}

// AddFirmware copies what the modules ask for from one tree to lib/firmware in
// another. It gives the uses that it could not serve.
func (s *Set) AddFirmware(to, from *initramfs.Tree) (missing []FirmwareUse, err error) {
	done := map[string]bool{}
	for _, use := range s.Firmware() {
		found := FindFirmware(from, use.Name)
		if len(found) == 0 {
			missing = append(missing, use)
		}
		for _, name := range found {
			if done[name] {
				continue
			}
			done[name] = true
			if err := copyFirmware(to, from, name, use.Name); err != nil {
				return nil, err
			}
		}
	}
	return missing, nil
}

// copyFirmware copies one file. Of a link, which distributions have where two
// devices share a firmware, the file that it leads to is copied.
func copyFirmware(to, from *initramfs.Tree, name, wanted string) error {
	target, ok := from.Resolve(name)
	if !ok {
		return fmt.Errorf("adding the firmware %q: the link leads nowhere", name)
	}
	e, _ := from.Lookup(target)
	if e.Type == initramfs.HardLink {
		e, _ = from.Lookup(e.Target)
	}
	if e.Type != initramfs.Regular {
		return fmt.Errorf("adding the firmware %q: it is a %s", name, e.Type)
	}
	e.Path = path.Join("lib/firmware", path.Dir(wanted), path.Base(name))
	e.UID, e.GID, e.Mode = 0, 0, 0o644
	return to.Add(e)
}

// BuiltinNames lists the modules that modules.builtin.modinfo tells of,
// sorted.
func (s *Set) BuiltinNames() []string {
	var names []string
	for _, f := range s.builtinFields {
		names = append(names, f.module)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// BuiltinValues gives the values of a built-in module's field ("alias",
// "firmware"), in order.
func (s *Set) BuiltinValues(module, key string) []string {
	var values []string
	for _, f := range s.builtinFields {
		if value, found := strings.CutPrefix(f.text, key+"="); found && f.module == module {
			values = append(values, value)
		}
	}
	return values
}
