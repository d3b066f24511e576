package words

import (
	"slices"
	"strings"
)

// Table is text in rows of cells. On a wide terminal, and in a pipe, a row is a line, and
// the cells of neighbouring rows are in columns. A row that is too wide for the terminal
// takes several lines, and nothing of it is left out.
type Table struct {
	// Head are the headings of the columns, or nil.
	Head []string
	rows [][]string
}

// Row adds a row. No cell makes a second row, whatever is in it; see [Line].
func (t *Table) Row(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = Line(cell)
	}
	t.rows = append(t.rows, row)
}

// gap separates columns. Below indents what is below the first cell of its row.
const (
	gap   = "  "
	below = "    "
)

// Text returns the table for a terminal of width columns. Width 0 stands for none,
// such as a pipe: then each row is one line.
//
// Rows are fitted in three ways. In most tables the last cell is folded in its
// column. Where it would become too narrow for its words, the cells after the first
// are put below each other. With headings, this is done with all rows or none, and
// each cell is named by its heading. No line has blanks at its end.
func (t *Table) Text(width int) string {
	all := t.rows
	if t.Head != nil {
		all = append([][]string{t.Head}, all...)
	}
	l := newLayout(all, width)
	var text strings.Builder
	if t.Head != nil && slices.Contains(l.stacked, true) {
		for _, row := range t.rows {
			write(&text, record(t.Head, row, width))
		}
		return text.String()
	}
	for i := range all {
		write(&text, l.lines(i))
	}
	return text.String()
}

func write(text *strings.Builder, lines []string) {
	for _, line := range lines {
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// layout decides how rows are shown.
type layout struct {
	rows    [][]string
	width   int
	stacked []bool // rows that are not in columns
	// columns holds the width of the column of each cell but the last of a row, wide
	// that of each cell.
	columns, wide [][]int
	// need is the least width for the last cell of each row.
	need []int
}

func newLayout(rows [][]string, width int) *layout {
	l := &layout{rows: rows, width: width, stacked: make([]bool, len(rows)), need: make([]int, len(rows))}
	for i, row := range rows {
		l.columns = append(l.columns, make([]int, max(0, len(row)-1)))
		l.wide = append(l.wide, make([]int, len(row)))
		for column, cell := range row {
			l.wide[i][column] = Width(cell)
		}
		if len(row) > 0 {
			l.need[i] = l.needs(i)
		}
	}
	l.fit()
	return l
}

// needs returns how much room the last cell of a row must have: for its longest word,
// and for a third of a line if it has as much.
func (l *layout) needs(i int) int {
	last := len(l.rows[i]) - 1
	need := min(l.wide[i][last], l.width/3)
	for _, word := range strings.Fields(l.rows[i][last]) {
		need = max(need, Width(word))
	}
	return need
}

// fit stacks rows until all others fit: the widest first, because they widen the
// columns of their neighbours.
func (l *layout) fit() {
	for {
		l.measure()
		widest, most := -1, 0
		for i, row := range l.rows {
			if l.width <= 0 || l.stacked[i] || len(row) < 2 || l.fits(i) {
				continue
			}
			n := 0
			for _, wide := range l.wide[i] {
				n += wide + len(gap)
			}
			if n > most {
				widest, most = i, n
			}
		}
		if widest < 0 {
			return
		}
		l.stacked[widest] = true
	}
}

// fits reports whether the last cell of a row has the room that it needs.
func (l *layout) fits(i int) bool {
	room := l.width
	for _, column := range l.columns[i] {
		room -= column + len(gap)
	}
	return l.need[i] <= room
}

// measure sets the widths of columns. A column is as wide as the widest of the cells
// that stand directly below each other and are followed by another cell.
func (l *layout) measure() {
	for column := 0; ; column++ {
		found := false
		for i := 0; i < len(l.rows); i++ {
			if !l.has(i, column) {
				continue
			}
			found = true
			end, most := i, 0
			for ; end < len(l.rows) && l.has(end, column); end++ {
				if n := l.wide[end][column]; !l.stacked[end] || column == 0 && n <= l.width/3 {
					most = max(most, n)
				}
			}
			for ; i < end; i++ {
				l.columns[i][column] = most
			}
		}
		if !found {
			return
		}
	}
}

func (l *layout) has(i, column int) bool { return column+1 < len(l.rows[i]) }

// before returns a row's line up to its last cell.
func (l *layout) before(i int) string {
	line := ""
	row := l.rows[i]
	for column, cell := range row[:len(row)-1] {
		line += fill(cell, l.columns[i][column]) + gap
	}
	return line
}

func (l *layout) lines(i int) []string {
	row := l.rows[i]
	switch {
	case len(row) == 0:
		return []string{""}
	case l.stacked[i]:
		return l.stack(i)
	case len(row) == 1:
		return fold(row[0], l.width, "", below)
	}
	first := l.before(i)
	return fold(row[len(row)-1], l.width, first, strings.Repeat(" ", Width(first)))
}

// stack returns a row with its cells below each other, beside the first one if that
// is in a narrow column and no word, such as a digest, is broken only for that, else
// below it.
func (l *layout) stack(i int) []string {
	row := l.rows[i]
	longest := 0
	for _, word := range strings.Fields(strings.Join(row[1:], " ")) {
		longest = max(longest, Width(word))
	}
	column := l.columns[i][0]
	breaks := longest > l.width-column-len(gap) && longest <= l.width-len(below)
	if l.wide[i][0] <= column && column <= l.width/3 && !breaks {
		return packed(row[1:], l.width, fill(row[0], column)+gap, strings.Repeat(" ", column)+gap)
	}
	return append(fold(row[0], l.width, "", below), packed(row[1:], l.width, below, below)...)
}

// record returns a row as its first cell with the others below it, each with its
// heading.
func record(head, row []string, width int) []string {
	lines := fold(row[0], width, "", below)
	var cells []string
	for i, cell := range row[1:] {
		if cell != "" {
			cells = append(cells, strings.ToLower(head[i+1])+" "+cell)
		}
	}
	if len(cells) == 0 {
		return lines
	}
	return append(lines, packed(cells, width, below, below)...)
}

// packed returns cells on as few lines as they fit on without being broken. First
// and rest begin the lines.
func packed(cells []string, width int, first, rest string) []string {
	var lines []string
	line, begun := first, false
	for _, cell := range cells {
		if begun && Width(line)+len(gap)+Width(cell) <= width {
			line += gap + cell
			continue
		}
		if begun {
			lines, line = append(lines, line), rest
		}
		folded := fold(cell, width, line, rest)
		lines, line, begun = append(lines, folded[:len(folded)-1]...), folded[len(folded)-1], true
	}
	return append(lines, line)
}

// fill adds blanks to s up to width columns.
func fill(s string, width int) string { return s + strings.Repeat(" ", max(0, width-Width(s))) }
