package netboot

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrChanged is the error of [Change.ApplyTo] for a file that already has the change.
var ErrChanged = errors.New("it already has the change")

// Change is the content of a file before and after a switch of the phase.
type Change struct {
	Name          string
	Before, After []byte
}

// Changes renders both phases and returns the files that differ. Both phases
// have the same files, and the files differ only in the lines with Tinkerbell's
// address.
func Changes(s Server, before, after *Plan, m Mode) ([]Change, error) {
	old, err := s.Render(before, m)
	if err != nil {
		return nil, err
	}
	changed, err := s.Render(after, m)
	if err != nil {
		return nil, err
	}
	if len(old) != len(changed) {
		return nil, fmt.Errorf("comparing the phases: %d files became %d", len(old), len(changed))
	}
	var list []Change
	for i, f := range old {
		if bytes.Count(f.Content, []byte("\n")) != bytes.Count(changed[i].Content, []byte("\n")) {
			return nil, fmt.Errorf("comparing the phases of %q: the number of lines changed", f.Name)
		}
		if !bytes.Equal(f.Content, changed[i].Content) {
			list = append(list, Change{f.Name, f.Content, changed[i].Content})
		}
	}
	return list, nil
}

// ApplyTo makes the change in a site's file. The file may have more lines than
// were generated, with other indentation. ApplyTo returns an error if a line to
// change is not in the file, because the file was then generated from other
// options, and [ErrChanged] if it has all lines of the change instead.
func (c Change) ApplyTo(name string, text []byte) (Change, error) {
	before, after := bytes.Split(c.Before, []byte("\n")), bytes.Split(c.After, []byte("\n"))
	replace, missing, wanted := map[string][]byte{}, map[string]bool{}, map[string]bool{}
	for i, line := range before {
		if !bytes.Equal(line, after[i]) {
			key := string(bytes.TrimSpace(line))
			replace[key] = bytes.TrimSpace(after[i])
			missing[key] = true
			wanted[string(replace[key])] = true
		}
	}
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		key := bytes.TrimSpace(line)
		delete(wanted, string(key))
		if with, ok := replace[string(key)]; ok {
			lines[i] = bytes.Replace(line, key, with, 1)
			delete(missing, string(key))
		}
	}
	if len(missing) == len(replace) && len(wanted) == 0 {
		return Change{}, fmt.Errorf("changing %q: %w", name, ErrChanged)
	}
	for _, line := range before { // in file order, for the message
		if key := string(bytes.TrimSpace(line)); missing[key] {
			return Change{}, fmt.Errorf("changing %q: it lacks the line %q, so it was generated from other options; generate it again", name, key)
		}
	}
	return Change{name, text, bytes.Join(lines, []byte("\n"))}, nil
}
