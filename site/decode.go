package site

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/nearest"
	"hookbuild/site/profile"
)

// problem is something wrong in a file, at a line.
type problem struct {
	Line int
	Text string
}

// problemsError are all problems of a file, in the order of their lines.
type problemsError []problem

// Error implements error. Each problem has a line of its own, which begins with
// its number in the file.
func (p problemsError) Error() string {
	var lines []string
	for _, one := range p {
		lines = append(lines, fmt.Sprintf("%d: %s", one.Line, one.Text))
	}
	return strings.Join(lines, "\n")
}

// parse reads the text of a file. It returns the line of each key that has a
// value, by the key's path.
func parse(text []byte) (Config, map[string]int, error) {
	d := decoder{lines: map[string]int{}}
	var c Config
	root, err := rootOf(text)
	if err != nil {
		return c, nil, err
	}
	if root != nil {
		d.section(root, reflect.ValueOf(&c).Elem(), "")
	}
	if len(d.problems) > 0 {
		slices.SortStableFunc(d.problems, func(a, b problem) int { return a.Line - b.Line })
		return c, nil, d.problems
	}
	return c, d.lines, nil
}

// rootOf returns the root of the one document in text, nil if there is only
// space and comments.
func rootOf(text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	if err := dec.Decode(&first); errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // an empty file is a file without keys
	} else if err != nil {
		return nil, syntaxProblem(text, err)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return nil, problemsError{{max(second.Line, 1), "a second document starts here; the file has one"}}
	case !errors.Is(err, io.EOF):
		return nil, syntaxProblem(text, err)
	}
	return first.Content[0], nil
}

// syntaxProblem takes the line from the library's message about the content. A tab is
// named, and by its own line.
func syntaxProblem(content []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, problem, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, text = n, problem
		}
	}
	lines := strings.Split(string(content), "\n")
	for i := max(line-2, 0); i < min(line+1, len(lines)); i++ {
		indent := lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " \t"))]
		if strings.Contains(indent, "\t") {
			return problemsError{{i + 1, "not YAML: the line is indented with a tab; use spaces"}}
		}
	}
	return problemsError{{line, "not YAML: " + text}}
}

// decoder fills a Config and collects problems.
type decoder struct {
	problems problemsError
	lines    map[string]int
}

func (d *decoder) problem(n *yaml.Node, key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if key != "" {
		text = key + ": " + text
	}
	d.problems = append(d.problems, problem{max(n.Line, 1), text})
}

// section fills a struct from a mapping.
func (d *decoder) section(n *yaml.Node, v reflect.Value, path string) {
	n = resolved(n)
	if isNull(n) {
		return // a section whose keys are all commented out
	}
	if n.Kind != yaml.MappingNode {
		d.problem(n, path, "this is %s; write its keys below it: %s", kindOf(n), strings.Join(names(v.Type()), ", "))
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolved(n.Content[i]), n.Content[i+1]
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		switch first := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode || at < 0:
			d.problem(n.Content[i], path, "unknown key %q%s", key.Value, suggestion(key.Value, v.Type()))
			continue
		case first > 0:
			d.problem(n.Content[i], join(path, key.Value), "the key is in line %d too", first)
			continue
		}
		seen[key.Value] = n.Content[i].Line
		path := join(path, key.Value)
		if d.value(value, fields[at], v.Field(fields[at].index), path) {
			d.lines[path] = n.Content[i].Line
		}
	}
	for _, f := range fields {
		if f.need && seen[f.name] == 0 {
			d.problem(n, path, "the key %s is required", f.name)
		}
	}
}

// value fills the field v from a key's value. It reports whether the key sets
// something; a section's keys do it themselves.
func (d *decoder) value(n *yaml.Node, f field, v reflect.Value, path string) bool {
	n = resolved(n)
	switch {
	case f.isSection():
		d.section(n, v, path)
		return false
	case f.kind.Kind() == reflect.Slice:
		return d.list(n, v, path)
	case f.kind.Kind() == reflect.Map:
		return d.mapping(n, f, v, path)
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(f.kind))
		v = v.Elem()
	}
	return d.scalar(n, f, v, path)
}

// mapping fills a map of text and reports whether it has entries.
func (d *decoder) mapping(n *yaml.Node, f field, v reflect.Value, path string) bool {
	if isNull(n) {
		return false // all commented out
	}
	if n.Kind != yaml.MappingNode {
		d.problem(n, path, "this is %s; write its keys below it: %s", kindOf(n), strings.Join(f.keyNames(), ", "))
		return false
	}
	v.Set(reflect.MakeMap(v.Type()))
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolved(n.Content[i])
		switch first := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode || !slices.Contains(f.keyNames(), key.Value):
			d.problem(n.Content[i], path, "unknown key %q; the keys here are %s", key.Value, strings.Join(f.keyNames(), ", "))
			continue
		case first > 0:
			d.problem(n.Content[i], join(path, key.Value), "the key is in line %d too", first)
			continue
		}
		seen[key.Value] = n.Content[i].Line
		text := reflect.New(v.Type().Elem()).Elem()
		d.scalar(resolved(n.Content[i+1]), field{kind: text.Type()}, text, join(path, key.Value))
		v.SetMapIndex(reflect.ValueOf(key.Value), text)
	}
	return v.Len() > 0
}

