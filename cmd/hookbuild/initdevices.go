package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hookbuild/kernel/devices"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kconfig"
	"hookbuild/site/draft"
)

// siteDevices is what a list of devices asks of a kernel.
type siteDevices struct {
	drivers  []draft.Driver
	firmware []string // what each driver requests, in words
	unsolved []string // the devices that it does not solve, and why
}

// lackingDrivers returns what the storage and network devices of a list need. Options
// that the configuration has are left out; nil means that it is not known.
func lackingDrivers(ctx context.Context, f flavor.Flavor, list []devices.Device, has *kconfig.Config) (s siteDevices, err error) {
	table, err := devices.ReadTable()
	if err != nil {
		return s, err
	}
	release := ""
	if f.Series != "" {
		release = f.Series + ".0"
	}
	reports, err := findDrivers(ctx, devices.NewInventory(devices.Sources{Table: table, Release: release, Defconfig: has}), list)
	if err != nil {
		return s, err
	}
	for _, r := range reports {
		if !r.Needs {
			continue
		}
		if len(r.Drivers) == 0 {
			s.unsolved = append(s.unsolved, "no driver is known for "+deviceText(r))
		}
		for _, driver := range driversOf(r) {
			s.add(driver, deviceText(r))
		}
	}
	return s, nil
}

// add adds what a driver needs. A driver whose option is not known leaves its device
// unsolved.
func (s *siteDevices) add(d devices.Driver, device string) {
	if d.Option == "" {
		s.unsolved = append(s.unsolved, fmt.Sprintf("the option that adds %s, the driver for %s, is not known", d.Module, device))
		return
	}
	for _, set := range d.Set {
		s.drivers = addDriver(s.drivers, set, fmt.Sprintf("%s for %s", d.Module, device))
	}
	var names []string
	for _, f := range d.Firmware {
		names = append(names, f.Name)
	}
	if asks := d.Module + " asks for " + devices.Some(names); len(names) > 0 && !slices.Contains(s.firmware, asks) {
		s.firmware = append(s.firmware, asks)
	}
}

// driversOf returns the driver of a device, or all of which one is right.
func driversOf(r deviceReport) []devices.Driver {
	if len(r.Drivers) > 1 && !r.OneOf {
		return r.Drivers[:1]
	}
	return r.Drivers
}

// addDriver adds an option to set, or another reason for one that is there.
func addDriver(all []draft.Driver, set, reason string) []draft.Driver {
	i := slices.IndexFunc(all, func(d draft.Driver) bool { return sameOption(d.Set, set) })
	if i < 0 {
		return append(all, draft.Driver{Set: set, Reason: reason})
	}
	all[i].Set = stronger(all[i].Set, set)
	all[i].Reason += "; " + reason
	return all
}

// deviceText names a device on one line.
func deviceText(r deviceReport) string {
	name := strings.Join(strings.Fields(r.name), " ")
	if name == "" {
		return r.id
	}
	return name + " (" + r.id + ")"
}
