package main

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
	"hookbuild/kernel"
	"hookbuild/kernel/devices"
	"hookbuild/kernel/modules"
)

// deviceReport is the answer for one kind of device.
type deviceReport struct {
	Device string `json:"device"`
	// Count is the number of such devices in the lists.
	Count   int              `json:"count"`
	Drivers []devices.Driver `json:"drivers"`
	// OneOf reports that only one of Drivers drives the device.
	OneOf bool   `json:"oneOf,omitempty"`
	Note  string `json:"note,omitempty"`
	// Needs reports that the device is storage or a network, and so needs a
	// driver.
	Needs bool `json:"needsDriver"`

	id, name  string
	unclassed bool // whether the device is of an unknown class
}

// gatherModules adds modules and devices to the findings.
func (a *app) gatherModules(c *cli.Context, s *subject, f *findings) error {
	list, err := a.askedDevices(c)
	if err != nil || len(list) == 0 && !c.Bool("modules") {
		return err
	}
	sources, err := s.sources(c.Context, c.Int("jobs"))
	if err != nil {
		return err
	}
	if c.Bool("modules") {
		if sources.Modules == nil {
			return usagef("--modules lists modules, and %q has none; give the initramfs", c.Args().First())
		}
		for _, m := range sources.Modules.Modules {
			f.Modules = append(f.Modules, m.Name)
		}
		slices.Sort(f.Modules)
	}
	f.Devices, err = findDrivers(c.Context, devices.NewInventory(sources), list)
	f.table = sources.Table.Origin()
	if f.Add = additionFor(f.Devices); f.Add == nil || err != nil {
		return err
	}
	f.Add.made, err = s.made()
	return err
}

// made returns what the manifest.json next to an initramfs says of its build, nil if
// nothing is known. The build of a LinuxKit document, which has a command line, has no
// flavor.
func (s *subject) made() (*artifact.Build, error) {
	made, err := s.record()
	if made == nil || err != nil || slices.ContainsFunc(made.Artifacts, func(a artifact.File) bool { return strings.HasPrefix(a.Name, artifact.CmdlinePrefix) }) {
		return nil, err
	}
	return made, nil
}

// addition is what a build needs so that devices have their drivers and firmware.
type addition struct {
	// Set are values of --set, each option once.
	Set []string `json:"set,omitempty"`
	// Firmware are the files that drivers request and that are not on board, or were
	// not looked for because the driver lacks.
	Firmware []string `json:"firmware,omitempty"`
	// Unsolved are the devices for which no driver is known.
	Unsolved []string `json:"unsolved,omitempty"`

	made *artifact.Build // the HookOS, nil if not known
}

// additionFor returns what storage and network devices lack, and those whose class is
// not known; nil if that is nothing.
func additionFor(reports []deviceReport) *addition {
	add := &addition{}
	for _, r := range reports {
		if !r.Needs && !r.unclassed {
			continue
		}
		if len(r.Drivers) == 0 && r.Needs {
			add.Unsolved = append(add.Unsolved, deviceText(r))
		}
		for _, d := range driversOf(r) {
			if d.State == kernel.Unknown.String() {
				continue
			}
			lacks := d.State == kernel.Missing.String()
			for _, set := range d.Set {
				add.set(set)
			}
			for _, file := range d.Firmware {
				absent := file.Present != nil && !*file.Present || file.Present == nil && lacks
				if absent && !slices.Contains(add.Firmware, file.Name) {
					add.Firmware = append(add.Firmware, file.Name)
				}
			}
		}
	}
	if len(add.Set)+len(add.Firmware)+len(add.Unsolved) == 0 {
		return nil
	}
	return add
}

// set adds a value of --set.
func (a *addition) set(value string) {
	i := slices.IndexFunc(a.Set, func(have string) bool { return sameOption(have, value) })
	if i < 0 {
		a.Set = append(a.Set, value)
		return
	}
	a.Set[i] = stronger(a.Set[i], value)
}

// sameOption reports whether two values of --set are of one option.
func sameOption(a, b string) bool {
	option, _, _ := strings.Cut(a, "=")
	return strings.HasPrefix(b, option+"=")
}

// stronger returns the value of --set that serves two drivers: built in goes before a
// module.
func stronger(have, more string) string {
	if strings.HasSuffix(more, "=y") {
		return more
	}
	return have
}

// firmwareDir is where a Linux machine has the firmware of its distribution.
const firmwareDir = "/lib/firmware"

