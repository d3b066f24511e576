package modules

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
)

// FirmwareUse is a firmware file that a module requests.
type FirmwareUse struct {
	// Name is relative to lib/firmware and may have wildcards.
	Name string
	// Module is the name of that module.
	Module string
	// BuiltIn reports whether that module is part of the kernel itself.
	BuiltIn bool
}

// Firmware returns the firmware that the modules and the kernel itself request,
// sorted by name.
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

// Updates is where the kernel looks for firmware first.
const Updates = "lib/firmware/updates"

// firmwareRoots returns the directories that hold firmware in packages and
// images.
func firmwareRoots() []string { return []string{Updates, "lib/firmware", "usr/lib/firmware", ""} }

// FindFirmware looks up a name in a file tree: in lib/firmware/updates,
// in lib/firmware, in usr/lib/firmware and in the tree's root, plain or in a compression that the
// kernel can unpack (.zst, .xz). It returns the paths of the files found.
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

// globTree returns matching paths in a tree. Only the last element may have
// wildcards.
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

// AddFirmware copies the firmware that the modules request from one tree to
// lib/firmware in another. It returns the requests that from cannot satisfy.
func (s *Set) AddFirmware(to, from *initramfs.Tree) (missing []FirmwareUse, err error) {
	done := map[string]bool{}
	for _, use := range s.Firmware() {
		found := FindFirmware(from, use.Name)
		if len(found) == 0 && len(FindFirmware(to, use.Name)) == 0 {
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

// copyFirmware copies one file. For a link, which distributions use where two
// devices share a firmware, it copies the target.
func copyFirmware(to, from *initramfs.Tree, name, wanted string) error {
	e, ok := from.Find(name)
	if !ok {
		return fmt.Errorf("adding the firmware %q: the target of the link does not exist", name)
	}
	if e.Type != initramfs.Regular {
		return fmt.Errorf("adding the firmware %q: it is a %s", name, e.Type)
	}
	e.Path = path.Join("lib/firmware", path.Dir(wanted), path.Base(name))
	e.UID, e.GID, e.Mode = 0, 0, 0o644
	return to.Add(e)
}

// BuiltinNames returns the sorted names of the modules in
// modules.builtin.modinfo.
func (s *Set) BuiltinNames() []string {
	var names []string
	for _, f := range s.builtinFields {
		names = append(names, f.module)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// BuiltinValues returns the values of a built-in module's field ("alias",
// "firmware") in order.
func (s *Set) BuiltinValues(module, key string) []string {
	var values []string
	for _, f := range s.builtinFields {
		if value, found := strings.CutPrefix(f.text, key+"="); found && f.module == module {
			values = append(values, value)
		}
	}
	return values
}
