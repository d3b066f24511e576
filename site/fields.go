package site

import (
	"reflect"
	"slices"
	"strings"
)

// field is a key of the file, as the tags of a field of [Config] describe it.
type field struct {
	name                string // the key itself
	doc, flag, variable string
	path, enum, keys    string
	number, lines       bool
	need, isMain        bool
	index               int
	kind                reflect.Type // of the value; a pointer's element
}

// fieldsOf returns the keys of a struct, in their order.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		all = append(all, field{
			name: f.Tag.Get("yaml"), doc: f.Tag.Get("doc"), flag: f.Tag.Get("flag"), variable: f.Tag.Get("variable"),
			path: f.Tag.Get("path"), enum: f.Tag.Get("enum"), keys: f.Tag.Get("keys"), number: f.Tag.Get("also") == "number", lines: f.Tag.Get("also") == "lines",
			need: f.Tag.Get("need") != "", isMain: f.Tag.Get("short") != "", index: i, kind: kind,
		})
	}
	return all
}

// values returns the values that are allowed, nil for any.
func (f field) values() []string {
	if f.enum == "" {
		return nil
	}
	return strings.Split(f.enum, ",")
}

// keyNames returns the keys of a mapping of text.
func (f field) keyNames() []string { return strings.Split(f.keys, ",") }

// isSection reports whether the key has keys of its own.
func (f field) isSection() bool { return f.kind.Kind() == reflect.Struct }

// main returns the key of an entry whose value alone may be the entry.
func mainField(t reflect.Type) (field, bool) {
	fields := fieldsOf(t)
	i := slices.IndexFunc(fields, func(f field) bool { return f.isMain })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

// join returns the path of a key in a section.
func join(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}

// walk calls visit for each key that is not a section, with its path and its value
// in v, in the order of the file.
func walk(v reflect.Value, section string, visit func(key string, f field, value reflect.Value)) {
	for _, f := range fieldsOf(v.Type()) {
		key := join(section, f.name)
		if f.isSection() {
			walk(v.Field(f.index), key, visit)
			continue
		}
		visit(key, f, v.Field(f.index))
	}
}
