package devices

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/modules"
)

// Sources are what an answer is made from.
type Sources struct {
	// Modules are the kernel's own; nil when only a vmlinuz was given, whose
	// modules nobody has seen.
	Modules *modules.Catalog
	// Features answer for options where the modules do not; nil when no kernel
	// was given.
	Features *kernel.Features
	// Release is the kernel's, "" when it is not known.
	Release string
	// Firmware is the tree with lib/firmware; nil when none was given.
	Firmware *initramfs.Tree
	// Table knows the drivers that the kernel lacks.
	Table *Table
}

// Inventory answers for one kernel. It is not safe for concurrent use.
type Inventory struct {
	Sources
	index    index[string] // of the kernel's own modules, by name
	builtin  map[string]bool
	firmware []string // the paths of Firmware below lib/firmware
	present  map[string]bool
}

// NewInventory indexes the aliases of the kernel's modules.
func NewInventory(s Sources) *Inventory {
	in := &Inventory{Sources: s, builtin: map[string]bool{}, present: map[string]bool{}}
	if s.Modules == nil {
		return in
	}
	for _, name := range s.Modules.Builtin {
		in.builtin[name] = true
	}
	for _, name := range s.Modules.BuiltinNames() {
		for _, text := range s.Modules.BuiltinValues(name, "alias") {
			in.builtin[name] = true
			in.index.add(text, name)
		}
	}
	for _, m := range s.Modules.Modules {
		for _, text := range m.Aliases {
			in.index.add(text, m.Name)
		}
	}
	return in
}

// Driver is one driver for a device.
type Driver struct {
	Module string `json:"module"`
	// Option would add the driver; empty when it is not known.
	Option string `json:"option,omitempty"`
	// State is whether the kernel has it: "built in", "module", "missing" or,
	// where what was given does not tell, "unknown".
	State string `json:"state"`
	// Why says what an unknown or missing driver is concluded from.
	Why      string     `json:"why,omitempty"`
	Firmware []Firmware `json:"firmware,omitempty"`
}

// Firmware is a file that a driver may ask for.
type Firmware struct {
	Name string `json:"name"`
	// Present reports whether it is on board; nil when no file tree was given.
	Present *bool `json:"present,omitempty"`
}

// Answer is what is known of a device's drivers.
type Answer struct {
	// Drivers lists those that the kernel has first.
	Drivers []Driver
	// OneOf reports that only one of Drivers is right and that the device's
	// programming interface, which is not known, decides which.
	OneOf bool
	// Note says what an empty list of drivers means.
	Note string
}

// String returns "ice: missing; CONFIG_ICE adds it".
func (d Driver) String() string {
	text := d.Module + ": " + d.State
	if d.State == kernel.Unknown.String() {
		text = d.Module + ": " + d.Why
	} else if d.Why != "" {
		text += "; " + d.Why
	}
	var absent, unseen []string
	for _, f := range d.Firmware {
		switch {
		case f.Present == nil:
			unseen = append(unseen, f.Name)
		case !*f.Present:
			absent = append(absent, f.Name)
		}
	}
	if len(unseen) > 0 {
		text += "; asks for firmware: " + some(unseen)
	}
	if len(absent) > 0 {
		text += "; firmware not on board: " + some(absent)
	}
	return text
}

