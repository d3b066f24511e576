package devices

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/modules"
)

// Sources are the inputs of an answer.
type Sources struct {
	// Modules are the kernel's own. It is nil if only a vmlinuz was given, so
	// that the modules are not known.
	Modules *modules.Catalog
	// Features answers for options that the modules do not show. It is nil if
	// no kernel was given.
	Features *kernel.Features
	// Defconfig is the configuration that a kernel will be built from, if none was
	// given. An option that it does not mention has the value that Kconfig gives it.
	Defconfig *kconfig.Config
	// Release is the kernel's release, "" if it is not known.
	Release string
	// Firmware is the tree with lib/firmware; nil if none was given.
	Firmware *initramfs.Tree
	// Table holds the drivers that the kernel lacks.
	Table *Table
}

// Inventory finds drivers for one kernel. It is not safe for concurrent use.
type Inventory struct {
	Sources
	index    index[string] // of the kernel's own modules, by name
	builtin  map[string]bool
	firmware []string // the paths of Firmware relative to lib/firmware
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
	// Option is the option that builds the driver; empty if it is not known.
	Option string `json:"option,omitempty"`
	// Set lists what has to be set, as "CONFIG_QEDE=m", so that the kernel has the
	// driver and all that it needs for an interface or a disk. It is empty if the
	// kernel has them, or if they are not known.
	Set []string `json:"set,omitempty"`
	// State is whether the kernel has the driver: "built in", "module",
	// "missing" or, if the inputs do not tell, "unknown".
	State string `json:"state"`
	// Why is the reason for the state "unknown" or "missing".
	Why      string     `json:"why,omitempty"`
	Firmware []Firmware `json:"firmware,omitempty"`
}

// Firmware is a file that a driver may request.
type Firmware struct {
	Name string `json:"name"`
	// Present reports whether it is on board; nil if no file tree was given.
	Present *bool `json:"present,omitempty"`
}

// Answer holds what is known about a device's drivers.
type Answer struct {
	// Drivers lists the drivers. Those that the kernel has come first.
	Drivers []Driver
	// OneOf reports that only one of Drivers is right, depending on the
	// device's programming interface, which is not known.
	OneOf bool
	// Note explains an empty list of drivers.
	Note string
}

// String returns a text such as "ice: missing; CONFIG_ICE adds it".
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
		text += "; requests firmware: " + Some(unseen)
	}
	if len(absent) > 0 {
		text += "; firmware not on board: " + Some(absent)
	}
	return text
}

