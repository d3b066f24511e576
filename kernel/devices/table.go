package devices

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"hookbuild/kernel/kconfig"
)

// table.zst is written by package gen (run by refresh.sh) from the full kernels
// of a distribution. Its lines:
//
//	# DATE                  of the newest kernel, as 2026-11-15
//	k VERSION ARCH,ARCH     a kernel, newest first
//	m MODULE
//	o KERNELS OPTION        that builds the module
//	s KERNELS SETTING...    to set, so that the module is built; see [kconfig.Setting]
//	n KERNELS MODULE        that the module needs and that requests firmware
//	f KERNELS FIRMWARE      that the module, or one that it needs, requests
//	a KERNELS ALIAS
//
// KERNELS has a bit for each kernel to which the line applies, 1 for the first.
//
//go:embed table.zst
var packedTable []byte

// Kernel is one of the kernels in the table.
type Kernel struct {
	Version string // "6.12.117"
	Arches  []string
}

// seriesOf returns 6 and 12 for "6.12.117-amd64", and 0 and 0 for a text that
// is not a version.
func seriesOf(version string) [2]int {
	var s [2]int
	if n, err := fmt.Sscanf(version, "%d.%d", &s[0], &s[1]); n != 2 || err != nil {
		return [2]int{}
	}
	return s
}

// kernels is a set of the table's kernels, one bit for each.
type kernels uint16

// fact is a value and the kernels that have it.
type fact struct {
	in    kernels
	value string
}

// Known is a driver in the table.
type Known struct {
	Module                                      string
	options, settings, needs, firmware, aliases []fact
}

// Table holds the drivers of some full kernels.
type Table struct {
	// Date is the date of the newest kernel.
	Date    time.Time
	Kernels []Kernel // newest first
	Drivers []*Known

	byName map[string]*Known
	index  index[claim]
}

// claim is a driver that names a device in some kernels.
type claim struct {
	known *Known
	in    kernels
}

// mostTable limits the size of the unpacked table.
const mostTable = 64 << 20

// ReadTable unpacks the table that is embedded in hookbuild.
func ReadTable() (*Table, error) {
	r, err := zstd.NewReader(strings.NewReader(string(packedTable)), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("reading the table of drivers: %w", err)
	}
	defer r.Close()
	return parseTable(io.LimitReader(r, mostTable))
}

func parseTable(r io.Reader) (*Table, error) {
	t := &Table{byName: map[string]*Known{}}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if err := t.parseLine(lines.Text()); err != nil {
			return nil, fmt.Errorf("reading the table of drivers: the line %q: %w", lines.Text(), err)
		}
	}
	return t, lines.Err()
}

func (t *Table) parseLine(line string) (err error) {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "#":
		t.Date, err = time.Parse(time.DateOnly, rest)
		return err
	case "k":
		version, arches, _ := strings.Cut(rest, " ")
		t.Kernels = append(t.Kernels, Kernel{version, strings.Split(arches, ",")})
		return nil
	case "m":
		known := &Known{Module: rest}
		t.Drivers = append(t.Drivers, known)
		t.byName[rest] = known
		return nil
	}
	return t.parseFact(kind, rest)
}

func (t *Table) parseFact(kind, rest string) error {
	if len(t.Drivers) == 0 {
		return fmt.Errorf("no module precedes it")
	}
	mask, value, _ := strings.Cut(rest, " ")
	bits, err := strconv.ParseUint(mask, 16, 16)
	if err != nil {
		return err
	}
	known, f := t.Drivers[len(t.Drivers)-1], fact{kernels(bits), value}
	list := known.list(kind)
	if list == nil {
		return fmt.Errorf("its kind is not known")
	}
	*list = append(*list, f)
	if kind == "a" {
		t.index.add(value, claim{known, f.in})
	}
	return nil
}

// list returns the facts of one kind of line, or nil for an unknown kind.
func (k *Known) list(kind string) *[]fact {
	switch kind {
	case "o":
		return &k.options
	case "s":
		return &k.settings
	case "n":
		return &k.needs
	case "f":
		return &k.firmware
	case "a":
		return &k.aliases
	}
	return nil
}

// NewTable returns an empty table of the kernels, for package gen.
func NewTable(date time.Time, kernels []Kernel) *Table {
	return &Table{Date: date, Kernels: kernels, byName: map[string]*Known{}}
}

// Add adds the facts about a driver in the kernel with that index. Only aliases
// of PCI and USB devices are kept; a driver without any is skipped.
func (t *Table) Add(kernel int, module, option string, needs, firmware, aliases []string) {
	aliases = slices.DeleteFunc(slices.Clone(aliases), func(text string) bool {
		_, ok := parseAlias(text)
		return !ok
	})
	if len(aliases) == 0 {
		return
	}
	known := t.byName[module]
	if known == nil {
		known = &Known{Module: module}
		t.byName[module] = known
		t.Drivers = append(t.Drivers, known)
	}
	var options []string
	if option != "" {
		options = []string{option}
	}
	for kind, values := range map[string][]string{"o": options, "n": needs, "f": firmware, "a": aliases} {
		for _, value := range values {
			known.add(kind, kernel, value)
		}
	}
}

// add adds a fact of the kernel with that index.
func (k *Known) add(kind string, kernel int, value string) {
	list := k.list(kind)
	i := slices.IndexFunc(*list, func(f fact) bool { return f.value == value })
	if i < 0 {
		i = len(*list)
		*list = append(*list, fact{0, value})
	}
	(*list)[i].in |= 1 << kernel
}

