// Package linediff writes the difference of two texts as a unified diff that
// removes and adds as few lines as possible, for patch(1) and git apply.
package linediff

import (
	"bytes"
	"fmt"
)

// context is the number of unchanged lines around a change.
const context = 3

// Unified returns the patch that turns before into after, or nil if they are equal.
// Both sides have the name. Line endings are kept as they are: a line that ends with
// CR LF differs from one that ends with LF, and a last line without LF is marked.
//
// The number of changed lines is the least possible (Eugene W. Myers, "An O(ND)
// Difference Algorithm and Its Variations", 1986).
func Unified(name string, before, after []byte) []byte {
	if bytes.Equal(before, after) {
		return nil
	}
	a, b := lines(before), lines(after)
	var out bytes.Buffer
	fmt.Fprintf(&out, "--- %s\n+++ %[1]s\n", name)
	for _, hunk := range hunks(compare(a, b)) {
		hunk.write(&out, a, b)
	}
	return out.Bytes()
}

// lines splits text after each LF.
func lines(text []byte) []string {
	var all []string
	for line := range bytes.Lines(text) {
		all = append(all, string(line))
	}
	return all
}

// change replaces the lines [aFrom, aTo) of a by the lines [bFrom, bTo) of b.
type change struct{ aFrom, aTo, bFrom, bTo int }

// hunk is a list of changes that are so close that they share context.
type hunk []change

func hunks(changes []change) []hunk {
	var all []hunk
	for i, c := range changes {
		if i == 0 || c.aFrom-changes[i-1].aTo > 2*context {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], c)
	}
	return all
}

func (h hunk) write(out *bytes.Buffer, a, b []string) {
	first, last := h[0], h[len(h)-1]
	lead, tail := min(context, first.aFrom), min(context, len(a)-last.aTo)
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(first.aFrom-lead, last.aTo+tail), span(first.bFrom-lead, last.bTo+tail))
	at := first.aFrom - lead
	for _, c := range h {
		put(out, ' ', a[at:c.aFrom])
		put(out, '-', a[c.aFrom:c.aTo])
		put(out, '+', b[c.bFrom:c.bTo])
		at = c.aTo
	}
	put(out, ' ', a[at:at+tail])
}

// span formats the lines [from, to), counted from 0. Of no lines, it names the line
// before them.
func span(from, to int) string {
	if from == to {
		return fmt.Sprintf("%d,0", from)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

func put(out *bytes.Buffer, mark byte, lines []string) {
	for _, line := range lines {
		out.WriteByte(mark)
		out.WriteString(line)
		if line[len(line)-1] != '\n' {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// comparison finds what two lists of lines have in common.
type comparison struct {
	a, b []int // lines as numbers, equal for equal lines
	// forth and back hold, for each diagonal, the furthest point in a that a path
	// from the start and from the end has reached.
	forth, back []int
	kept        []change // the runs of common lines, in order
}

// compare returns the fewest changes that turn a into b.
func compare(a, b []string) []change {
	numbers := map[string]int{}
	number := func(lines []string) []int {
		all := make([]int, len(lines))
		for i, line := range lines {
			if _, met := numbers[line]; !met {
				numbers[line] = len(numbers)
			}
			all[i] = numbers[line]
		}
		return all
	}
	n := 2*(len(a)+len(b)) + 3
	c := &comparison{a: number(a), b: number(b), forth: make([]int, n), back: make([]int, n)}
	c.divide(0, len(a), 0, len(b))
	c.keep(len(a), len(a), len(b), len(b))
	var changes []change
	x, y := 0, 0
	for _, k := range c.kept {
		if k.aFrom > x || k.bFrom > y {
			changes = append(changes, change{x, k.aFrom, y, k.bFrom})
		}
		x, y = k.aTo, k.bTo
	}
	return changes
}

func (c *comparison) keep(aFrom, aTo, bFrom, bTo int) {
	c.kept = append(c.kept, change{aFrom, aTo, bFrom, bTo})
}

// divide keeps what the lines [x0, x1) of a and [y0, y1) of b have in common.
func (c *comparison) divide(x0, x1, y0, y1 int) {
	n := 0
	for x0+n < x1 && y0+n < y1 && c.a[x0+n] == c.b[y0+n] {
		n++
	}
	if n > 0 {
		c.keep(x0, x0+n, y0, y0+n)
	}
	x0, y0 = x0+n, y0+n
	n = 0
	for x1-n > x0 && y1-n > y0 && c.a[x1-n-1] == c.b[y1-n-1] {
		n++
	}
	if x1-n > x0 && y1-n > y0 {
		x, y := c.middle(x0, x1-n, y0, y1-n)
		c.divide(x0, x, y0, y)
		c.divide(x, x1-n, y, y1-n)
	}
	if n > 0 {
		c.keep(x1-n, x1, y1-n, y1)
	}
}

// middle returns a point in the middle of a shortest path. The paths from both ends
// are lengthened in turn until they meet. Neither list is empty, and neither their
// first nor their last lines are equal, so the point is none of the ends.
func (c *comparison) middle(x0, x1, y0, y1 int) (x, y int) {
	delta, zero := (x1-x0)-(y1-y0), len(c.forth)/2
	odd := delta%2 != 0
	c.forth[zero+1], c.back[zero-1] = x0, x1
	for d := 0; ; d++ {
		for k := -d; k <= d; k += 2 { // the diagonal x-y = x0-y0+k
			if k == -d || k != d && c.forth[zero+k-1] < c.forth[zero+k+1] {
				x = c.forth[zero+k+1]
			} else {
				x = c.forth[zero+k-1] + 1
			}
			y = x - x0 + y0 - k
			for x < x1 && y < y1 && c.a[x] == c.b[y] {
				x, y = x+1, y+1
			}
			c.forth[zero+k] = x
			if j := k - delta; odd && -d < j && j < d && c.back[zero+j] <= x {
				return x, y
			}
		}
		for k := -d; k <= d; k += 2 { // the diagonal x-y = x1-y1+k
			if k == d || k != -d && c.back[zero+k-1] < c.back[zero+k+1] {
				x = c.back[zero+k-1]
			} else {
				x = c.back[zero+k+1] - 1
			}
			y = x - x1 + y1 - k
			for x > x0 && y > y0 && c.a[x-1] == c.b[y-1] {
				x, y = x-1, y-1
			}
			c.back[zero+k] = x
			if j := k + delta; !odd && -d <= j && j <= d && c.forth[zero+j] >= x {
				return x, y
			}
		}
	}
}