// list fills a slice and reports whether it has entries. An entry of a mapping
// may be its main value alone.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) bool {
	if isNull(n) {
		return false // a list whose entries are all commented out
	}
	if n.Kind != yaml.SequenceNode {
		d.problem(n, path, "this is %s, not a list; begin each entry with \"- \"", kindOf(n))
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		item = resolved(item)
		element := v.Index(i)
		if element.Kind() != reflect.Struct {
			if d.scalar(item, field{kind: element.Type()}, element, at) {
				d.lines[at] = item.Line
			}
			continue
		}
		if short, ok := mainField(element.Type()); ok && item.Kind == yaml.ScalarNode {
			d.scalar(item, short, element.Field(short.index), at)
			continue
		}
		if isNull(item) {
			d.problem(item, at, "this is empty; write %s", strings.Join(names(element.Type()), ", "))
			continue
		}
		d.section(item, element, at)
	}
	return len(n.Content) > 0
}

// scalar fills a string, a number or a bool. It reports whether it could.
func (d *decoder) scalar(n *yaml.Node, f field, v reflect.Value, path string) bool {
	before := len(d.problems)
	switch tag := n.ShortTag(); {
	case n.Kind != yaml.ScalarNode:
		d.problem(n, path, "this is %s, not %s", kindOf(n), wanted(f))
	case isNull(n) || n.Value == "":
		d.problem(n, path, "this is empty; write %s, or leave the key out", wanted(f))
	case v.Kind() == reflect.Bool:
		var yes bool
		if tag != "!!bool" || n.Decode(&yes) != nil {
			d.problem(n, path, "%q is not true or false", n.Value)
		}
		v.SetBool(yes)
	case v.Kind() == reflect.Int:
		var number int
		if tag != "!!int" || n.Decode(&number) != nil || number < 0 {
			d.problem(n, path, "%q is not a whole number", n.Value)
		}
		v.SetInt(int64(number))
	case tag != "!!str" && (!f.number || tag != "!!int" && tag != "!!float"):
		d.problem(n, path, "%s is %s, not text; put it in quotes", n.Value, kindOf(n))
	case strings.ContainsAny(n.Value, "\x00\n") && (!f.lines || strings.Contains(n.Value, "\x00")):
		d.problem(n, path, "the text has more than one line")
	case f.enum != "" && !slices.Contains(f.values(), n.Value):
		d.problem(n, path, "%q is not one of %s%s", n.Value, strings.Join(f.values(), ", "), meant(nearest.Word(n.Value, f.values())))
	default:
		v.SetString(n.Value)
	}
	return len(d.problems) == before
}

// wanted describes the values of a key.
func wanted(f field) string {
	switch {
	case f.kind.Kind() == reflect.Bool:
		return "true or false"
	case f.kind.Kind() == reflect.Int:
		return "a whole number"
	case f.enum != "":
		return "one of " + strings.Join(f.values(), ", ")
	}
	return "text"
}

// suggestion returns what the writer of an unknown key in a section probably
// meant: a key of the section, a key of another section, or the key for an option
// of the command line.
func suggestion(key string, section reflect.Type) string {
	siblings := names(section)
	if key == "site" && section == reflect.TypeFor[profile.Profile]() {
		return "; in a file of its own, the keys of site are at the top: " + strings.Join(siblings, ", ")
	}
	if file, env := key+"-file", key+"-env"; slices.Contains(siblings, file) && slices.Contains(siblings, env) {
		return meant(file + " or " + env)
	}
	if near := nearest.Word(key, siblings); near != "" {
		return meant(near)
	}
	var elsewhere string
	walk(reflect.ValueOf(Config{}), "", func(path string, f field, _ reflect.Value) {
		if elsewhere == "" && (f.flag == strings.TrimLeft(key, "-") || f.name == key) {
			elsewhere = path
		}
	})
	if elsewhere != "" {
		return meant(elsewhere)
	}
	return "; the keys here are " + strings.Join(siblings, ", ")
}

func meant(word string) string {
	if word == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", word)
}

func names(t reflect.Type) []string {
	var all []string
	for _, f := range fieldsOf(t) {
		all = append(all, f.name)
	}
	return all
}

// resolved returns the node that an alias names.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kindOf describes a node to people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "empty"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}
