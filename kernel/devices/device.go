// Package devices answers which driver a PCI or USB device needs, and whether
// a kernel has it: built in, as a module, or not at all. For what a kernel
// lacks, a table of the drivers of a distribution's full kernel tells the
// driver, the option that would add it and the firmware it asks for.
//
// Devices are matched as the kernel and modprobe do, by the aliases in the
// modules. Aliases that depend on what a user does not give (a USB device's
// interfaces, a PCI device's subsystem) match only where they leave it open.
package devices

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"hookbuild/internal/fault"
)

// unknown stands for a number that was not given.
const unknown = -1

// Device is one device of a machine.
type Device struct {
	Bus             string // "pci" or "usb"
	Vendor, Product int
	// Class is the PCI base class and subclass (0x0200 is Ethernet), Interface
	// the programming interface; -1 where they are not known.
	Class, Interface int
	// SubVendor and SubDevice are -1 where they are not known.
	SubVendor, SubDevice int
	// Name is what lspci or lsusb calls it; empty when only numbers were given.
	Name string
	// Slot is its place on the bus ("01:00.0").
	Slot string
}

// String is "pci 8086:1592" with the name behind it.
func (d Device) String() string {
	text := fmt.Sprintf("%s %04x:%04x", d.Bus, d.Vendor, d.Product)
	if d.Name != "" {
		text += " " + d.Name
	}
	return text
}

// Parse reads "8086:1592" as a device on the bus "pci" or "usb".
func Parse(bus, text string) (Device, error) {
	vendor, product, found := strings.Cut(text, ":")
	v, errV := strconv.ParseUint(vendor, 16, 16)
	p, errP := strconv.ParseUint(product, 16, 16)
	if !found || errV != nil || errP != nil {
		return Device{}, fault.Usagef("reading the %s device %q: it should be VENDOR:DEVICE in hexadecimal, such as 8086:1592 (lspci -nn and lsusb show it)", bus, text)
	}
	return bare(bus, int(v), int(p)), nil
}

func bare(bus string, vendor, product int) Device {
	return Device{Bus: bus, Vendor: vendor, Product: product, Class: unknown, Interface: unknown, SubVendor: unknown, SubDevice: unknown}
}

var (
	lspciLine     = regexp.MustCompile(`^((?:[0-9a-f]{4,}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) (.+) \[([0-9a-f]{4})\]: (.*?) ?\[([0-9a-f]{4}):([0-9a-f]{4})\](.*)$`)
	lspciProgIf   = regexp.MustCompile(`\(prog-if ([0-9a-f]{2})`)
	lspciSub      = regexp.MustCompile(`^\s+(?:Subsystem|DeviceName): .*\[([0-9a-f]{4}):([0-9a-f]{4})\]$`)
	lsusbLine     = regexp.MustCompile(`^Bus (\d+) Device (\d+): ID ([0-9a-f]{4}):([0-9a-f]{4}) ?(.*)$`)
	mostDevices   = 10000
	mostListBytes = int64(16 << 20)
)

// ParseList reads the output of lspci -nn (with -k or -v too) or of lsusb.
// Lines of neither form belong to the device before them or are passed over;
// a list without a device is an error.
func ParseList(r io.Reader, origin string) ([]Device, error) {
	var list []Device
	lines := bufio.NewScanner(io.LimitReader(r, mostListBytes))
	for lines.Scan() && len(list) < mostDevices {
		line := strings.TrimRight(lines.Text(), "\r")
		if d, ok := parseLine(line); ok {
			list = append(list, d)
		} else if m := lspciSub.FindStringSubmatch(line); m != nil && len(list) > 0 {
			last := &list[len(list)-1]
			last.SubVendor, last.SubDevice = hex(m[1]), hex(m[2])
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fault.Invalidf("reading the list of devices %q: %w", origin, err)
	}
	if len(list) == 0 {
		return nil, fault.Invalidf("reading the list of devices %q: it has no line as `lspci -nn` or `lsusb` prints them (lspci needs -nn to print numbers)", origin)
	}
	return list, nil
}

func parseLine(line string) (Device, bool) {
	if m := lspciLine.FindStringSubmatch(line); m != nil {
		d := bare("pci", hex(m[5]), hex(m[6]))
		d.Slot, d.Class, d.Name = m[1], hex(m[3]), m[2]+": "+m[4]
		if p := lspciProgIf.FindStringSubmatch(m[7]); p != nil {
			d.Interface = hex(p[1])
		}
		return d, true
	}
	if m := lsusbLine.FindStringSubmatch(line); m != nil {
		d := bare("usb", hex(m[3]), hex(m[4]))
		d.Slot, d.Name = m[1]+":"+m[2], m[5]
		return d, true
	}
	return Device{}, false
}

// hex reads digits that a pattern has checked.
func hex(digits string) int {
	n, err := strconv.ParseUint(digits, 16, 16)
	if err != nil {
		return unknown
	}
	return int(n)
}
