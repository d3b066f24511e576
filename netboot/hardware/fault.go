package hardware

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is a problem of a file.
type Fault struct {
	// Line and Column are its place, from 1. Column counts bytes, as compilers
	// do, and is 0 if the fault concerns the whole line.
	Line, Column int
	// Name is the name of the CSV column, or "".
	Name string
	Text string
	// Warning reports whether the file can still be used, at least by this
	// reader.
	Warning bool
}

// String returns "line:column: name: text".
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", f.Line)
	if f.Column > 0 {
		fmt.Fprintf(&b, "%d:", f.Column)
	}
	if f.Name != "" {
		fmt.Fprintf(&b, " %s:", f.Name)
	}
	return b.String() + " " + f.Text
}

// Faults are all faults of a file, sorted by place. As an error it has a line for
// each.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// split sorts the faults and separates errors from warnings.
func (f Faults) split() (wrong, warnings Faults) {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column, strings.Compare(a.Name, b.Name), strings.Compare(a.Text, b.Text))
	})
	for _, fault := range f {
		if fault.Warning {
			warnings = append(warnings, fault)
		} else {
			wrong = append(wrong, fault)
		}
	}
	return wrong, warnings
}
