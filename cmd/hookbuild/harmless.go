package main

import (
	"io"
	"strings"

	"hookbuild/cmd/hookbuild/face"
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

// printText writes what write writes to standard output, made harmless. It is for
// text that people read; text for programs goes to results unchanged. Write gets the
// number of columns of the terminal, or 0 if standard output is not one.
func (a *app) printText(write func(w io.Writer, width int) error) error {
	var text strings.Builder
	if err := write(&text, a.width()); err != nil {
		return err
	}
	_, err := io.WriteString(a.results(), words.Harmless(text.String()))
	return err
}

// printTable prints a table, fitted to the terminal if there is one.
func (a *app) printTable(t *words.Table) error {
	return a.printText(func(w io.Writer, width int) error {
		_, err := io.WriteString(w, t.Text(width))
		return err
	})
}

// width returns the number of columns of standard output, or 0 if that is not a
// terminal.
func (a *app) width() int { return face.Columns(a.stdout) }

// proseWidth returns the number of columns for sentences: the terminal's, and at most
// [helpWidth], which are read best.
func proseWidth(width int) int {
	if width == 0 {
		return helpWidth
	}
	return min(width, helpWidth)
}
