package linuxkit

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"hookbuild/internal/filetype"
	"hookbuild/internal/nearest"

	"github.com/opencontainers/runtime-spec/specs-go"
	"go.yaml.in/yaml/v3"
)

// Limits of a document. An alias counts each time it is used, so that a few
// lines cannot expand to billions of values.
const (
	maxValues = 200_000
	maxDepth  = 64
)

// decodeNode stores n in the struct that target points to, matching keys with
// the `yaml` tags or else the `json` tags of its fields. It is strict: an
// unknown or repeated key and a value of the wrong kind are errors. A field
// Line is set to the line of its struct.
func decodeNode(n *yaml.Node, target any) error {
	d := decoder{left: maxValues}
	return d.value(n, reflect.ValueOf(target).Elem(), "", 0)
}

type decoder struct{ left int }

// customNode is implemented by types that have more than one form in YAML.
type customNode interface {
	decode(n *yaml.Node, where string) error
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, where string, depth int) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.left--; d.left < 0 || depth > maxDepth {
		return faultAt(n.Line, where, "the document is too large or nested too deeply once its aliases are resolved")
	}
	if custom, ok := v.Addr().Interface().(customNode); ok {
		return custom.decode(n, where)
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(n, v.Elem(), where, depth+1)
	case reflect.Struct:
		return d.structure(n, v, where, depth)
	case reflect.Slice:
		return d.list(n, v, where, depth)
	case reflect.Map:
		return d.mapping(n, v, where, depth)
	}
	return scalar(n, v, where)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, where string, depth int) error {
	if n.Kind != yaml.SequenceNode {
		return wrongKind(n, where, "a list")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		if err := d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", where, i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, where string, depth int) error {
	v.Set(reflect.MakeMap(v.Type()))
	return d.pairs(n, where, depth, func(key, value *yaml.Node) error {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(value, item, join(where, key.Value), depth+1); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key.Value), item)
		return nil
	})
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, where string, depth int) error {
	fields := fieldsOf(v)
	err := d.pairs(n, where, depth, func(key, value *yaml.Node) error {
		field, ok := fields[strings.ToLower(key.Value)]
		if !ok || field.exact && field.name != key.Value {
			return unknownKey(key, where, fields)
		}
		return d.value(value, field.value, join(where, key.Value), depth+1)
	})
	if err != nil {
		return err
	}
	if line := v.FieldByName("Line"); line.IsValid() {
		line.SetInt(int64(n.Line))
	}
	return nil
}

// pairs calls use for every key of a mapping: first its own keys, then those
// merged in with "<<", which do not override them.
func (d *decoder) pairs(n *yaml.Node, where string, depth int, use func(key, value *yaml.Node) error) error {
	return d.mergedPairs(n, where, depth, map[string]int{}, use)
}

func (d *decoder) mergedPairs(n *yaml.Node, where string, depth int, seen map[string]int, use func(key, value *yaml.Node) error) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return wrongKind(n, where, "a mapping of keys to values")
	}
	if d.left--; d.left < 0 || depth > maxDepth {
		return faultAt(n.Line, where, "the document is too large or nested too deeply once its aliases are resolved")
	}
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return faultAt(key.Line, where, "a key must be a plain word")
		}
		if key.Tag == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if own[key.Value] {
			return faultAt(key.Line, where, "the key %q is repeated; it is first in line %d", key.Value, seen[key.Value])
		}
		own[key.Value] = true
		if seen[key.Value] > 0 {
			continue // the mapping that merges this one has the key itself
		}
		seen[key.Value] = key.Line
		if err := use(key, value); err != nil {
			return err
		}
	}
	for _, m := range merged {
		if err := d.merge(m, where, depth, seen, use); err != nil {
			return err
		}
	}
	return nil
}

// merge handles the value of "<<": a mapping, or a list of mappings of which
// the first takes precedence.
func (d *decoder) merge(n *yaml.Node, where string, depth int, seen map[string]int, use func(key, value *yaml.Node) error) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.SequenceNode {
		return d.mergedPairs(n, where, depth+1, seen, use)
	}
	for _, item := range n.Content {
		if err := d.mergedPairs(item, where, depth+1, seen, use); err != nil {
			return err
		}
	}
	return nil
}

