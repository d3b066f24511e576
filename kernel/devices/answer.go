package devices

import (
	"fmt"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/modules"
)

// Inventory is what a kernel has, to put devices to.
type Inventory struct {
	// Modules are the kernel's own.
	Modules *modules.Set
	// Features answer for options where the modules do not; may be nil.
	Features *kernel.Features
	// Firmware is the tree with lib/firmware; nil when it is not known.
	Firmware *initramfs.Tree
	// Table knows the drivers that the kernel lacks.
	Table *Table
}

// Driver is one driver for a device.
type Driver struct {
	Module string `json:"module"`
	// Option would add the driver; empty when it is not known.
	Option string `json:"option,omitempty"`
	// State is whether the kernel has it: "built in", "module" or "missing".
	State    string     `json:"state"`
	Firmware []Firmware `json:"firmware,omitempty"`
}

// Firmware is a file that a driver may ask for.
type Firmware struct {
	Name string `json:"name"`
	// Present tells whether it is on board; it is always false when the
	// inventory does not know the firmware.
	Present bool `json:"present"`
}

// String is "ice: missing; CONFIG_ICE adds it".
func (d Driver) String() string {
	text := d.Module + ": " + d.State
	if d.State == kernel.Missing.String() && d.Option != "" {
		text += "; " + d.Option + " adds it"
	}
	var absent []string
	for _, f := range d.Firmware {
		if !f.Present {
			absent = append(absent, f.Name)
		}
	}
	switch {
	case len(absent) > 3:
		return fmt.Sprintf("%s; firmware not on board: %s and %d more", text, strings.Join(absent[:3], ", "), len(absent)-3)
	case len(absent) > 0:
		return text + "; firmware not on board: " + strings.Join(absent, ", ")
	}
	return text
}

// Find lists the drivers for a device, those that the kernel has first. None
// means that no driver is known, not even in the table: bridges and memory
// controllers need none.
func (in *Inventory) Find(d Device) []Driver {
	var drivers []Driver
	have := map[string]bool{}
	add := func(driver Driver) {
		if !have[driver.Module] {
			have[driver.Module] = true
			drivers = append(drivers, driver)
		}
	}
	for module, aliases := range in.builtinAliases() {
		if matchesAny(aliases, d) {
			add(in.driver(module, kernel.BuiltIn, in.Modules.BuiltinValues(module, "firmware")))
		}
	}
	slices.SortFunc(drivers, func(a, b Driver) int { return strings.Compare(a.Module, b.Module) })
	for _, m := range in.Modules.Modules {
		if matchesAny(m.Aliases, d) {
			add(in.driver(m.Name, kernel.Module, m.Firmware))
		}
	}
	for _, known := range in.Table.Find(d) {
		add(in.driver(known.Module, in.stateOf(known), known.Firmware))
	}
	return drivers
}

// builtinAliases gives the aliases of what is built in, by module.
func (in *Inventory) builtinAliases() map[string][]string {
	aliases := map[string][]string{}
	for _, name := range in.Modules.BuiltinNames() {
		aliases[name] = in.Modules.BuiltinValues(name, "alias")
	}
	return aliases
}

// stateOf finds a driver of the table in a kernel whose own lists do not have
// its aliases.
func (in *Inventory) stateOf(known *Known) kernel.State {
	if slices.Contains(in.Modules.Builtin, known.Module) {
		return kernel.BuiltIn
	}
	if _, ok := in.Modules.Lookup(known.Module); ok {
		return kernel.Module
	}
	if in.Features != nil && known.Option != "" && in.Features.Option(known.Option) == kernel.BuiltIn {
		return kernel.BuiltIn
	}
	return kernel.Missing
}

func (in *Inventory) driver(module string, state kernel.State, firmware []string) Driver {
	d := Driver{Module: module, State: state.String()}
	if known, ok := in.Table.Module(module); ok {
		d.Option = known.Option
	}
	for _, name := range firmware {
		present := in.Firmware != nil && len(modules.FindFirmware(in.Firmware, name)) > 0
		d.Firmware = append(d.Firmware, Firmware{name, present})
	}
	return d
}
