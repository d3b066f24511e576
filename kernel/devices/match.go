package devices

import (
	"path"
	"strconv"
	"strings"
)

// alias is a parsed modalias pattern: for each field the pattern's text, "*"
// where it is open.
type alias struct {
	bus    string
	fields map[string]string
}

// fieldNames gives the fields of a bus's aliases in their order, from the
// kernel's scripts/mod/file2alias.c. The first two name vendor and device.
func fieldNames(bus string) []string {
	switch bus {
	case "pci":
		return []string{"v", "d", "sv", "sd", "bc", "sc", "i"}
	case "usb":
		return []string{"v", "p", "d", "dc", "dsc", "dp", "ic", "isc", "ip", "in"}
	}
	return nil
}

// parseAlias reads "pci:v00008086d00001592sv*sd*bc*sc*i*". It is false for
// aliases of other buses and of another form.
func parseAlias(text string) (alias, bool) {
	bus, rest, _ := strings.Cut(text, ":")
	names := fieldNames(bus)
	if names == nil {
		return alias{}, false
	}
	a := alias{bus, map[string]string{}}
	for i, name := range names {
		value, found := strings.CutPrefix(rest, name)
		if !found {
			return alias{}, false
		}
		end := len(value)
		if i+1 < len(names) {
			if end = nextField(value, names[i+1]); end < 0 {
				return alias{}, false
			}
		}
		a.fields[name] = value[:end]
		rest = value[end:]
	}
	return a, true
}

// nextField finds where a field's value ends: values are "*", upper-case
// hexadecimal digits and patterns of them, names are lower-case.
func nextField(value, next string) int {
	for i := range value {
		if c := value[i]; c >= 'a' && c <= 'z' {
			if strings.HasPrefix(value[i:], next) {
				return i
			}
			return -1
		}
	}
	return -1
}

// matches tells whether the alias is for the device. A field that the device
// leaves unknown is met only by an open pattern, or where others imply it.
func (a alias) matches(d Device) bool {
	if a.bus != d.Bus {
		return false
	}
	for _, name := range fieldNames(a.bus) {
		pattern := a.fields[name]
		if pattern == "*" {
			continue
		}
		number, width := d.field(name)
		if number == unknown {
			if a.implies(name, d) {
				continue
			}
			return false
		}
		if !matchNumber(pattern, number, width) {
			return false
		}
	}
	return true
}

// implies tells whether a field may stay unknown: the classes of a device whose
// vendor and product the alias names, and the programming interface of a PCI
// device of known class, which lspci shows only with -v.
func (a alias) implies(name string, d Device) bool {
	if a.bus == "usb" {
		return a.fields["v"] != "*" && a.fields["p"] != "*"
	}
	switch name {
	case "bc", "sc":
		return a.fields["v"] != "*" && a.fields["d"] != "*"
	case "i":
		return d.Class != unknown || a.fields["d"] != "*"
	}
	return false
}

// field gives a device's number for an alias's field, and how many digits the
// kernel writes it with.
func (d Device) field(name string) (number, width int) {
	if d.Bus == "usb" {
		switch name {
		case "v":
			return d.Vendor, 4
		case "p":
			return d.Product, 4
		}
		return unknown, 0
	}
	switch name {
	case "v":
		return d.Vendor, 8
	case "d":
		return d.Product, 8
	case "sv":
		return d.SubVendor, 8
	case "sd":
		return d.SubDevice, 8
	case "bc":
		return high(d.Class), 2
	case "sc":
		return low(d.Class), 2
	}
	return d.Interface, 2
}

func high(class int) int {
	if class == unknown {
		return unknown
	}
	return class >> 8
}

func low(class int) int {
	if class == unknown {
		return unknown
	}
	return class & 0xff
}

// matchNumber compares a number with a pattern, which may have brackets.
func matchNumber(pattern string, number, width int) bool {
	text := strings.ToUpper(strconv.FormatInt(int64(number), 16))
	for len(text) < width {
		text = "0" + text
	}
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}