// field is the destination of a key's value. If exact is false, case does not
// matter: LinuxKit's schema and the runtime specification disagree about it
// ("blockio" and "blockIO").
type field struct {
	name  string
	exact bool
	value reflect.Value
}

// fieldsOf returns the fields of a struct and of its embedded structs, by the
// lower-case form of their keys.
func fieldsOf(v reflect.Value) map[string]field {
	fields := map[string]field{}
	foreign := v.Type().PkgPath() == reflect.TypeFor[specs.Mount]().PkgPath()
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		if sf.Anonymous {
			for key, f := range fieldsOf(v.Field(i)) {
				fields[key] = f
			}
			continue
		}
		tag := sf.Tag.Get("yaml")
		if tag == "" {
			tag = sf.Tag.Get("json")
		}
		key, _, _ := strings.Cut(tag, ",")
		if key != "-" && key != "" {
			fields[strings.ToLower(key)] = field{key, !foreign, v.Field(i)}
		}
	}
	return fields
}

func unknownKey(key *yaml.Node, where string, fields map[string]field) error {
	var all []string
	for _, f := range fields {
		all = append(all, f.name)
	}
	slices.Sort(all)
	if near := nearest.Word(key.Value, all); near != "" {
		return faultAt(key.Line, where, "unknown key %q; did you mean %q?", key.Value, near)
	}
	return faultAt(key.Line, where, "unknown key %q; known are %s", key.Value, strings.Join(all, ", "))
}

func scalar(n *yaml.Node, v reflect.Value, where string) error {
	if n.Kind != yaml.ScalarNode {
		return wrongKind(n, where, kindName(v.Kind()))
	}
	switch v.Kind() {
	case reflect.String:
		return setString(n, v, where)
	case reflect.Bool:
		var b bool
		if n.ShortTag() != "!!bool" || n.Decode(&b) != nil {
			return wrongKind(n, where, "true or false")
		}
		v.SetBool(b)
		return nil
	}
	return setNumber(n, v, where)
}

func setString(n *yaml.Node, v reflect.Value, where string) error {
	if n.ShortTag() != "!!str" {
		return wrongKind(n, where, "text; put it in quotes")
	}
	v.SetString(n.Value)
	return nil
}

func setNumber(n *yaml.Node, v reflect.Value, where string) error {
	if n.ShortTag() != "!!int" {
		return wrongKind(n, where, "a whole number")
	}
	if v.CanUint() {
		var u uint64
		if n.Decode(&u) != nil || v.OverflowUint(u) {
			return faultAt(n.Line, where, "%s is out of range", n.Value)
		}
		v.SetUint(u)
		return nil
	}
	var i int64
	if n.Decode(&i) != nil || v.OverflowInt(i) {
		return faultAt(n.Line, where, "%s is out of range", n.Value)
	}
	v.SetInt(i)
	return nil
}

func (r *ImageRef) decode(n *yaml.Node, where string) error {
	r.Line = n.Line
	return scalar(n, reflect.ValueOf(&r.Name).Elem(), where)
}

// decode accepts a number or a name. A quoted number is a name, as it is for
// the linuxkit tool.
func (id *ID) decode(n *yaml.Node, where string) error {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		number, err := strconv.ParseInt(n.Value, 0, 64)
		if err != nil || number < 0 || number > math.MaxUint32 {
			return faultAt(n.Line, where, "%s is out of range for an id", n.Value)
		}
		id.Number = uint32(number)
		return nil
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		return wrongKind(n, where, "a number or a container's name")
	}
	id.Name = n.Value
	return nil
}

func join(where, key string) string {
	if where == "" {
		return key
	}
	return where + "." + key
}

func wrongKind(n *yaml.Node, where, want string) error {
	return faultAt(n.Line, where, "is %s, but must be %s", nodeName(n), want)
}

func nodeName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "empty"
	}
	if shown := filetype.Line(n.Value); shown != strconv.Quote(n.Value) {
		return shown
	}
	return n.Value
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	}
	return "a whole number"
}
