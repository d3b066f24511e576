package patch

import (
	"fmt"
	"slices"
	"strings"

	"hookbuild/internal/fault"
)

// Content is the content of a file.
type Content struct {
	Text       []byte
	Executable bool
}

// Apply applies patches one after the other and returns the new content of each
// file that they change; nil stands for a file that they remove. Read returns
// the content of a file of the tree, or nil if there is no such file; it is
// called once for each file.
func Apply(patches []*Patch, read func(name string) (*Content, error)) (map[string]*Content, error) {
	t := &tree{read: read, files: map[string]*Content{}, changed: map[string]*Content{}}
	for _, p := range patches {
		for _, f := range p.Files {
			if err := t.apply(f); err != nil {
				return nil, fmt.Errorf("applying the patch %q: %w", p.Name, err)
			}
		}
	}
	return t.changed, nil
}

// tree is a tree with the changes so far.
type tree struct {
	read           func(name string) (*Content, error)
	files, changed map[string]*Content
}

func (t *tree) content(name string) (*Content, error) {
	if c, known := t.files[name]; known {
		return c, nil
	}
	c, err := t.read(name)
	if err == nil {
		t.files[name] = c
	}
	return c, err
}

func (t *tree) set(name string, c *Content) { t.files[name], t.changed[name] = c, c }

func (t *tree) apply(f File) error {
	old := &Content{}
	var err error
	if f.Old != "" {
		if old, err = t.content(f.Old); err != nil {
			return err
		}
		if old == nil && f.begins() {
			old, f.Old = &Content{}, ""
		}
		if old == nil {
			return fault.Invalidf("line %d changes %q, and the source has no such file (paths are taken without their first element, as patch -p1 does, and must be those below the source's top directory)", f.line, f.Old)
		}
	}
	if f.New != "" && f.New != f.Old {
		there, err := t.content(f.New)
		if err != nil {
			return err
		}
		if there != nil {
			return fault.Invalidf("line %d makes the file %q, and the source has it already%s", f.line, f.New, f.alreadyApplied(there))
		}
	}
	text, err := f.applyTo(old.Text)
	if err != nil {
		return err
	}
	if f.Old != "" && f.Old != f.New && !f.Copy {
		t.set(f.Old, nil)
	}
	if f.New == "" {
		if len(text) > 0 {
			return fault.Invalidf("line %d removes %q, but the file has lines that the patch does not know", f.line, f.Old)
		}
		return nil
	}
	made := &Content{Text: text, Executable: old.Executable}
	if f.Executable != nil {
		made.Executable = *f.Executable
	}
	t.set(f.New, made)
	return nil
}

// begins reports whether the change can make a new file: diff -N names the old
// file although it does not exist.
func (f File) begins() bool { return len(f.hunks) == 1 && f.hunks[0].oldSize == 0 && !f.Copy }

// applyTo returns the changed content of the file.
func (f File) applyTo(text []byte) ([]byte, error) {
	if len(f.hunks) == 0 {
		return text, nil
	}
	lines := splitLines(text)
	var out []string
	done, moved := 0, 0 // lines that were copied to out, and by how much the last hunk had moved
	for i, h := range f.hunks {
		at, found := find(lines, h.before, done, h.expected()+moved)
		if !found {
			return nil, fault.Invalidf("its change %d of %q, in line %d, does not fit: the lines that it expects near line %d are not there%s:\n%s",
				i+1, f.path(), h.line, h.start, f.alreadyApplied(&Content{Text: text}), h.shown())
		}
		out = append(out, lines[done:at]...)
		out = append(out, h.after...)
		done, moved = at+len(h.before), at-h.expected()
	}
	out = append(out, lines[done:]...)
	return []byte(strings.Join(out, "")), nil
}

// expected returns the number of lines before the hunk. A hunk without old lines
// comes after the line that it names.
func (h hunk) expected() int {
	if h.oldSize == 0 {
		return h.start
	}
	return h.start - 1
}

// find returns where lines has the wanted ones at or after from, as near as
// possible to the expected place.
func find(lines, wanted []string, from, expected int) (int, bool) {
	if len(wanted) == 0 {
		return min(max(expected, from), len(lines)), true
	}
	last := len(lines) - len(wanted)
	if last < from {
		return 0, false
	}
	expected = min(max(expected, from), last)
	for distance := 0; expected-distance >= from || expected+distance <= last; distance++ {
		for _, at := range []int{expected - distance, expected + distance} {
			if at >= from && at <= last && slices.Equal(lines[at:at+len(wanted)], wanted) {
				return at, true
			}
		}
	}
	return 0, false
}

func splitLines(text []byte) []string {
	lines := strings.SplitAfter(string(text), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	}
	return lines
}

// alreadyApplied returns a remark if the content is what the patch would make.
func (f File) alreadyApplied(c *Content) string {
	lines, done := splitLines(c.Text), 0
	for _, h := range f.hunks {
		at, found := find(lines, h.after, done, h.expected())
		if !found || len(h.after) == 0 {
			return ""
		}
		done = at + len(h.after)
	}
	return " (the source has this change already: leave the patch out)"
}

// mostShown is the number of lines of a hunk in an error.
const mostShown = 40

// shown returns the hunk's text for an error.
func (h hunk) shown() string {
	lines := h.text
	if len(lines) > mostShown {
		lines = append(slices.Clone(lines[:mostShown]), fmt.Sprintf("... (%d more lines)", len(lines)-mostShown))
	}
	return strings.Join(lines, "\n")
}
