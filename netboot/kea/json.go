package kea

import (
	"encoding/json"
	"fmt"
	"strings"

	"hookbuild/netboot"
)

// node is a JSON value with its line. Kea's dialect has comments, includes and, with
// a warning, trailing commas.
type node struct {
	file string
	line int
	// value is a string, float64, bool, nil, []*node or map[string]*node.
	value any
}

// The limits of a configuration.
const (
	deepest      = 8  // nested includes
	deepestValue = 64 // nested arrays and objects
)

// reader reads Kea's dialect.
type reader struct {
	open     netboot.Opener
	findings []netboot.Finding
	text     string
	file     string
	at, line int
	depth    int // of includes
	inside   int // of values
}

// syntaxError ends the reading of a file.
type syntaxError struct{ netboot.Finding }

func (e *syntaxError) Error() string { return e.String() }

func (r *reader) fail(format string, args ...any) error {
	return &syntaxError{netboot.Finding{File: r.file, Line: r.line, Text: fmt.Sprintf(format, args...)}}
}

func (r *reader) doubt(format string, args ...any) {
	r.findings = append(r.findings, netboot.Finding{File: r.file, Line: r.line, Level: netboot.Remark, Text: fmt.Sprintf(format, args...)})
}

// space skips blanks and comments. The caller handles includes of whole values.
func (r *reader) space() {
	for r.at < len(r.text) {
		rest := r.text[r.at:]
		switch {
		case rest[0] == '\n':
			r.line++
			r.at++
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			r.at++
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			r.skip(strings.IndexByte(rest, '\n'), len(rest))
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest, "*/")
			if end >= 0 {
				end += 2
			}
			r.line += strings.Count(rest[:max(end, 0)], "\n")
			r.skip(end, len(rest))
		default:
			return
		}
	}
}

// skip advances by n bytes, or by most if n is negative.
func (r *reader) skip(n, most int) {
	if n < 0 {
		n = most
	}
	r.at += n
}

func (r *reader) peek() byte {
	r.space()
	if r.at >= len(r.text) {
		return 0
	}
	return r.text[r.at]
}

// include returns the file that an <?include "file"?> at this place names.
func (r *reader) include() (string, bool) {
	r.space()
	rest := r.text[r.at:]
	if !strings.HasPrefix(rest, "<?include") {
		return "", false
	}
	end := strings.Index(rest, "?>")
	if end < 0 {
		return "", false
	}
	r.at += end + 2
	return strings.Trim(strings.TrimPrefix(rest[:end], "<?include"), " \t\""), true
}

// notJSON reports whether a file can be opened and does not begin with an object.
func (r *reader) notJSON(name string) bool {
	text, err := r.open(name)
	in := &reader{open: r.open, text: string(text), file: name, line: 1}
	return err == nil && in.peek() != '{'
}

// within calls fn to read the text of another file.
func (r *reader) within(name string, fn func(*reader) error) error {
	if r.depth >= deepest {
		return r.fail("the includes are nested more than %d deep", deepest)
	}
	text, err := r.open(name)
	if err != nil {
		return r.fail("reading %q: %v", name, err)
	}
	inner := &reader{open: r.open, text: string(text), file: name, line: 1, depth: r.depth + 1, inside: r.inside}
	err = fn(inner)
	r.findings = append(r.findings, inner.findings...)
	return err
}

// value parses any value.
func (r *reader) value() (*node, error) {
	if r.inside++; r.inside > deepestValue {
		return nil, r.fail("the values are nested more than %d deep", deepestValue)
	}
	defer func() { r.inside-- }()
	if name, ok := r.include(); ok {
		var n *node
		err := r.within(name, func(in *reader) (err error) {
			n, err = in.value()
			return err
		})
		return n, err
	}
	c := r.peek()
	n := &node{file: r.file, line: r.line}
	var err error
	switch c {
	case '{':
		n.value, err = r.object()
	case '[':
		n.value, err = r.array()
	case '"':
		n.value, err = r.str()
	case 0:
		err = r.fail("expected a value, but the file ends")
	default:
		n.value, err = r.word()
	}
	return n, err
}

// word parses a number, true, false or null.
func (r *reader) word() (any, error) {
	end := strings.IndexAny(r.text[r.at:], " \t\r\n,]}#/")
	if end < 0 {
		end = len(r.text) - r.at
	}
	text := r.text[r.at : r.at+end]
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil || end == 0 {
		return nil, r.fail("%q is not a value", text+r.text[r.at+end:min(r.at+end+1, len(r.text))])
	}
	r.at += end
	return v, nil
}

func (r *reader) str() (string, error) {
	for i := r.at + 1; i < len(r.text) && r.text[i] != '\n'; i++ {
		switch r.text[i] {
		case '\\':
			i++
		case '"':
			var s string
			if err := json.Unmarshal([]byte(r.text[r.at:i+1]), &s); err != nil {
				return "", r.fail("reading the string %s: %v", r.text[r.at:i+1], err)
			}
			r.at = i + 1
			return s, nil
		}
	}
	return "", r.fail("the string has no end")
}

func (r *reader) array() ([]*node, error) {
	r.at++
	list, err := r.elements()
	if err != nil {
		return nil, err
	}
	if r.peek() != ']' {
		return nil, r.fail("the array has no end: a ] or a comma is missing")
	}
	r.at++
	return list, nil
}

// elements parses values up to a ] or the end of the text, because an included
// file may hold several.
func (r *reader) elements() ([]*node, error) {
	list := []*node{}
	for {
		c := r.peek()
		if c == ']' || c == 0 {
			return list, nil
		}
		if name, ok := r.include(); ok {
			err := r.within(name, func(in *reader) error {
				part, err := in.elements()
				list = append(list, part...)
				return err
			})
			if err != nil {
				return nil, err
			}
		} else {
			n, err := r.value()
			if err != nil {
				return nil, err
			}
			list = append(list, n)
		}
		if !r.comma("]") {
			return list, nil
		}
	}
}

func (r *reader) object() (map[string]*node, error) {
	r.at++
	m := map[string]*node{}
	for r.peek() != '}' {
		if r.peek() != '"' {
			return nil, r.fail("expected a name in double quotes or a }")
		}
		name, err := r.str()
		if err != nil {
			return nil, err
		}
		if r.peek() != ':' {
			return nil, r.fail("a colon is missing after %q", name)
		}
		r.at++
		if m[name], err = r.value(); err != nil {
			return nil, err
		}
		if !r.comma("}") {
			break
		}
	}
	if r.peek() != '}' {
		return nil, r.fail("the object has no end: a } or a comma is missing")
	}
	r.at++
	return m, nil
}

// comma consumes a comma. It reports a comma before the end.
func (r *reader) comma(end string) bool {
	if r.peek() != ',' {
		return false
	}
	r.at++
	if c := r.peek(); c != 0 && strings.IndexByte(end, c) >= 0 {
		r.doubt("a comma before %q: Kea warns about it, and other JSON readers refuse the file", string(c))
	}
	return true
}

// The accessors of a node return the zero value for a missing or wrong part.

func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	m, _ := n.value.(map[string]*node)
	return m[name]
}

func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	l, _ := n.value.([]*node)
	return l
}

func (n *node) str() string {
	if n == nil {
		return ""
	}
	s, _ := n.value.(string)
	return s
}

// truth returns the boolean, or its default.
func (n *node) truth(def bool) bool {
	if n == nil {
		return def
	}
	b, ok := n.value.(bool)
	if !ok {
		return def
	}
	return b
}
