package site

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// SchemaName is the schema's file name beside a hookbuild.yaml.
const SchemaName = "hookbuild.schema.json"

// SchemaLine is the comment by which editors find the schema of a file.
const SchemaLine = "# yaml-language-server: $schema=" + SchemaName

// schema is a JSON schema, draft 7, which editors of YAML read.
type schema struct {
	Schema      string     `json:"$schema,omitempty"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Type        any        `json:"type,omitempty"` // a name, or several
	Enum        []string   `json:"enum,omitempty"`
	Pattern     string     `json:"pattern,omitempty"`
	Minimum     *int       `json:"minimum,omitempty"`
	AnyOf       []*schema  `json:"anyOf,omitempty"`
	Items       *schema    `json:"items,omitempty"`
	Required    []string   `json:"required,omitempty"`
	Additional  *bool      `json:"additionalProperties,omitempty"`
	Properties  properties `json:"properties,omitempty"`
}

// properties are the keys of a section, in their order.
type properties []property

type property struct {
	name   string
	schema *schema
}

// MarshalJSON implements [json.Marshaler].
func (p properties) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	for i, one := range p {
		value, err := json.Marshal(one.schema)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%s%q:%s", map[bool]string{true: "{", false: ","}[i == 0], one.name, value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// Schema returns the JSON schema of the file.
func Schema() ([]byte, error) {
	s := sectionSchema(reflect.TypeFor[Config](), true)
	s.Schema, s.Title = "http://json-schema.org/draft-07/schema#", Name
	s.Description = "What a site wants its HookOS to be."
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return append(text, '\n'), nil
}

// sectionSchema describes a struct. A section may be empty, an entry of a list
// may not.
func sectionSchema(t reflect.Type, section bool) *schema {
	no := false
	s := &schema{Type: "object", Additional: &no}
	if section {
		s.Type = []string{"object", "null"}
	}
	for _, f := range fieldsOf(t) {
		s.Properties = append(s.Properties, property{f.name, f.schema()})
		if f.need {
			s.Required = append(s.Required, f.name)
		}
	}
	return s
}

// schema describes the value of a key.
func (f field) schema() *schema {
	s := f.valueSchema()
	s.Description = f.doc
	if f.flag != "" {
		s.Description += " Option --" + f.flag + "."
	}
	if f.variable != "" {
		s.Description += " Variable " + f.variable + "."
	}
	s.Description = strings.TrimSpace(s.Description)
	return s
}

func (f field) valueSchema() *schema {
	switch f.kind.Kind() {
	case reflect.Struct:
		return sectionSchema(f.kind, true)
	case reflect.Slice:
		return &schema{Type: []string{"array", "null"}, Items: entrySchema(f.kind.Elem())}
	case reflect.Map:
		no := false
		s := &schema{Type: []string{"object", "null"}, Additional: &no}
		for _, key := range f.keyNames() {
			s.Properties = append(s.Properties, property{key, field{kind: f.kind.Elem()}.valueSchema()})
		}
		return s
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Int:
		least := 0
		return &schema{Type: "integer", Minimum: &least}
	}
	s := &schema{Type: "string", Enum: f.values(), Pattern: "^.+$"}
	switch {
	case f.lines:
		s.Pattern = `^[^\x00]+$`
	case f.enum != "":
		s.Pattern = ""
	}
	if f.number {
		s.Type = []string{"string", "number"}
	}
	return s
}

func entrySchema(t reflect.Type) *schema {
	if t.Kind() != reflect.Struct {
		return field{kind: t}.valueSchema()
	}
	full := sectionSchema(t, false)
	if short, ok := mainField(t); ok {
		return &schema{AnyOf: []*schema{short.valueSchema(), full}}
	}
	return full
}
