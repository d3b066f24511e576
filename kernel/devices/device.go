// Package devices answers which driver a PCI or USB device needs, and whether
// a kernel has it: built in, as a module, or not at all. For what a kernel
// lacks, a table of the drivers of a distribution's full kernels tells the
// driver, the option that would add it and the firmware it asks for.
//
// Devices are matched as the kernel and modprobe do, by the aliases in the
// modules. Aliases that depend on what a user does not give (a USB device's
// interfaces) match only where they leave it open, or where they name the
// device by vendor and product.
package devices

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"hookbuild/internal/fault"
)

// unknown stands for a number that was not given.
const unknown = -1

// Device is one device of a machine.
type Device struct {
	Bus string // "pci" or "usb"
	// Vendor and Product are -1 for a device that a list only names.
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
	// Driver is the one that the machine uses or could use, as lspci -k says;
	// empty where it does not.
	Driver string
}

// String returns "pci 8086:1592" with the name behind it.
func (d Device) String() string {
	text := d.ID()
	if d.Name != "" {
		text += " " + d.Name
	}
	return text
}

// ID returns "pci 8086:1592", or "pci" and the slot of a device without
// numbers.
func (d Device) ID() string {
	if d.Vendor == unknown {
		return d.Bus + " " + d.Slot
	}
	return fmt.Sprintf("%s %04x:%04x", d.Bus, d.Vendor, d.Product)
}

// Same reports whether two devices are of one kind, whatever their places.
func (d Device) Same(other Device) bool {
	if d.Vendor != unknown {
		d.Slot, other.Slot = "", ""
	}
	return d == other
}

// Parse reads "8086:1592" as a device on the bus "pci" or "usb". A PCI device
// may have its class and programming interface behind it ("144d:a80a:0108",
// "144d:a80a:010802"); the modalias of either bus is read too.
func Parse(bus, text string) (Device, error) {
	if d, ok := parseModalias(text); ok && d.Bus == bus {
		return d, nil
	}
	parts := strings.Split(strings.ToLower(strings.TrimSpace(text)), ":")
	class := ""
	if bus == "pci" && len(parts) == 3 {
		class = parts[2]
		parts = parts[:2]
	}
	if len(parts) != 2 || !isHex(parts[0], 4) || !isHex(parts[1], 4) || class != "" && !isHex(class, 6) {
		return Device{}, fault.Usagef("reading the %s device %q: it should be VENDOR:DEVICE in hexadecimal, such as 8086:1592%s (lspci -nn and lsusb show it)", bus, text, classHint(bus))
	}
	d := bare(bus, hex(parts[0]), hex(parts[1]))
	d.setClass(class)
	return d, nil
}

func classHint(bus string) string {
	if bus == "pci" {
		return ", or VENDOR:DEVICE:CLASS, such as 144d:a80a:0108"
	}
	return ""
}

// setClass takes "0108" or, with the programming interface, "010802".
func (d *Device) setClass(digits string) {
	if len(digits) >= 4 {
		d.Class = hex(digits[:4])
	}
	if len(digits) == 6 {
		d.Interface = hex(digits[4:])
	}
}

func isHex(text string, most int) bool {
	return text != "" && len(text) <= most && strings.Trim(text, "0123456789abcdef") == ""
}

func bare(bus string, vendor, product int) Device {
	return Device{Bus: bus, Vendor: vendor, Product: product, Class: unknown, Interface: unknown, SubVendor: unknown, SubDevice: unknown}
}

var (
	pciModalias = regexp.MustCompile(`(?i)\bpci:v0000([0-9a-f]{4})d0000([0-9a-f]{4})sv0000([0-9a-f]{4})sd0000([0-9a-f]{4})bc([0-9a-f]{2})sc([0-9a-f]{2})i([0-9a-f]{2})\b`)
	usbModalias = regexp.MustCompile(`(?i)\busb:v([0-9a-f]{4})p([0-9a-f]{4})d`)
	sysfsSlot   = regexp.MustCompile(`/([^/]+)/modalias\b`)
)

// parseModalias reads a device as the kernel names it in sysfs, with the path of
// the file before it or without.
func parseModalias(text string) (Device, bool) {
	var d Device
	if m := pciModalias.FindStringSubmatch(text); m != nil {
		d = bare("pci", hex(m[1]), hex(m[2]))
		d.SubVendor, d.SubDevice, d.Class, d.Interface = hex(m[3]), hex(m[4]), hex(m[5]+m[6]), hex(m[7])
	} else if m := usbModalias.FindStringSubmatch(text); m != nil {
		d = bare("usb", hex(m[1]), hex(m[2]))
	} else {
		return d, false
	}
	if m := sysfsSlot.FindStringSubmatch(text); m != nil {
		d.Slot = m[1]
	}
	return d, true
}

// hex reads digits that a pattern has checked.
func hex(digits string) int {
	n, err := strconv.ParseUint(digits, 16, 16)
	if err != nil {
		return unknown
	}
	return int(n)
}