// Some returns the first three names, and how many more there are.
func Some(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// candidate is a driver that matches a device.
type candidate struct {
	module string
	fit    fit
	match  *match // from the table; nil if only the kernel has the driver
}

// Find returns the drivers for a device.
func (in *Inventory) Find(d Device) (Answer, error) {
	found := in.candidates(d)
	var a Answer
	for _, c := range found {
		driver, err := in.driver(d, c)
		if err != nil {
			return a, err
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

// candidates returns the drivers by name. A driver that certainly matches
// excludes those that only may match.
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
	for _, m := range in.Table.find(d) {
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

// named returns the module of a driver that lspci -k names, or "" for drivers
// that pass a device on to something else. xhci_hcd and similar drivers are
// part of modules such as xhci_pci.
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

// driver completes a candidate for a device.
func (in *Inventory) driver(of Device, c candidate) (Driver, error) {
	d := Driver{Module: c.module}
	known, ok := in.Table.module(c.module)
	if ok {
		d.Option = in.Table.option(known, in.Release)
	} else {
		known = &Known{Module: c.module}
	}
	settings, with, err := in.settingsFor(of, known)
	if err != nil {
		return d, err
	}
	state, why := in.state(c.module, d.Option)
	d.State, d.Why = state.String(), why
	in.complete(&d, state, with)
	if d.State != kernel.BuiltIn.String() && d.State != kernel.Module.String() {
		d.Set = in.lacking(settings)
	}
	if d.State == kernel.Missing.String() {
		d.advise()
		if c.match != nil {
			if age := in.Table.age(c.match.In, in.Release); age != "" && len(d.Set) > 0 {
				d.Why += " (" + age + ")"
			}
		}
	}
	names, err := in.asks(c.module, known, state)
	if err != nil {
		return d, fmt.Errorf("reading the firmware that the driver %s requests: %w", c.module, err)
	}
	for _, name := range names {
		d.Firmware = append(d.Firmware, Firmware{name, in.hasFirmware(name)})
	}
	return d, nil
}

// complete looks for the companions of a driver that the kernel has. Without one, the
// device has no interface or disk, so the driver does not count.
func (in *Inventory) complete(d *Driver, state kernel.State, with []Companion) {
	if !state.Present() {
		return
	}
	for _, c := range with {
		switch state, why := in.companion(c, d.Module); state {
		case kernel.Missing:
			d.State, d.Why = kernel.Missing.String(), fmt.Sprintf("the driver is there, but not %s (%s)", c.For, c.Setting.Option)
			if why != "" {
				d.Why += ": " + why
			}
			return
		case kernel.Unknown:
			d.State, d.Why = kernel.Unknown.String(), fmt.Sprintf("the driver is there; %s (%s): %s", c.For, c.Setting.Option, why)
		}
	}
}

// advise adds to Why what has to be set.
func (d *Driver) advise() {
	advice := ""
	switch n := len(d.Set); {
	case n == 1:
		advice = strings.TrimSuffix(d.Set[0], "=m") + " adds it"
	case n > 1:
		advice = strings.Join(d.Set[:n-1], ", ") + " and " + d.Set[n-1] + " add it"
	}
	d.Why = strings.Join(slices.DeleteFunc([]string{d.Why, advice}, func(s string) bool { return s == "" }), "; ")
}

// state returns whether the kernel has a module, from the lists of its modules
// or else from its configuration. If neither tells, it is unknown.
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
		return kernel.Unknown, "not known without its modules; add the initramfs"
	case len(in.Modules.Builtin) == 0:
		return kernel.Unknown, "there is no such module, and what is built in is not known"
	}
	return kernel.Missing, ""
}

// Option returns the state of an option that builds a module, from the lists of the
// kernel's modules, and the module. The module is empty if the option's is not known:
// it is neither in the table nor called like the option.
func (in *Inventory) Option(name string) (state kernel.State, module, why string) {
	for _, candidate := range in.built(kconfig.Name(name)) {
		if found, reason := in.state(candidate, ""); module == "" || found.Present() {
			state, module, why = found, candidate, reason
		}
	}
	alike := strings.ToLower(strings.TrimPrefix(kconfig.Name(name), kconfig.Prefix))
	if found, _ := in.state(alike, ""); module == "" && found.Present() {
		return found, alike, ""
	}
	return state, module, why
}

// built returns the modules that an option is known to build.
func (in *Inventory) built(option string) (list []string) {
	add := func(module string) {
		if !slices.Contains(list, module) {
			list = append(list, module)
		}
	}
	for _, known := range in.Table.Drivers {
		if in.Table.option(known, in.Release) == option {
			add(known.Module)
		}
		for _, c := range companionsOf(known.Module) { // each has disks
			if c.Setting.Option == option && len(c.modules) > 0 {
				add(c.modules[0])
			}
		}
	}
	return list
}

func (in *Inventory) stateByOption(option string) (kernel.State, string) {
	switch in.Features.Option(option) {
	case kernel.BuiltIn:
		return kernel.BuiltIn, ""
	case kernel.Module:
		if in.Modules == nil {
			return kernel.Unknown, "not known without its modules; add the initramfs (" + option + "=m)"
		}
		return kernel.Missing, "its module is not on board, although " + option + "=m"
	}
	return kernel.Missing, ""
}

// asks returns the firmware that a module and its dependencies request. The
// source is the kernel's own modules or, for a module that the kernel lacks,
// the table.
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
// board. It returns nil if no tree was given.
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

// note explains why no driver was found.
func (in *Inventory) note(d Device) string {
	switch {
	case d.Vendor == unknown:
		return "lspci names no driver in use; use the output of lspci -nn"
	case d.Bus == "usb":
		return "no driver matches vendor and product; storage, keyboards and hubs are matched by class"
	case d.Class == unknown:
		return "no driver matches vendor and device alone; add the class, as in 144d:a80a:0108, or use the machine's list with --lspci: nvme, ahci and others are matched by class"
	case d.NeedsDriver():
		return "no driver in the table (" + in.Table.Origin() + "); a newer kernel or its vendor may have one"
	}
	return "no driver is known; it may not need one"
}

// NeedsDriver reports whether a machine cannot boot or install without a driver
// for the device, judging by its class: storage, networks, Fibre Channel and
// InfiniBand.
func (d Device) NeedsDriver() bool {
	base := high(d.Class)
	return base == 0x01 || base == 0x02 || d.Class == 0x0c04 || d.Class == 0x0c06
}
