package size

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "initramfs: %s, unpacked %s, in memory %s, %d files\n", Text(r.Compressed), Text(r.Unpacked), Text(r.RAM), r.Files)
	if err := table(&b, "\nWhat it consists of", partRows(r.Parts)); err != nil {
		return err
	}
	var rows []string
	for _, d := range r.Directories {
		rows = append(rows, fmt.Sprintf("%s\t%d files\t%s", Text(d.Bytes), d.Files, d.Path))
	}
	if err := table(&b, "\nHeaviest directories", rows); err != nil {
		return err
	}
	rows = nil
	for _, d := range r.Duplicates {
		rows = append(rows, fmt.Sprintf("%s\t%d times\t%s", Text(d.Size), len(d.Paths), strings.Join(d.Paths, " ")))
	}
	if err := table(&b, fmt.Sprintf("\nEqual files (%s wasted)", Text(r.Wasted)), rows); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func partRows(parts []Part) []string {
	var rows []string
	for _, p := range parts {
		rows = append(rows, fmt.Sprintf("%s\t%d files\t%s", Text(p.Bytes), p.Files, p.Name))
	}
	return rows
}

// table writes rows of tab-separated cells with a title, or nothing if there
// are no rows.
func table(w io.Writer, title string, rows []string) error {
	if len(rows) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "%s\n", title)
	for _, row := range rows {
		fmt.Fprintf(tw, "%s\n", row)
	}
	return tw.Flush()
}
