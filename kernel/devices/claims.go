package devices

import (
	"slices"
	"strings"

	"hookbuild/kernel/modules"
)

// Claims are the devices that a driver names.
type Claims struct {
	Module  string
	BuiltIn bool
	// Devices is a sorted list of texts such as "pci 8086:1592", or "pci class
	// 0108" for a driver that matches by class.
	Devices []string
}

// ClaimsOf returns the drivers of PCI and USB devices, sorted by module.
func ClaimsOf(c *modules.Catalog) []Claims {
	var all []Claims
	add := func(module string, builtIn bool, aliases []string) {
		var names []string
		for _, text := range aliases {
			if a, ok := parseAlias(text); ok {
				names = append(names, a.subject())
			}
		}
		slices.Sort(names)
		if len(names) > 0 {
			all = append(all, Claims{module, builtIn, slices.Compact(names)})
		}
	}
	for _, name := range c.BuiltinNames() {
		add(name, true, c.BuiltinValues(name, "alias"))
	}
	for _, m := range c.Modules {
		add(m.Name, false, m.Aliases)
	}
	slices.SortStableFunc(all, func(a, b Claims) int { return strings.Compare(a.Module, b.Module) })
	return all
}

// subject returns the devices that an alias is for, without their variants.
func (a alias) subject() string {
	if a.namesDevice() {
		return a.bus + " " + short(a.fields[0]) + ":" + short(a.fields[1])
	}
	text := a.bus
	if a.fields[0] != "*" {
		text += " vendor " + short(a.fields[0])
	}
	class, sub := a.fields[4], a.fields[5]
	if a.bus == "usb" {
		class, sub = a.fields[6], a.fields[7]
	}
	if class != "*" {
		text += " class " + strings.ToLower(class+strings.ReplaceAll(sub, "*", ".."))
	}
	return text
}

// short returns an alias's number as lspci prints it.
func short(field string) string {
	return strings.ToLower(strings.TrimPrefix(field, "0000"))
}
