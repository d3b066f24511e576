package site

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func compile(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(SchemaName, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(SchemaName)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// valid judges a file by the schema. It is false for what is not YAML or no
// value of JSON.
func valid(t testing.TB, s *jsonschema.Schema, text []byte) bool {
	t.Helper()
	var value any
	if yaml.Unmarshal(text, &value) != nil {
		return false
	}
	asJSON, err := json.Marshal(value)
	if err != nil {
		return false
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(asJSON)))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc) == nil
}

// TestSchemaAgrees compares the schema with the decoder, which was written by
// hand: both accept the same files.
func TestSchemaAgrees(t *testing.T) {
	s := compile(t)
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !valid(t, s, full) {
		t.Error("the schema refuses the file with every key")
	}
	for text, want := range map[string]bool{
		"":                                    true,
		"kernel:\n  # from: build\n":          true,
		"kernel: {version: 32}":               true,
		"kernel: {version: \"32\"}":           true,
		"kernel: {options: [CONFIG_X=y]}":     true,
		"kernel: {options: [{set: A=y}]}":     true,
		"kernel: {patches: [a, {file: b}]}":   true,
		"kernel: {patches: [{reason: x}]}":    false,
		"flavors:":                            true,
		"kernel: {options: [{reason: x}]}":    false,
		"kernel: {options: [{set: x, y: 1}]}": false,
		"kernel: {options: [3]}":              false,
		"kernel: {fragments: [x, [y]]}":       false,
		"kernel: latest":                      false,
		"network: {mirrors: [a=b]}":           false,
		"network: {mirrors: [{from: a}]}":     false,
		"network: {mirrors: [null]}":          false,
		"arch: x86_64":                        true,
		"arch: aarch64":                       true,
		"arch: x86-64":                        false,
		"arch:":                               false,
		"template: \"\"":                      false,
		"template: \"a\\nb\"":                 false,
		"output: {level: -1}":                 false,
		"output: {level: 1.5}":                false,
		"output: {tar: 1}":                    false,
		"embed: {keep-source-names: true}":    true,
		"embed: {keep-source-names:}":         false,
		"site: {motd: \"a\\nb\"}":             true,
		"site: {console: {login: off}}":       true,
		"site: {motd: \"\"}":                  false,
		"site: {network: {machines: [{}]}}":   false,
		"sites: {}":                           false,
		"builders: {amd64: a, arm64: b}":      true,
		"builders: {any: a}":                  true,
		"builders:":                           true,
		"builders: a":                         false,
		"builders: [a]":                       false,
		"builders: {x86_64: a}":               false,
		"builders: {any: 1}":                  false,
		"builders: {any: \"\"}":               false,
		"builders: {any: a, any: b}":          false,
	} {
		if got := valid(t, s, []byte(text)); got != want {
			t.Errorf("the schema accepts %q: %t", text, got)
		}
		if _, _, err := parse([]byte(text)); (err == nil) != want {
			t.Errorf("the decoder says of %q: %v", text, err)
		}
	}
}

// FuzzParse holds the decoder to the schema: what it accepts is valid, and what it
// sets is one line.
func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	for _, text := range []string{"kernel: {options: [a, {set: b}]}", "a: &a [*a]", "hook: &h {dir: x}\ncache: *h", "flavors: [\"\\0\"]", "output: {level: 0x10, tar: y}", "? [a]\n: b", "builders: {any: a, arm64: &b b}", "cache: {dir: !!binary aGk=}", "arch: amd64 # \xff"} {
		f.Add([]byte(text))
	}
	s := compile(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, lines, err := parse(text)
		if err != nil {
			var problems problemsError
			if !errors.As(err, &problems) || problems[0].Line < 1 || problems[0].Text == "" {
				t.Fatalf("the error %v has no line", err)
			}
			return
		}
		if !valid(t, s, text) {
			t.Errorf("the schema refuses what the decoder accepts: %q", text)
		}
		file := File{Config: c, Dir: "sub", lines: lines}
		for _, setting := range file.Settings() {
			if joined := strings.Join(setting.Values, ""); joined == "" || strings.ContainsAny(joined, "\n\x00") || setting.Line < 1 {
				t.Errorf("%s is %q in line %d", setting.Key, setting.Values, setting.Line)
			}
		}
	})
}
