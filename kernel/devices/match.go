package devices

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// alias is a parsed modalias pattern: the pattern's text for each field of
// [fieldNames], or "*" if the field is open.
type alias struct {
	bus    string
	fields [10]string
}

// fieldNames returns the fields of a bus's aliases in order, from the kernel's
// scripts/mod/file2alias.c. The first two are vendor and device.
func fieldNames(bus string) []string {
	switch bus {
	case "pci":
		return []string{"v", "d", "sv", "sd", "bc", "sc", "i"}
	case "usb":
		return []string{"v", "p", "d", "dc", "dsc", "dp", "ic", "isc", "ip", "in"}
	}
	return nil
}

// parseAlias parses "pci:v00008086d00001592sv*sd*bc*sc*i*". It returns false
// for aliases of other buses and forms.
func parseAlias(text string) (alias, bool) {
	bus, rest, _ := strings.Cut(text, ":")
	names := fieldNames(bus)
	if names == nil {
		return alias{}, false
	}
	a := alias{bus: bus}
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
		a.fields[i] = value[:end]
		rest = value[end:]
	}
	return a, true
}

// nextField returns the end of a field's value: values consist of "*",
// upper-case hexadecimal digits and patterns of them, while names are
// lower-case.
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

// fit tells how well an alias matches a device.
type fit int

const (
	no fit = iota
	// perhaps is a match by class that the programming interface, which is not
	// known, may exclude.
	perhaps
	yes
)

// matches compares the alias with a device. A field that is unknown for the
// device matches an open pattern. It matches any pattern if the alias names the
// device by vendor and product.
func (a alias) matches(d Device) fit {
	if a.bus != d.Bus {
		return no
	}
	found := yes
	for i := range fieldNames(a.bus) {
		pattern := a.fields[i]
		if pattern == "*" {
			continue
		}
		number, width := d.field(i)
		switch {
		case number != unknown && !matchNumber(pattern, number, width):
			return no
		case number != unknown || i > 1 && a.namesDevice():
		case a.bus == "pci" && i == pciInterface && d.Class != unknown:
			found = perhaps
		default:
			return no
		}
	}
	return found
}

const pciInterface = 6 // its index among the fields

// namesDevice reports whether the alias has both vendor and product.
func (a alias) namesDevice() bool { return a.fields[0] != "*" && a.fields[1] != "*" }

// numbers returns a device's numbers by the fields of its bus. For a USB device
// these are only vendor and product.
func (d Device) numbers() []int {
	if d.Bus == "usb" {
		return []int{d.Vendor, d.Product}
	}
	return []int{d.Vendor, d.Product, d.SubVendor, d.SubDevice, high(d.Class), low(d.Class), d.Interface}
}

// field returns a device's number for the alias's field i, and the number of
// digits with which the kernel writes it.
func (d Device) field(i int) (number, width int) {
	numbers := d.numbers()
	if i >= len(numbers) {
		return unknown, 0
	}
	switch {
	case d.Bus == "usb":
		return numbers[i], 4
	case i < 4:
		return numbers[i], 8
	}
	return numbers[i], 2
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

// matchNumber reports whether a number matches a pattern, which may have
// brackets.
func matchNumber(pattern string, number, width int) bool {
	text := fmt.Sprintf("%0*X", width, number)
	if pattern == text {
		return true
	}
	if !strings.ContainsAny(pattern, "*?[") {
		return false
	}
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}

// index finds the aliases that match a device without trying each of them: most
// name one vendor and product. T is the owner of an alias.
type index[T any] struct {
	exact map[id][]rule[T]
	open  []rule[T]
}

type id struct {
	bus             string
	vendor, product int
}

type rule[T any] struct {
	alias alias
	owner T
}

// add adds an alias. It skips aliases of other buses.
func (x *index[T]) add(text string, owner T) {
	a, ok := parseAlias(text)
	if !ok {
		return
	}
	r := rule[T]{a, owner}
	vendor, errV := strconv.ParseUint(a.fields[0], 16, 32)
	product, errP := strconv.ParseUint(a.fields[1], 16, 32)
	if errV != nil || errP != nil {
		x.open = append(x.open, r)
		return
	}
	if x.exact == nil {
		x.exact = map[id][]rule[T]{}
	}
	key := id{a.bus, int(vendor), int(product)}
	x.exact[key] = append(x.exact[key], r)
}

// find calls each with the owner of every alias that matches. Aliases that name
// the device come first; otherwise the order is that of add.
func (x *index[T]) find(d Device, each func(T, fit)) {
	for _, r := range slices.Concat(x.exact[id{d.Bus, d.Vendor, d.Product}], x.open) {
		if f := r.alias.matches(d); f != no {
			each(r.owner, f)
		}
	}
}
