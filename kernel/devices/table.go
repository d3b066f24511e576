package devices

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// table.zst is made by package gen (refresh.sh runs it) from a distribution's
// full kernel. Its lines:
//
//	# what it was made from
//	m MODULE CONFIG_OPTION FIRMWARE...   (- for an unknown option)
//	a ALIAS                              (of the module above)
//
//go:embed table.zst
var packedTable []byte

// Known is a driver that the table knows.
type Known struct {
	Module string
	// Option is the configuration option that builds it; empty when the
	// kernel's Makefiles do not tell.
	Option   string
	Firmware []string
	aliases  []string
}

// Table is the drivers of a full kernel.
type Table struct {
	// Origin says which kernel.
	Origin  string
	Drivers []*Known
}

// mostTable bounds the unpacked table.
const mostTable = 64 << 20

// ReadTable unpacks the table that is part of hookbuild.
func ReadTable() (*Table, error) {
	r, err := zstd.NewReader(strings.NewReader(string(packedTable)), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("reading the table of drivers: %w", err)
	}
	defer r.Close()
	return parseTable(io.LimitReader(r, mostTable))
}

func parseTable(r io.Reader) (*Table, error) {
	t := &Table{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		kind, rest, _ := strings.Cut(lines.Text(), " ")
		switch {
		case kind == "#":
			t.Origin = rest
		case kind == "m":
			fields := strings.Fields(rest)
			if len(fields) < 2 {
				return nil, fmt.Errorf("reading the table of drivers: the line %q is damaged", lines.Text())
			}
			t.Drivers = append(t.Drivers, &Known{Module: fields[0], Option: strings.TrimPrefix(fields[1], "-"), Firmware: fields[2:]})
		case kind == "a" && len(t.Drivers) > 0:
			last := t.Drivers[len(t.Drivers)-1]
			last.aliases = append(last.aliases, rest)
		default:
			return nil, fmt.Errorf("reading the table of drivers: the line %q is damaged", lines.Text())
		}
	}
	return t, lines.Err()
}

// WriteTable writes a table in the form that [ReadTable] reads, unpacked.
func WriteTable(w io.Writer, origin string, drivers []*Known) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# %s\n", origin)
	for _, d := range drivers {
		option := d.Option
		if option == "" {
			option = "-"
		}
		fmt.Fprintln(out, strings.Join(append([]string{"m", d.Module, option}, d.Firmware...), " "))
		for _, a := range d.aliases {
			fmt.Fprintln(out, "a", a)
		}
	}
	return out.Flush()
}

// NewKnown makes a line of the table; only aliases of PCI and USB devices are
// kept, and a driver without any gives nil.
func NewKnown(module, option string, firmware, aliases []string) *Known {
	k := &Known{Module: module, Option: option, Firmware: firmware}
	for _, text := range aliases {
		if _, ok := parseAlias(text); ok {
			k.aliases = append(k.aliases, text)
		}
	}
	if len(k.aliases) == 0 {
		return nil
	}
	return k
}

// Find lists the drivers for a device.
func (t *Table) Find(d Device) []*Known {
	var found []*Known
	for _, k := range t.Drivers {
		if matchesAny(k.aliases, d) {
			found = append(found, k)
		}
	}
	return found
}

// Module finds a driver by its module's name.
func (t *Table) Module(name string) (*Known, bool) {
	for _, k := range t.Drivers {
		if k.Module == name {
			return k, true
		}
	}
	return nil, false
}

func matchesAny(aliases []string, d Device) bool {
	for _, text := range aliases {
		if !strings.HasPrefix(text, d.Bus+":") {
			continue
		}
		if a, ok := parseAlias(text); ok && a.matches(d) {
			return true
		}
	}
	return false
}
