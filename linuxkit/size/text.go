package size

import (
	"fmt"
	"strings"

	"hookbuild/internal/words"
)

// mostDirectories limits the directories in the text, which has none with less than 1 %
// of the total either. The report has more.
const mostDirectories = 15

// Text returns the report for people, for a terminal of width columns; 0 stands for
// none.
func (r *Report) Text(width int) string {
	text := fmt.Sprintf("initramfs: %s, %s unpacked, %s in RAM, %s\n", Text(r.Compressed), Text(r.Unpacked), Text(r.RAM), words.Count(r.Files, "file"))
	var parts, directories, duplicates words.Table
	for _, p := range r.Parts {
		parts.Row(Text(p.Bytes), words.Count(p.Files, "file"), p.Name)
	}
	for i, d := range r.Directories {
		if i == mostDirectories || d.Bytes*100 < r.Unpacked {
			break // the largest come first
		}
		directories.Row(Text(d.Bytes), words.Count(d.Files, "file"), d.Path)
	}
	for _, d := range r.Duplicates {
		duplicates.Row(Text(d.Size), fmt.Sprintf("%d times", len(d.Paths)), strings.Join(d.Paths, " "))
	}
	return text + titled("What it consists of", parts.Text(width)) + titled("Heaviest directories", directories.Text(width)) +
		titled(fmt.Sprintf("Equal files (%s wasted)", Text(r.Wasted)), duplicates.Text(width))
}

// titled returns a table with a title, or nothing if the table is empty.
func titled(title, table string) string {
	if table == "" {
		return ""
	}
	return "\n" + title + "\n" + table
}
