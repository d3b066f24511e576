package hardware

import (
	"encoding/csv"
	"slices"
	"strings"
)

// The columns that EKS Anywhere needs, and those that it may find. It ignores all
// others.
func requiredColumns() []string {
	return []string{"hostname", "ip_address", "netmask", "gateway", "nameservers", "mac", "disk", "labels"}
}

func optionalColumns() []string {
	return []string{"bmc_ip", "bmc_username", "bmc_password", "vlan_id"}
}

func knownColumns() []string { return append(requiredColumns(), optionalColumns()...) }

// secret reports whether the values of a column must not be shown.
func secret(column string) bool { return strings.HasPrefix(column, "bmc_") }

// header reads the names of the columns. It returns false if no row can be
// understood.
func (r *reader) header(lines *csv.Reader, record []string) bool {
	if len(record) == 1 {
		for _, separator := range []string{";", "\t", "|"} {
			if strings.Contains(record[0], separator) {
				r.fault(1, 1, "", "the columns are separated by %q: save the file with commas", separator)
				return false
			}
		}
	}
	ok := true
	known := knownColumns()
	// EKS Anywhere compares the names exactly. A header with HOSTNAME is still one, and
	// its columns are reported each.
	if !slices.ContainsFunc(record, func(name string) bool {
		return slices.Contains(known, strings.TrimSpace(name)) || meant(name, known) != ""
	}) {
		r.fault(1, 1, "", "this is not a header: the first line of a hardware list names its columns, %s", strings.Join(requiredColumns(), ","))
		return false
	}
	for i, written := range record {
		line, column := lines.FieldPos(i)
		name := strings.TrimSpace(written)
		if name != written {
			r.warn(line, column, name, "spaces around the column's name, which EKS Anywhere does not trim")
		}
		if slices.Contains(r.columns, name) {
			r.fault(line, column, name, "the header has this column twice")
			ok = false
		}
		if !slices.Contains(known, name) {
			r.warn(line, column, name, "EKS Anywhere does not know this column and ignores it%s", meant(name, known))
		}
		r.columns = append(r.columns, name)
	}
	return r.required(lines) && ok
}

// required reports missing columns.
func (r *reader) required(lines *csv.Reader) bool {
	ok := true
	line, _ := lines.FieldPos(0)
	for _, name := range requiredColumns() {
		if !slices.Contains(r.columns, name) {
			r.fault(line, 0, name, "the header lacks this column")
			ok = false
		}
	}
	return ok
}

// meant returns a hint for a name that differs from a known one only in case or
// punctuation.
func meant(name string, known []string) string {
	plain := func(s string) string {
		return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
	}
	for _, k := range known {
		if plain(k) == plain(name) {
			return ": did you mean " + k + "?"
		}
	}
	return ""
}