// some lists the first three names.
func some(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// candidate is a driver that matches a device.
type candidate struct {
	module string
	fit    fit
	match  *Match // the table's, nil for one that only the kernel has
}

// Find lists the drivers for a device.
func (in *Inventory) Find(d Device) (Answer, error) {
	found := in.candidates(d)
	var a Answer
	for _, c := range found {
		driver, err := in.driver(c)
		if err != nil {
			return a, fmt.Errorf("reading what the driver %s asks for: %w", c.module, err)
		}
		a.Drivers = append(a.Drivers, driver)
	}
	slices.SortStableFunc(a.Drivers, func(x, y Driver) int { return cmp.Compare(rank(x), rank(y)) })
	if len(found) == 0 {
		a.Note = in.note(d)
	}
	a.OneOf = len(found) > 1 && found[0].fit == perhaps
	return a, nil
}

func rank(d Driver) int {
	return slices.Index([]string{kernel.BuiltIn.String(), kernel.Module.String(), kernel.Unknown.String(), kernel.Missing.String()}, d.State)
}

// candidates lists the drivers by name. A driver that surely matches rules out
// those that only may.
func (in *Inventory) candidates(d Device) []candidate {
	var all []candidate
	add := func(c candidate) {
		i := slices.IndexFunc(all, func(have candidate) bool { return have.module == c.module })
		if i < 0 {
			all = append(all, c)
			return
		}
		all[i].fit = max(all[i].fit, c.fit)
		if c.match != nil {
			all[i].match = c.match
		}
	}
	in.index.find(d, func(name string, f fit) { add(candidate{name, f, nil}) })
	for _, m := range in.Table.Find(d) {
		add(candidate{m.Module, m.fit, m})
	}
	if len(all) == 0 {
		if name := in.named(d.Driver); name != "" {
			add(candidate{name, yes, nil})
		}
	}
	best := no
	for _, c := range all {
		best = max(best, c.fit)
	}
	all = slices.DeleteFunc(all, func(c candidate) bool { return c.fit < best })
	slices.SortFunc(all, func(a, b candidate) int { return strings.Compare(a.module, b.module) })
	return all
}

// named finds the module of a driver that lspci -k names; "" for drivers that
// hand a device to something else. xhci_hcd and its like are the drivers of the
// modules xhci_pci.
func (in *Inventory) named(driver string) string {
	name := strings.ReplaceAll(driver, "-", "_")
	switch name {
	case "", "vfio_pci", "pci_stub", "pcieport":
		return ""
	case "xhci_hcd":
		return "xhci_pci"
	}
	return name
}

// driver completes a candidate.
func (in *Inventory) driver(c candidate) (Driver, error) {
	d := Driver{Module: c.module}
	known, ok := in.Table.Module(c.module)
	if ok {
		d.Option = in.Table.option(known, in.Release)
	}
	state, why := in.state(c.module, d.Option)
	d.State, d.Why = state.String(), why
	if state == kernel.Missing && d.Option != "" {
		advice := d.Option + " adds it"
		if c.match != nil {
			if age := in.Table.age(c.match.In, in.Release); age != "" {
				advice += " (" + age + ")"
			}
		}
		d.Why = strings.TrimPrefix(d.Why+"; "+advice, "; ")
	}
	names, err := in.asks(c.module, known, state)
	for _, name := range names {
		d.Firmware = append(d.Firmware, Firmware{name, in.hasFirmware(name)})
	}
	return d, err
}

// state finds out whether the kernel has a module: from the lists of its
// modules, else from its configuration. What neither tells is unknown.
func (in *Inventory) state(module, option string) (kernel.State, string) {
	if in.builtin[module] {
		return kernel.BuiltIn, ""
	}
	if in.Modules != nil {
		if _, ok := in.Modules.Lookup(module); ok {
			return kernel.Module, ""
		}
	}
	if in.Features != nil && in.Features.Config != nil && option != "" {
		return in.stateByOption(option)
	}
	switch {
	case in.Modules == nil:
		return kernel.Unknown, "not known without its modules; give the initramfs"
	case len(in.Modules.Builtin) == 0:
		return kernel.Unknown, "no such module, and nothing tells what is built in"
	}
	return kernel.Missing, ""
}

func (in *Inventory) stateByOption(option string) (kernel.State, string) {
	switch in.Features.Option(option) {
	case kernel.BuiltIn:
		return kernel.BuiltIn, ""
	case kernel.Module:
		if in.Modules == nil {
			return kernel.Unknown, "not known without its modules; give the initramfs (" + option + "=m)"
		}
		return kernel.Missing, "its module is not on board, although " + option + "=m"
	}
	return kernel.Missing, ""
}

// asks lists the firmware that a module and those that it needs ask for: as the
// kernel's own modules say or, of one that it lacks, as the table does.
func (in *Inventory) asks(module string, known *Known, state kernel.State) ([]string, error) {
	var names []string
	var err error
	at := in.Table.nearest(in.Release)
	switch {
	case state == kernel.BuiltIn && in.Modules != nil && len(in.Modules.BuiltinNames()) > 0:
		all := []string{module}
		if known != nil {
			all = append(all, in.Table.values(known.needs, at)...)
		}
		for _, name := range all {
			names = append(names, in.Modules.BuiltinValues(name, "firmware")...)
		}
	case state == kernel.Module:
		m, _ := in.Modules.Lookup(module)
		names, err = in.Modules.Firmware(m)
	case known != nil:
		names = in.Table.values(known.firmware, at)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// hasFirmware reports whether a file, whose name may have wildcards, is on
// board; nil where no tree was given.
func (in *Inventory) hasFirmware(name string) *bool {
	if in.Sources.Firmware == nil {
		return nil
	}
	has, asked := in.present[name]
	if !asked {
		has = in.lookForFirmware(name)
		in.present[name] = has
	}
	return &has
}

func (in *Inventory) lookForFirmware(name string) bool {
	tree := in.Sources.Firmware
	if !strings.ContainsAny(name, "*?[") {
		return len(modules.FindFirmware(tree, name)) > 0
	}
	if in.firmware == nil {
		for e := range tree.All() {
			if rest, found := strings.CutPrefix(strings.TrimPrefix(e.Path, "usr/"), "lib/firmware/"); found && e.Type != initramfs.Dir {
				in.firmware = append(in.firmware, strings.TrimSuffix(strings.TrimSuffix(rest, ".xz"), ".zst"))
			}
		}
	}
	return slices.ContainsFunc(in.firmware, func(have string) bool {
		ok, err := path.Match(name, have)
		return ok && err == nil
	})
}

// note says what it means that no driver was found.
func (in *Inventory) note(d Device) string {
	switch {
	case d.Vendor == unknown:
		return "lspci names no driver that is in use; give its output with -nn"
	case d.Bus == "usb":
		return "no driver goes by vendor and product; storage, keyboards and hubs go by their class"
	case d.Class == unknown:
		return "no driver goes by vendor and device alone; give the class as in 144d:a80a:0108, or the machine's list by --lspci: nvme, ahci and others go by class"
	case d.NeedsDriver():
		return "no driver in the table (" + in.Table.Origin() + "); a newer kernel or its vendor may have one"
	}
	return "no driver is known; it may need none"
}

// NeedsDriver reports whether a machine cannot boot or install without a driver
// for the device, by its class: storage, networks, Fibre Channel and InfiniBand.
func (d Device) NeedsDriver() bool {
	base := high(d.Class)
	return base == 0x01 || base == 0x02 || d.Class == 0x0c04 || d.Class == 0x0c06
}
