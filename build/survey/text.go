package survey

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"hookbuild/internal/words"
	"hookbuild/kernel/kconfig"
)

// most is the number of names of a kind that the text lists. JSON and the page list
// all.
const most = 20

// WriteText writes the differences for a terminal of width columns; 0 stands for none,
// such as a pipe.
func (d *Diff) WriteText(w io.Writer, width int) error {
	t := &text{width: width}
	t.line("from %s", d.From)
	t.line("to   %s", d.To)
	if d.Empty() {
		t.line("nothing differs in what they do; compare checksums to know whether the files are the same")
	}
	for _, f := range d.Facts {
		t.change(f.Name, f.Old, f.New)
	}
	t.options(d.Options)
	t.names("modules", d.Modules)
	t.drivers(d.Drivers)
	t.names("firmware", d.Firmware)
	t.images(d.Images)
	t.names("image store", d.Store)
	t.names("other files", d.Files) // modules and firmware have their own lines
	for _, u := range d.Unknown {
		t.line("not compared: %s", u)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

type text struct {
	strings.Builder
	width int
}

// line writes one line, whatever is in the names, or more where the terminal is too
// narrow for it. Those after the first are further right.
func (t *text) line(format string, args ...any) {
	line := words.Line(fmt.Sprintf(format, args...))
	indent := strings.Repeat(" ", len(line)-len(strings.TrimLeft(line, " ")))
	t.WriteString(strings.Join(words.Fold(line, t.width, indent+"    "), "\n") + "\n")
}

// change writes the old and the new value, on separate lines if one of 80 columns, or
// of the terminal, is too short for both.
func (t *text) change(name, from, to string) {
	if line := fmt.Sprintf("%-14s %s -> %s", name, from, to); words.Width(line) <= min(80, cmp.Or(t.width, 80)) {
		t.line("%s", line)
		return
	}
	t.line("%s", name)
	t.line("  - %s", from)
	t.line("  + %s", to)
}

func (t *text) options(changes []kconfig.Change) {
	if len(changes) == 0 {
		return
	}
	t.line("options        %d changed", len(changes))
	for i, c := range changes {
		if i == most {
			t.line("  and %d more (--json or --html lists all)", len(changes)-most)
			break
		}
		t.line("  %s", c)
	}
}

func (t *text) names(what string, n Names) {
	if n.Len() == 0 {
		return
	}
	t.line("%-14s %d added, %d removed, %d changed", what, len(n.Added), len(n.Removed), len(n.Changed))
	for _, kind := range []struct {
		mark  string
		names []string
	}{{"+", n.Added}, {"-", n.Removed}, {"~", n.Changed}} {
		for i, name := range kind.names {
			if i == most {
				t.line("  %s and %d more (--json or --html lists all)", kind.mark, len(kind.names)-most)
				break
			}
			t.line("  %s %s", kind.mark, name)
		}
	}
}

func (t *text) drivers(changes []DriverChange) {
	if len(changes) == 0 {
		return
	}
	t.line("drivers        %d changed", len(changes))
	for _, c := range changes {
		t.line("  %s (%s)", c.Module, c.Now)
		for _, kind := range []struct {
			mark    string
			devices []string
		}{{"+", c.Gained}, {"-", c.Lost}} {
			if n := len(kind.devices); n > 3 {
				t.line("    %s %s and %d more", kind.mark, strings.Join(kind.devices[:3], ", "), n-3)
			} else if n > 0 {
				t.line("    %s %s", kind.mark, strings.Join(kind.devices, ", "))
			}
		}
	}
}

func (t *text) images(changes []ImageChange) {
	if len(changes) == 0 {
		return
	}
	t.line("images         %d changed", len(changes))
	for _, c := range changes {
		switch {
		case c.Old == "":
			t.line("  + %s", c.Name)
			t.line("      %s", c.New)
		case c.New == "":
			t.line("  - %s", c.Name)
			t.line("      %s", c.Old)
		default:
			t.line("  ~ %s", c.Name)
			t.line("      %s ->", c.Old)
			t.line("      %s", c.New)
			t.line("      %s", c.Layers)
		}
	}
}