// command returns the command that builds with the addition, "" if nothing is known to
// add.
func (a *addition) command() string {
	if len(a.Set)+len(a.Firmware) == 0 {
		return ""
	}
	text := "hookbuild all"
	if a.made != nil && a.made.Flavor != "" {
		text += " " + words.Shell(a.made.Flavor)
	}
	if a.made != nil && a.made.Bundle != nil {
		switch b := a.made.Bundle; {
		case b.Location != "" && !web.IsURL(b.Location):
			text += " --embed-from-bundle --bundle " + words.Shell(b.Location)
		case b.Release != "":
			text += " --eksa-version " + words.Shell(b.Release) // implies --embed-from-bundle
		default:
			text += " --embed-from-bundle"
		}
	}
	if len(a.Set) > 0 {
		text += " --kernel build --set " + strings.Join(a.Set, " --set ")
	}
	if len(a.Firmware) > 0 {
		text += " --firmware " + firmwareDir
	}
	return text
}

// findDrivers returns one report for each kind of device, in the order of the
// list.
func findDrivers(ctx context.Context, in *devices.Inventory, list []devices.Device) ([]deviceReport, error) {
	var reports []deviceReport
	var kinds []devices.Device
	place := map[string]int{}
	for _, d := range list {
		if i, seen := place[d.String()]; seen && kinds[i].Same(d) {
			reports[i].Count++
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		answer, err := in.Find(d)
		if err != nil {
			return nil, err
		}
		place[d.String()] = len(reports)
		kinds = append(kinds, d)
		reports = append(reports, deviceReport{Device: d.String(), Count: 1, Drivers: answer.Drivers, OneOf: answer.OneOf, Note: answer.Note, Needs: d.NeedsDriver(), id: d.ID(), name: d.Name, unclassed: d.Class < 0})
	}
	return reports, nil
}

// sources returns the sources for the search for drivers. The modules of a vmlinuz
// without an initramfs are not known; a kernel from a package or image has them.
func (s *subject) sources(ctx context.Context, jobs int) (devices.Sources, error) {
	table, err := devices.ReadTable()
	if err != nil {
		return devices.Sources{}, err
	}
	from := devices.Sources{Table: table}
	if s.existing != nil {
		from.Firmware = s.existing.Contents.Tree
	}
	if s.kernel == nil {
		if from.Modules, err = kernel.CatalogIn(ctx, s.existing.Contents.Tree, jobs); err == nil && from.Modules != nil {
			from.Release = from.Modules.Release
		}
		if from.Modules == nil {
			from.Modules = &modules.Catalog{}
		}
		return from, err
	}
	from.Release = s.kernel.Release
	if from.Features, err = s.kernel.Features(ctx); err != nil {
		return from, err
	}
	if s.vmlinuz != "" && s.existing == nil {
		return from, nil
	}
	if from.Firmware == nil && hasFirmware(s.kernel.Modules) {
		from.Firmware = s.kernel.Modules
	}
	from.Modules, err = s.kernel.Catalog(ctx, jobs)
	return from, err
}

// hasFirmware reports whether a kernel came with firmware.
func hasFirmware(tree *initramfs.Tree) bool {
	_, ok := tree.Lookup(path.Join("lib", "firmware"))
	return ok
}

// askedDevices returns the devices of --pci, --usb and --lspci.
func (a *app) askedDevices(c *cli.Context) ([]devices.Device, error) {
	var list []devices.Device
	for _, bus := range []string{"pci", "usb"} {
		for _, text := range c.StringSlice(bus) {
			d, err := devices.Parse(bus, text)
			if err != nil {
				return nil, err
			}
			list = append(list, d)
		}
	}
	for _, name := range c.StringSlice("lspci") {
		found, err := a.readDevices(name)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

func (a *app) readDevices(name string) (_ []devices.Device, err error) {
	if name == "-" {
		return devices.ParseList(a.stdin, "standard input")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Invalidf("reading the list of devices: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return devices.ParseList(f, name)
}

// deviceCounts returns the numbers of devices that have a driver here, that lack
// one, whose driver was not looked for, and that may need none.
func (f *findings) deviceCounts() (have, lack, unseen, none int) {
	for _, d := range f.Devices {
		switch {
		case len(d.Drivers) == 0 && !d.Needs:
			none += d.Count
		case len(d.Drivers) == 0 || d.Drivers[0].State == kernel.Missing.String():
			lack += d.Count
		case d.Drivers[0].State == kernel.Unknown.String():
			unseen += d.Count
		default:
			have += d.Count
		}
	}
	return have, lack, unseen, none
}
