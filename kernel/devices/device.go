// Package devices finds the driver that a PCI or USB device needs, and whether
// a kernel has it: built in, as a module, or not at all. For drivers that the
// kernel lacks, a table of the drivers in a distribution's full kernels has the
// driver, the option that adds it and the firmware that it requests.
//
// Devices are matched by the aliases in the modules, as the kernel and modprobe
// match them. Aliases that depend on properties that the user does not provide
// (a USB device's interfaces) match only if they leave these open or name the
// device by vendor and product.
package devices

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"hookbuild/internal/fault"
)

// unknown is the value of a number that was not given.
const unknown = -1

// Device is one device of a machine.
type Device struct {
	Bus string // "pci" or "usb"
	// Vendor and Product are -1 for a device that a list identifies only by
	// name.
	Vendor, Product int
	// Class is the PCI base class and subclass (0x0200 is Ethernet), and
	// Interface the programming interface. They are -1 if not known.
	Class, Interface int
	// SubVendor and SubDevice are -1 if not known.
	SubVendor, SubDevice int
	// Name is the name in lspci or lsusb; empty if only numbers were given.
	Name string
	// Slot is the device's address on the bus ("01:00.0").
	Slot string
	// Driver is the driver that the machine uses or could use according to
	// lspci -k; empty if that is not known.
	Driver string
}

// String returns "pci 8086:1592" followed by the name.
func (d Device) String() string {
	text := d.ID()
	if d.Name != "" {
		text += " " + d.Name
	}
	return text
}

// ID returns "pci 8086:1592", or "pci" and the slot for a device without
// numbers.
func (d Device) ID() string {
	if d.Vendor == unknown {
		return d.Bus + " " + d.Slot
	}
	return fmt.Sprintf("%s %04x:%04x", d.Bus, d.Vendor, d.Product)
}

// Same reports whether two devices are of the same kind, regardless of their
// slots.
func (d Device) Same(other Device) bool {
	if d.Vendor != unknown {
		d.Slot, other.Slot = "", ""
	}
	return d == other
}

// Parse parses "8086:1592" as a device on the bus "pci" or "usb". The class and
// programming interface of a PCI device may follow ("144d:a80a:0108",
// "144d:a80a:010802"). Parse also accepts the modalias of either bus.
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
		return Device{}, fault.Usagef("reading the %s device %q: use VENDOR:DEVICE in hexadecimal, such as 8086:1592%s (lspci -nn and lsusb show it)", bus, text, classHint(bus))
	}
	d := bare(bus, hex(parts[0]), hex(parts[1]))
	d.setClass(class)
	d.guessInterface()
	return d, nil
}

func classHint(bus string) string {
	if bus == "pci" {
		return ", or VENDOR:DEVICE:CLASS, such as 144d:a80a:0108"
	}
	return ""
}

// setClass parses "0108" or, with the programming interface, "010802".
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

// parseModalias parses a device as the kernel names it in sysfs, optionally
// preceded by the path of the file.
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

// hex parses digits that a pattern has already checked.
func hex(digits string) int {
	n, err := strconv.ParseUint(digits, 16, 16)
	if err != nil {
		return unknown
	}
	return int(n)
}