// AddSettings adds what has to be set for each driver of the kernel with that index.
// Settings returns it for the driver's option and those of its companions; none leaves
// the driver without. It is for package gen.
func (t *Table) AddSettings(kernel int, settings func(option string, companions []string) []kconfig.Setting) {
	for _, known := range t.Drivers {
		for i := range known.settings {
			known.settings[i].in &^= 1 << kernel
		}
		known.settings = slices.DeleteFunc(known.settings, func(f fact) bool { return f.in == 0 })
		for _, option := range known.options {
			if option.in&(1<<kernel) == 0 {
				continue
			}
			var companions []string
			for _, c := range Companions(known.Module) {
				companions = append(companions, c.Setting.Option)
			}
			var words []string
			for _, s := range settings(option.value, companions) {
				words = append(words, s.String())
			}
			if len(words) > 0 {
				known.add("s", kernel, strings.Join(words, " "))
			}
			break
		}
	}
}

// Write writes the table in the form that [ReadTable] reads, unpacked.
func (t *Table) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# %s\n", t.Date.Format(time.DateOnly))
	for _, k := range t.Kernels {
		fmt.Fprintf(out, "k %s %s\n", k.Version, strings.Join(k.Arches, ","))
	}
	for _, d := range t.Drivers {
		fmt.Fprintf(out, "m %s\n", d.Module)
		for _, kind := range []string{"o", "s", "n", "f", "a"} {
			for _, f := range *d.list(kind) {
				fmt.Fprintf(out, "%s %x %s\n", kind, f.in, f.value)
			}
		}
	}
	return out.Flush()
}

// Origin returns what the table was made from: "Linux 7.3.4, 6.12.117 and
// 6.1.192 of Debian, November 2026".
func (t *Table) Origin() string {
	var versions []string
	for _, k := range t.Kernels {
		versions = append(versions, k.Version)
	}
	text := strings.Join(versions, ", ")
	if i := strings.LastIndex(text, ", "); i >= 0 {
		text = text[:i] + " and " + text[i+2:]
	}
	return fmt.Sprintf("Linux %s of Debian, %s", text, t.Date.Format("January 2006"))
}

// find returns the drivers for a device, and in which kernels the driver knows
// it.
func (t *Table) find(d Device) []*match {
	var found []*match
	t.index.find(d, func(c claim, f fit) {
		for _, m := range found {
			if m.Known == c.known {
				m.In |= c.in
				m.fit = max(m.fit, f)
				return
			}
		}
		found = append(found, &match{c.known, c.in, f})
	})
	return found
}

// match is a driver for a device.
type match struct {
	*Known
	// In is the set of kernels whose driver knows the device.
	In  kernels
	fit fit
}

// module returns a driver by its module's name.
func (t *Table) module(name string) (*Known, bool) {
	k, ok := t.byName[name]
	return k, ok
}

// nearest returns the index of the newest kernel that is not newer than the
// release, or that of the oldest kernel if all are newer.
func (t *Table) nearest(release string) int {
	at := len(t.Kernels) - 1
	for i, k := range slices.Backward(t.Kernels) {
		if slices.Compare(seriesSlice(k.Version), seriesSlice(release)) <= 0 {
			at = i
		}
	}
	return max(at, 0)
}

func seriesSlice(version string) []int {
	s := seriesOf(version)
	return s[:]
}

// values returns the facts of the kernel with that index. If it has none,
// values tries the newer kernels, nearest first, then the older ones.
func (t *Table) values(facts []fact, kernel int) []string {
	for _, i := range slices.Concat(down(kernel), up(kernel+1, len(t.Kernels))) {
		var values []string
		for _, f := range facts {
			if f.in&(1<<i) != 0 {
				values = append(values, f.value)
			}
		}
		if len(values) > 0 {
			return values
		}
	}
	return nil
}

// down returns n, n-1, ... 0; up returns from ... to-1.
func down(n int) (list []int) {
	for i := n; i >= 0; i-- {
		list = append(list, i)
	}
	return list
}

func up(from, to int) (list []int) {
	for i := from; i < to; i++ {
		list = append(list, i)
	}
	return list
}

// option returns the option that builds the module in a release, or "" if the
// kernels' Makefiles do not show it.
func (t *Table) option(k *Known, release string) string {
	if options := t.values(k.options, t.nearest(release)); len(options) > 0 {
		return options[0]
	}
	return ""
}

// settings returns what has to be set for the module in a release, or nil if that is
// not known. The option itself comes first; it is not in the list if it has no prompt.
func (t *Table) settings(k *Known, release string) ([]kconfig.Setting, error) {
	lists := t.values(k.settings, t.nearest(release))
	if len(lists) == 0 {
		return nil, nil
	}
	var all []kconfig.Setting
	for word := range strings.FieldsSeq(lists[0]) {
		s, err := kconfig.ParseSetting(word)
		if err != nil {
			return nil, fmt.Errorf("reading the settings of the driver %s in the table of drivers: %w", k.Module, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// age returns a remark about a driver that only some of the kernels have, for a
// kernel of another release. It returns "" if the release's series certainly
// has it.
func (t *Table) age(in kernels, release string) string {
	at := t.nearest(release)
	if in&(1<<at) != 0 || seriesOf(release) == [2]int{} || in == 0 {
		return ""
	}
	for i := at - 1; i >= 0; i-- {
		if in&(1<<i) != 0 {
			return fmt.Sprintf("Linux %s has it, %s does not", t.Kernels[i].Version, t.Kernels[at].Version)
		}
	}
	for i := at + 1; i < len(t.Kernels); i++ {
		if in&(1<<i) != 0 {
			return fmt.Sprintf("Linux %s has it, %s no longer does", t.Kernels[i].Version, t.Kernels[at].Version)
		}
	}
	return ""
}
