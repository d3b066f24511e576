package bundles

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/fault"
)

// Action is a step of a machine's installation. It runs in a container of the
// image, which a site without internet has on board or not at all.
type Action struct {
	Line int    `json:"line"` // in the file
	Task string `json:"task"`
	Name string `json:"action"`
	// Image is as it is written, "" when there is none. What Tinkerbell fills in
	// when it knows the machine is "{{...}}".
	Image string `json:"image"`
}

// Template is a reference to an object that holds actions, or the object.
type Template struct {
	Line int // in the file
	// Kind is Template or TinkerbellTemplateConfig.
	Kind, Name string
	// Of is the object that refers to it, such as "TinkerbellMachineConfig cp".
	Of string
}

// Actions is what a file says about the actions of machines.
type Actions struct {
	All []Action
	// Templates are the named templates in the file, Refs those that its
	// objects refer to, in this file or another.
	Templates, Refs []Template
	// Cluster reports whether it is a cluster specification of EKS Anywhere,
	// whose machines run Tinkerbell's worker.
	Cluster bool
}

// Worker is the name under which EKS Anywhere's machines look for Tinkerbell's
// worker on board.
const Worker = embedPrefix + "tink-worker"

// Kinds of objects that say which actions a machine runs.
const (
	// Tinkerbell's template: spec.data in v1alpha1, spec.actions in v1alpha2.
	kindTemplate = "Template"
	kindWorkflow = "Workflow" // refers to a template
	// EKS Anywhere's.
	kindTemplateConfig   = "TinkerbellTemplateConfig"
	kindMachineConfig    = "TinkerbellMachineConfig"
	kindDatacenterConfig = "TinkerbellDatacenterConfig"
	// The Cluster API provider's; templateOverride is a template.
	kindMachine         = "TinkerbellMachine"
	kindMachineTemplate = "TinkerbellMachineTemplate"
	kindList            = "List" // what kubectl prints of several objects
)

// maxActions is far more than a machine's installation has.
const maxActions = 10_000

// ReadActions lists the actions in a file: a Tinkerbell template, alone or in an
// object of kind Template, or a cluster specification of EKS Anywhere. A
// machine of the latter that names no template gets one of EKS Anywhere's own.
// Objects of the Cluster API provider are read for their templateOverride.
func ReadActions(name string) (*Actions, error) {
	data, err := readFile(name)
	if err == nil {
		var all *Actions
		if all, err = parseActions(data); err == nil {
			return all, nil
		}
		err = fault.Mark(err, fault.Invalid)
	}
	return nil, fmt.Errorf("reading the actions of %q: %w", name, err)
}

func parseActions(data []byte) (*Actions, error) {
	documents, err := readDocuments([]byte(withoutExpressions(string(data))))
	if err != nil {
		return nil, err
	}
	var r actionReader
	for _, d := range documents {
		if err := r.object(d); err != nil {
			return nil, err
		}
	}
	if len(r.All)+len(r.Refs) == 0 {
		return nil, fmt.Errorf("it has no actions: neither tasks with actions nor an object of kind %s that has or names some; give a Tinkerbell template or the cluster specification",
			strings.Join([]string{kindTemplate, kindWorkflow, kindTemplateConfig, kindMachineConfig, kindMachine, kindMachineTemplate}, ", "))
	}
	return &r.Actions, nil
}

// A template is text for Go's text/template before it is YAML. Its expressions
// cannot be evaluated without the machine, so both ways of an "if" count, and
// what stands for a value becomes a character of no other meaning.
var (
	controlLine = regexp.MustCompile(`(?m)^[ \t]*(\{\{[^\n]*?\}\}[ \t]*)+\r?$`)
	expression  = regexp.MustCompile(`\{\{[^\n]*?\}\}`)
)

const filledIn = "\uE000"

func withoutExpressions(text string) string {
	return expression.ReplaceAllString(controlLine.ReplaceAllString(text, ""), filledIn)
}

// asWritten is a value for people to read.
func asWritten(value string) string { return strings.ReplaceAll(value, filledIn, "{{...}}") }

type actionReader struct{ Actions }

// object reads a document, or an object of a list.
func (r *actionReader) object(n *yaml.Node) error {
	switch text(n, "kind") {
	case "":
		return r.template(n)
	case kindTemplate:
		r.define(n)
		if err := r.each(values(n, "spec"), r.actions); err != nil {
			return err
		}
		return r.each(values(n, "spec", "data"), r.data)
	case kindWorkflow:
		return r.workflow(n)
	case kindTemplateConfig:
		r.Cluster = true
		r.define(n)
		return r.each(values(n, "spec", "template"), r.template)
	case kindMachineConfig:
		r.Cluster = true
		return r.machine(n)
	case kindDatacenterConfig:
		r.Cluster = true
	case kindMachine:
		return r.each(values(n, "spec", "templateOverride"), r.data)
	case kindMachineTemplate:
		return r.each(values(n, "spec", "template", "spec", "templateOverride"), r.data)
	case kindList:
		return r.each(items(values(n, "items")), r.object)
	}
	return nil
}

