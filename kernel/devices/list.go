package devices

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"hookbuild/internal/fault"
)

// The forms of a line. They ignore case.
const (
	slotForm = `((?:[0-9a-f]{4,}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])`
	idForm   = `([0-9a-f]{4}):([0-9a-f]{4})`
	// quoted is a field of lspci -mm, with a number in brackets after the name
	// (-nn) or alone (-n).
	quoted = `"(?:([^"]*) \[)?([0-9a-f]{4})\]?"`
)

var (
	lspciNamed   = regexp.MustCompile(`(?i)^` + slotForm + ` (.+) \[([0-9a-f]{4})\]: (.*?) ?\[` + idForm + `\](.*)$`)
	lspciNumbers = regexp.MustCompile(`(?i)^` + slotForm + ` (?:class )?([0-9a-f]{4}): ` + idForm + `(.*)$`)
	lspciQuoted  = regexp.MustCompile(`(?i)^` + slotForm + ` ` + quoted + ` ` + quoted + ` ` + quoted + `(.*)$`)
	lspciPlain   = regexp.MustCompile(`(?i)^` + slotForm + ` ([^\[\]"]+?): (.+)$`)
	lspciCut     = regexp.MustCompile(`(?i)^` + slotForm + ` .+ \[[0-9a-f]{4}\]: `)
	progIf       = regexp.MustCompile(`(?i)\(prog-if ([0-9a-f]{2})|-p([0-9a-f]{2})\b`)
	quotedSub    = regexp.MustCompile(`(?i)` + quoted + ` ` + quoted + `\s*$`)
	subsystem    = regexp.MustCompile(`(?i)^\s*Subsystem: .*?\[?` + idForm + `\]?$`)
	driverLine   = regexp.MustCompile(`^\s*Kernel (driver in use|modules): *(.+)$`)
	lsusbLine    = regexp.MustCompile(`(?i)^Bus (\d+) Device (\d+): ID ` + idForm + ` ?(.*)$`)
	recordLine   = regexp.MustCompile(`^(Slot|Class|Vendor|Device|SVendor|SDevice|ProgIf|Driver|Module):\s*(.*)$`)
	slotOnly     = regexp.MustCompile(`(?i)^` + slotForm + `$`)
	lastNumber   = regexp.MustCompile(`(?i)(?:^|\[)([0-9a-f]{4})\]?$`)

	// What may surround a pasted line: quotation marks, bullets, grep's
	// prefix, colours.
	colours = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")
	leaders = regexp.MustCompile("^[\\s>|*`\u00a0-]+")
)

const (
	mostDevices   = 10000
	mostListBytes = int64(16 << 20)
	mostListLine  = 1 << 20
)

// ParseList parses a list of a machine's devices: the output of lspci with -nn,
// -n, -mm or -vmm and any of -k, -v, -D; the output of lsusb; or modalias files
// of sysfs. Pasted text may be quoted, indented, coloured or wrapped after a
// name. A line of any other form is a detail of the device before it or is
// skipped. A list without any device that can be identified is an error.
func ParseList(r io.Reader, origin string) ([]Device, error) {
	p := &listParser{}
	limited := &io.LimitedReader{R: r, N: mostListBytes + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, mostListLine)
	for first := true; lines.Scan() && len(p.list) <= mostDevices; first = false {
		line := lines.Bytes()
		if first {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		p.take(string(line))
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong) || limited.N == 0 || len(p.list) > mostDevices:
		return nil, fault.Invalidf("reading the list of devices %q: it has more than %d devices, %d MiB or %d MiB in one line; name the list of one machine", origin, mostDevices, mostListBytes>>20, mostListLine>>20)
	case err != nil:
		return nil, fault.Invalidf("reading the list of devices %q: %w", origin, err)
	}
	list := p.told()
	if len(list) == 0 {
		return nil, fault.Invalidf("reading the list of devices %q: it has no line in the form of `lspci -nn` or `lsusb` (lspci needs -nn to print numbers, or -k to name drivers)", origin)
	}
	return list, nil
}

// listParser collects devices line by line.
type listParser struct {
	list   []Device
	record bool   // whether the last device is a record of lspci -vmm
	cut    string // a line that may continue on the next
}

func (p *listParser) take(line string) {
	line = strings.TrimRight(colours.ReplaceAllString(line, ""), " \t\r`")
	bare := leaders.ReplaceAllString(line, "")
	if p.cut != "" && !p.starts(bare) {
		bare = p.cut + " " + bare
	}
	p.cut = ""
	if d, ok := parseLine(bare); ok {
		p.list, p.record = append(p.list, d), false
		return
	}
	if lspciCut.MatchString(bare) {
		p.cut = bare
		return
	}
	if bare == "" {
		p.record = false
		return
	}
	if m := recordLine.FindStringSubmatch(bare); m != nil {
		p.takeField(m[1], m[2])
		return
	}
	if len(p.list) > 0 {
		p.list[len(p.list)-1].addDetail(bare)
	}
}

// starts reports whether a device starts on this line.
func (p *listParser) starts(line string) bool {
	_, ok := parseLine(line)
	return ok || lspciCut.MatchString(line)
}

