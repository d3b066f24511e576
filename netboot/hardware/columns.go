package hardware

import (
	"encoding/csv"
	"slices"
	"strings"
)

// The columns that EKS Anywhere needs, and those that it may find. All others
// it ignores.
func requiredColumns() []string {
	return []string{"hostname", "ip_address", "netmask", "gateway", "nameservers", "mac", "disk", "labels"}
}

func optionalColumns() []string {
	return []string{"bmc_ip", "bmc_username", "bmc_password", "vlan_id"}
}

func knownColumns() []string { return append(requiredColumns(), optionalColumns()...) }

// secret says that a column's values must not be shown.
func secret(column string) bool { return strings.HasPrefix(column, "bmc_") }

// header reads the names of the columns; false means that no row can be
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
	for i, written := range record {
		line, column := lines.FieldPos(i)
		name := strings.TrimSpace(written)
		if name != written {
			r.warn(line, column, name, "spaces around the column's name, which EKS Anywhere does not trim")
		}
		if slices.Contains(r.columns, name) {
			r.fault(line, column, name, "the column is there twice")
			ok = false
		}
		if !slices.Contains(known, name) {
			r.warn(line, column, name, "EKS Anywhere knows no such column and ignores it%s", meant(name, known))
		}
		r.columns = append(r.columns, name)
	}
	return r.required(lines) && ok
}

// required reports the columns that are missing.
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

// meant is a hint for a name that differs from a known one in its writing
// alone.
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
