package hardware

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with a file.
type Fault struct {
	// Line and Column are where it is, from 1; Column counts bytes, as
	// compilers do. Column is 0 when the fault concerns the whole line.
	Line, Column int
	// Name is the CSV column concerned, "" for none.
	Name string
	Text string
	// Warning says that the file can be used all the same, by this reader if
	// not by EKS Anywhere.
	Warning bool
}

// String is "line:column: name: text".
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

// Faults are all the faults of a file, ordered by place. As an error it has a
// line for each.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// split orders the faults and tells those that stop from those that warn.
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