func (r *actionReader) each(nodes []*yaml.Node, read func(*yaml.Node) error) error {
	for _, n := range nodes {
		if err := read(n); err != nil {
			return err
		}
	}
	return nil
}

// data reads a template that is the text in an object.
func (r *actionReader) data(n *yaml.Node) error {
	documents, err := readDocuments([]byte(n.Value))
	if err != nil {
		return fmt.Errorf("the template in line %d: %w", n.Line, err)
	}
	before := len(r.All)
	err = r.each(documents, r.template)
	for i := range r.All[before:] {
		line := &r.All[before+i].Line
		if n.Style == yaml.LiteralStyle { // its lines are the file's
			*line += n.Line
		} else {
			*line = n.Line
		}
	}
	return err
}

func (r *actionReader) template(n *yaml.Node) error {
	return r.each(items(values(n, "tasks")), r.actions)
}

// actions reads the actions of a task, or of an object of v1alpha2 that has no
// tasks.
func (r *actionReader) actions(task *yaml.Node) error {
	for _, action := range items(values(task, "actions")) {
		images := values(action, "image")
		if len(images) == 0 {
			images = []*yaml.Node{{Line: action.Line}}
		}
		for _, image := range images {
			r.All = append(r.All, Action{
				Line: image.Line, Task: text(task, "name"), Name: text(action, "name"),
				Image: asWritten(image.Value),
			})
		}
		if len(r.All) > maxActions {
			return fmt.Errorf("it has more than %d actions; check where it was taken from", maxActions)
		}
	}
	return nil
}

// define notes the template that an object is.
func (r *actionReader) define(n *yaml.Node) {
	r.Templates = append(r.Templates, Template{Line: n.Line, Kind: text(n, "kind"), Name: text(n, "metadata", "name")})
}

// refer notes the template that an object names; it reports whether it does.
func (r *actionReader) refer(n *yaml.Node, kind string) bool {
	for _, ref := range values(n, "spec", "templateRef") {
		name := ref.Value // v1alpha1's Workflow has the name alone
		if ref.Kind == yaml.MappingNode {
			name = text(ref, "name")
		}
		if name != "" {
			of := text(n, "kind") + " " + text(n, "metadata", "name")
			r.Refs = append(r.Refs, Template{Line: ref.Line, Kind: kind, Name: asWritten(name), Of: of})
			return true
		}
	}
	return false
}

// workflow reads a Workflow: it refers to a template, or has its tasks.
func (r *actionReader) workflow(n *yaml.Node) error {
	r.refer(n, kindTemplate)
	for _, spec := range values(n, "spec") {
		if err := r.actions(spec); err != nil {
			return err
		}
		if err := r.template(spec); err != nil {
			return err
		}
	}
	return nil
}

// machine reads a TinkerbellMachineConfig. Without a template of the user's it
// gets EKS Anywhere's for its operating system; all of them use these images,
// since v0.21 by these names.
func (r *actionReader) machine(n *yaml.Node) error {
	if r.refer(n, kindTemplateConfig) {
		return nil
	}
	for _, name := range []string{"image2disk", "writefile", "reboot"} {
		r.All = append(r.All, Action{
			Line: n.Line, Task: "EKS Anywhere's own template of " + text(n, "metadata", "name"), Name: name, Image: embedPrefix + name,
		})
	}
	return nil
}

// values gives what stands at a path of keys, every time that it is there: an
// "if" and its "else" may both give one.
func values(n *yaml.Node, keys ...string) []*yaml.Node {
	at := []*yaml.Node{resolved(n)}
	for _, key := range keys {
		var next []*yaml.Node
		for _, n := range at {
			next = append(next, under(n, key)...)
		}
		at = next
	}
	return at
}

func under(n *yaml.Node, key string) []*yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	var own, merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := resolved(n.Content[i]), resolved(n.Content[i+1])
		switch {
		case k.Value == key && k.Kind == yaml.ScalarNode:
			own = append(own, value)
		case k.Tag == "!!merge":
			merged = append(append(merged, value), items([]*yaml.Node{value})...)
		}
	}
	if len(own) > 0 {
		return own
	}
	for _, from := range merged {
		if own = under(from, key); len(own) > 0 {
			break
		}
	}
	return own
}

// items gives the elements of lists.
func items(lists []*yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for _, list := range lists {
		if list.Kind != yaml.SequenceNode {
			continue
		}
		for _, n := range list.Content {
			all = append(all, resolved(n))
		}
	}
	return all
}

// text is the first value at a path of keys.
func text(n *yaml.Node, keys ...string) string {
	found := values(n, keys...)
	if len(found) == 0 {
		return ""
	}
	return asWritten(found[0].Value)
}

// resolved follows an alias.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
