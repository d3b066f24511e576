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

// lackingDrivers returns the options that add drivers for the storage and network
// devices of a list. Options that the configuration has are left out; nil means
// that it is not known.
func lackingDrivers(ctx context.Context, f flavor.Flavor, list []devices.Device, has *kconfig.Config) ([]draft.Driver, error) {
	table, err := devices.ReadTable()
	if err != nil {
		return nil, err
	}
	release := ""
	if f.Series != "" {
		release = f.Series + ".0"
	}
	reports, err := findDrivers(ctx, devices.NewInventory(devices.Sources{Table: table, Release: release}), list)
	if err != nil {
		return nil, err
	}
	var lacking []draft.Driver
	for _, r := range reports {
		if !r.Needs {
			continue
		}
		for _, driver := range driversOf(r) {
			if driver.Option != "" && !sets(has, driver.Option) {
				lacking = addDriver(lacking, driver.Option, fmt.Sprintf("%s for %s", driver.Module, deviceText(r)))
			}
		}
	}
	return lacking, nil
}

// driversOf returns the driver of a device, or all of which one is right.
func driversOf(r deviceReport) []devices.Driver {
	if len(r.Drivers) > 1 && !r.OneOf {
		return r.Drivers[:1]
	}
	return r.Drivers
}

// sets reports whether a configuration has an option, built in or as a module.
func sets(has *kconfig.Config, option string) bool {
	if has == nil {
		return false
	}
	value, _ := has.Get(option)
	return value == "y" || value == "m"
}

// addDriver adds an option, or another reason for one that is there.
func addDriver(all []draft.Driver, option, reason string) []draft.Driver {
	i := slices.IndexFunc(all, func(d draft.Driver) bool { return d.Option == option })
	if i < 0 {
		return append(all, draft.Driver{Option: option, Reason: reason})
	}
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
