package main

import (
	"fmt"
	"io"
	"strings"

	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
)

// harmlessSink makes text from registries, archives and machines on the network
// harmless before a face shows it, and leaves out the secrets of URLs. It indents
// all lines but the first, so that none of them passes for a separate report.
type harmlessSink struct{ shown progress.Sink }

// Report implements [progress.Sink].
func (s harmlessSink) Report(e progress.Event) {
	e.Task, e.Text = harmlessReport(e.Task), harmlessReport(e.Text)
	if e.Err != nil {
		e.Err = harmlessError{e.Err}
	}
	s.shown.Report(e)
}

// harmlessError is an error whose text is harmless.
type harmlessError struct{ error }

func (e harmlessError) Error() string { return harmless(e.error.Error()) }

func (e harmlessError) Unwrap() error { return e.error }

func harmlessReport(s string) string {
	return strings.ReplaceAll(harmless(s), "\n", "\n    ")
}

// harmless returns text in a form that may be shown. Packages leave out the secrets
// of the URLs that they show; here none is shown that one of them forgot.
func harmless(s string) string { return words.Harmless(web.ShowAll(s)) }

// printRow writes a line of a table. No cell, which may hold a name from an archive,
// makes a second line. The table's Flush returns all errors.
func printRow(table io.Writer, cells ...string) {
	for i, cell := range cells {
		cells[i] = words.Line(cell)
	}
	fmt.Fprintln(table, strings.Join(cells, "\t"))
}

// printText writes what write writes to standard output, made harmless. It is for
// text that people read; text for programs goes to results unchanged.
func (a *app) printText(write func(io.Writer) error) error {
	var text strings.Builder
	if err := write(&text); err != nil {
		return err
	}
	_, err := io.WriteString(a.results(), words.Harmless(text.String()))
	return err
}