// told removes the devices of which neither the numbers nor a driver are known.
func (p *listParser) told() []Device {
	var list []Device
	for _, d := range p.list {
		if d.Vendor == unknown && d.Driver == "" {
			continue
		}
		d.guessInterface()
		list = append(list, d)
	}
	return list
}

// takeField adds a line of lspci -vmm, whose records start with "Slot:" or,
// with -vm, with "Device:" and the slot.
func (p *listParser) takeField(key, value string) {
	if !p.record || key == "Slot" || key == "Device" && slotOnly.MatchString(value) {
		d := bare("pci", unknown, unknown)
		d.Slot = value
		p.list, p.record = append(p.list, d), true
		if key == "Slot" || key == "Device" {
			return
		}
	}
	d := &p.list[len(p.list)-1]
	number := unknown
	if m := lastNumber.FindStringSubmatch(value); m != nil {
		number = hex(m[1])
	}
	name := strings.TrimSpace(lastNumber.ReplaceAllString(value, ""))
	switch key {
	case "Class":
		d.Class, d.Name = number, name
	case "Vendor":
		d.Vendor = number
		d.addName(": ", name)
	case "Device":
		d.Product = number
		d.addName(" ", name)
	case "SVendor":
		d.SubVendor = number
	case "SDevice":
		d.SubDevice = number
	case "ProgIf":
		d.Interface = hex(value)
	case "Driver", "Module":
		d.Driver = value
	}
}

func (d *Device) addName(separator, name string) {
	if d.Name != "" && name != "" {
		d.Name += separator
	}
	d.Name += name
}

// addDetail adds a line that follows a device's own.
func (d *Device) addDetail(line string) {
	if m := subsystem.FindStringSubmatch(line); m != nil {
		d.SubVendor, d.SubDevice = hex(m[1]), hex(m[2])
		return
	}
	m := driverLine.FindStringSubmatch(line)
	if m == nil {
		return
	}
	name, _, _ := strings.Cut(m[2], ",")
	if m[1] == "modules" || d.Driver == "" {
		d.Driver = strings.TrimSpace(name)
	}
}

func parseLine(line string) (Device, bool) {
	if m := lspciNamed.FindStringSubmatch(line); m != nil {
		d := bare("pci", hex(m[5]), hex(m[6]))
		d.Slot, d.Class, d.Name = m[1], hex(m[3]), m[2]+": "+m[4]
		d.setInterface(m[7])
		return d, true
	}
	if m := lspciNumbers.FindStringSubmatch(line); m != nil {
		d := bare("pci", hex(m[3]), hex(m[4]))
		d.Slot, d.Class = m[1], hex(m[2])
		d.setInterface(m[5])
		return d, true
	}
	if m := lspciQuoted.FindStringSubmatch(line); m != nil {
		return quotedDevice(m), true
	}
	if m := lsusbLine.FindStringSubmatch(line); m != nil {
		d := bare("usb", hex(m[3]), hex(m[4]))
		d.Slot, d.Name = m[1]+":"+m[2], m[5]
		return d, true
	}
	if m := lspciPlain.FindStringSubmatch(line); m != nil {
		d := bare("pci", unknown, unknown)
		d.Slot, d.Name = m[1], m[2]+": "+m[3]
		return d, true
	}
	return parseModalias(line)
}

// quotedDevice parses a line of lspci -mm.
func quotedDevice(m []string) Device {
	d := bare("pci", hex(m[5]), hex(m[7]))
	d.Slot, d.Class, d.Name = m[1], hex(m[3]), m[2]
	d.addName(": ", m[4])
	d.addName(" ", m[6])
	d.setInterface(m[8])
	if sub := quotedSub.FindStringSubmatch(m[8]); sub != nil {
		d.SubVendor, d.SubDevice = hex(sub[2]), hex(sub[4])
	}
	return d
}

func (d *Device) setInterface(rest string) {
	if m := progIf.FindStringSubmatch(rest); m != nil {
		d.Interface = hex(m[1] + m[2])
	}
}

// guessInterface sets the programming interface, which lspci prints only with
// -v and users leave out: the name of a USB controller shows it, and that of a
// network card is almost always 0.
func (d *Device) guessInterface() {
	if d.Interface != unknown {
		return
	}
	if high(d.Class) == classNetwork {
		d.Interface = 0
	}
	if d.Class != classUSB {
		return
	}
	for _, kind := range []struct {
		names  *regexp.Regexp
		number int
	}{
		{usb4Names, 0x40}, {xhciNames, 0x30}, {ehciNames, 0x20}, {ohciNames, 0x10}, {uhciNames, 0x00},
	} {
		if kind.names.MatchString(d.Name) {
			d.Interface = kind.number
			return
		}
	}
}

const (
	classNetwork = 0x02
	classUSB     = 0x0c03
)

var (
	usb4Names = regexp.MustCompile(`(?i)\bUSB ?4\b.*\b(NHI|host interface|router)\b|\bNHI\b`)
	xhciNames = regexp.MustCompile(`(?i)xHCI|\bUSB ?[34]`)
	ehciNames = regexp.MustCompile(`(?i)EHCI|\bUSB ?2`)
	ohciNames = regexp.MustCompile(`(?i)OHCI`)
	uhciNames = regexp.MustCompile(`(?i)UHCI`)
)
