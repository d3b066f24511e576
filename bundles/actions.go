package bundles

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/fault"
)

// Action is a step of a machine's installation. It runs in a container of its
// image, which must be embedded at a site without internet access.
type Action struct {
	Line int    `json:"line"` // in the file
	Task string `json:"task"`
	Name string `json:"action"`
	// Image is the image as written, or "" if it is absent. Expressions, which
	// Tinkerbell evaluates for each machine, are replaced by "{{...}}".
	Image string `json:"image"`
}

// Template is an object with actions, or a reference to one.
type Template struct {
	Line int // in the file
	// Kind is Template or TinkerbellTemplateConfig.
	Kind, Name string
	// Of is the object that has the reference, such as "TinkerbellMachineConfig cp".
	Of string
}

// Actions lists the actions in a file.
type Actions struct {
	All []Action
	// Templates are the named templates in the file. Refs are those that its
	// objects refer to, in this file or another.
	Templates, Refs []Template
	// Cluster reports whether the file is a cluster specification of EKS Anywhere,
	// whose machines run Tinkerbell's worker.
	Cluster bool
}

// Worker is the name of Tinkerbell's embedded worker for EKS Anywhere's machines.
const Worker = EmbedPrefix + "tink-worker"

// Kinds of objects that say which actions a machine runs.
const (
	// Tinkerbell's template has spec.data in v1alpha1, spec.actions in v1alpha2.
	kindTemplate = "Template"
	kindWorkflow = "Workflow" // refers to a template
	// Objects of EKS Anywhere.
	kindTemplateConfig   = "TinkerbellTemplateConfig"
	kindMachineConfig    = "TinkerbellMachineConfig"
	kindDatacenterConfig = "TinkerbellDatacenterConfig"
	// Objects of the Cluster API provider, whose templateOverride is a template.
	kindMachine         = "TinkerbellMachine"
	kindMachineTemplate = "TinkerbellMachineTemplate"
	kindList            = "List" // kubectl's output for several objects
)

// maxActions is the limit, far more than a machine's installation has.
const maxActions = 10_000

// ReadActions returns the actions in a file: a Tinkerbell template, alone or in an
// object of kind Template, or a cluster specification of EKS Anywhere. In the
// latter, a machine without a template has the actions of EKS Anywhere's default.
// ReadActions also reads the templateOverride of objects of the Cluster API
// provider.
func ReadActions(name string) (*Actions, error) {
	data, err := readFile(name, "name a template or a cluster specification")
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
		return nil, noActions(objects(documents))
	}
	return &r.Actions, nil
}

// noActions returns the error for a file without actions, which says what it has
// instead.
func noActions(all []*yaml.Node) error {
	const most = 8 // a cluster specification has at most six kinds
	var found []string
	cluster, provider := false, ""
	for _, object := range all {
		kind := text(object, "kind")
		cluster = cluster || isCluster(object)
		if reference := text(object, "spec", "datacenterRef", "kind"); isCluster(object) && reference != "" && reference != kindDatacenterConfig {
			provider = reference
		}
		if kind != "" && !slices.Contains(found, kind) {
			found = append(found, kind)
		}
	}
	if len(found) > most {
		found = append(found[:most], "and others")
	}
	has := "its objects are of kind " + strings.Join(found, ", ")
	switch {
	case provider != "":
		return fmt.Errorf("it is the specification of a cluster with a %s, not of bare metal; name one with %s and %s", provider, kindDatacenterConfig, kindMachineConfig)
	case cluster, slices.Contains(found, kindDatacenterConfig):
		return fmt.Errorf("this cluster specification has neither a %s nor a %s with actions, which say what its machines run; %s; add those objects, or name the whole file of `eksctl anywhere create cluster -f`",
			kindMachineConfig, kindTemplateConfig, has)
	case len(found) == 0:
		has = "it has no tasks and no objects with a kind"
	}
	return fmt.Errorf("it has no actions: %s; name a Tinkerbell template (tasks with actions, or an object of kind %s, %s, %s or %s that has them), or a cluster specification with %s",
		has, kindTemplate, kindWorkflow, kindMachine, kindMachineTemplate, kindMachineConfig)
}

// A template is input for Go's text/template before it is YAML. Its expressions
// cannot be evaluated without the machine. So lines with only expressions are
// removed, which keeps both branches of an "if", and an expression within a value is
// replaced by a private-use character.
var (
	controlLine = regexp.MustCompile(`(?m)^[ \t]*(\{\{[^\n]*?\}\}[ \t]*)+\r?$`)
	expression  = regexp.MustCompile(`\{\{[^\n]*?\}\}`)
)

const filledIn = "\uE000"

func withoutExpressions(text string) string {
	return expression.ReplaceAllString(controlLine.ReplaceAllString(text, ""), filledIn)
}

// asWritten returns a value in a form for messages.
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
			return fmt.Errorf("it has more than %d actions; check its origin", maxActions)
		}
	}
	return nil
}

// define records that an object is a template.
func (r *actionReader) define(n *yaml.Node) {
	r.Templates = append(r.Templates, Template{Line: n.Line, Kind: text(n, "kind"), Name: text(n, "metadata", "name")})
}

// refer records the template that an object refers to, and reports whether there is
// one.
func (r *actionReader) refer(n *yaml.Node, kind string) bool {
	for _, ref := range values(n, "spec", "templateRef") {
		name := ref.Value // v1alpha1's Workflow has only the name
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

// workflow reads a Workflow, which refers to a template or has tasks.
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

// machine reads a TinkerbellMachineConfig. Without the user's template it gets EKS
// Anywhere's default for its operating system. All of those use these images, since
// v0.21 under these names.
func (r *actionReader) machine(n *yaml.Node) error {
	if r.refer(n, kindTemplateConfig) {
		return nil
	}
	for _, name := range []string{"image2disk", "writefile", "reboot"} {
		r.All = append(r.All, Action{
			Line: n.Line, Task: "EKS Anywhere's own template of " + text(n, "metadata", "name"), Name: name, Image: EmbedPrefix + name,
		})
	}
	return nil
}

// values returns the values at a path of keys. There may be several, from both
// branches of an "if".
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

// items returns the elements of lists.
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

// text returns the first value at a path of keys, or "".
func text(n *yaml.Node, keys ...string) string {
	found := values(n, keys...)
	if len(found) == 0 {
		return ""
	}
	return asWritten(found[0].Value)
}

// resolved returns the node that n is an alias of, or n.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
