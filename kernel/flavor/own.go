package flavor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/fault"
	"hookbuild/internal/nearest"
)

// File is the file in which a Hook checkout defines flavors of its own;
// docs/kernels.md describes it.
const File = "kernel/flavors.yaml"

// scriptFile is the script in which upstream's build.sh defines its flavors.
const scriptFile = "bash/inventory.sh"

// mostText limits the size of the file.
const mostText = 1 << 20

// Read returns upstream's inventory, followed by the flavors that a checkout
// adds in [File]. An error about the file names the line.
func Read(checkout fs.FS) (Inventory, error) {
	in := Upstream()
	text, err := readFile(checkout, File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil:
		in, err = parse(text)
	}
	if err != nil {
		return Inventory{}, fault.Invalidf("reading the checkout's flavors %q: %w", File, err)
	}
	// The script is read only for the error about an unknown flavor.
	if in.script, err = readFile(checkout, scriptFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Inventory{}, fault.Invalidf("reading the checkout's %q: %w", scriptFile, err)
	}
	return in, nil
}

func readFile(checkout fs.FS, name string) ([]byte, error) {
	f, err := checkout.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, mostText+1))
	if err == nil && len(text) > mostText {
		err = fmt.Errorf("it has more than %d bytes", mostText)
	}
	return text, errors.Join(err, f.Close())
}

// parse adds the flavors of a file to upstream's.
func parse(text []byte) (Inventory, error) {
	all := Upstream()
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return all, fmt.Errorf("it is not valid YAML: %w", err)
	}
	if len(document.Content) == 0 {
		return all, errors.New("it is empty; list flavors below the key flavors, or delete it")
	}
	root := document.Content[0]
	var list *yaml.Node
	err := eachKey(root, "the file", func(key, value *yaml.Node) error {
		if key.Value != "flavors" {
			return at(key, "unknown key %q; the only key is flavors", key.Value)
		}
		list = value
		return nil
	})
	switch {
	case err != nil:
		return all, err
	case list == nil || list.Kind != yaml.SequenceNode:
		return all, at(root, "there is no list of flavors; start it with the line \"flavors:\" and each flavor with \"- id: NAME\"")
	}
	lines := map[string]int{}
	for _, node := range list.Content {
		f, err := readFlavor(node)
		if err != nil {
			return all, err
		}
		if _, found := all.lookup(f.ID); found {
			return all, at(node, "%s", taken(f.ID, lines[f.ID]))
		}
		lines[f.ID] = node.Line
		all.flavors = append(all.flavors, f)
	}
	return all, all.checkKernels(lines)
}

func taken(id string, line int) string {
	if line == 0 {
		return fmt.Sprintf("the id %q belongs to a flavor of upstream; choose another", id)
	}
	return fmt.Sprintf("the id %q is taken by the flavor of line %d; choose another", id, line)
}

// checkKernels checks the flavors whose kernels other flavors use. Lines maps
// the checkout's flavors to their lines.
func (in Inventory) checkKernels(lines map[string]int) error {
	for _, f := range in.flavors {
		line := lines[f.ID]
		if line == 0 || f.UseKernelID == "" {
			continue
		}
		k, found := in.lookup(f.UseKernelID)
		switch {
		case !found:
			return fmt.Errorf("line %d: %s: use-kernel: %q: %w", line, f.ID, f.UseKernelID, in.unknown(f.UseKernelID))
		case k.Arch != f.Arch:
			return fmt.Errorf("line %d: %s: use-kernel: the kernel of %s is for %s, but this flavor is for %s", line, f.ID, k.ID, k.Arch, f.Arch)
		case k.UseKernelID != "":
			return fmt.Errorf("line %d: %s: use-kernel: %s uses the kernel of %s; name that flavor", line, f.ID, k.ID, k.UseKernelID)
		}
	}
	return nil
}

// readFlavor reads one entry of the list.
func readFlavor(n *yaml.Node) (Flavor, error) {
	f := Flavor{Own: true}
	where := map[string]*yaml.Node{}
	err := eachKey(n, "a flavor", func(key, value *yaml.Node) error {
		where[key.Value] = value
		return f.set(key, value)
	})
	if err != nil {
		return f, err
	}
	f.completeOwn()
	if err := f.checkOwn(n, where); err != nil {
		return f, err
	}
	switch id := f.FixedOutputID; {
	case id == "": // upstream's rule would give the files the names of upstream's own
		f.FixedOutputID = f.ID
	case id != f.Arch && !strings.HasSuffix(id, "-"+f.Arch): // as FORCE_OUTPUT_ID of an inventory
		f.FixedOutputID += "-" + f.Arch
	}
	return f, nil
}

// words returns the keys of a flavor, in the order in which errors list them.
func words() []string {
	return []string{"id", "method", "arch", "series", "config", "fragments", "artifact", "use-kernel", "template", "tags", "output-id", "iso"}
}

// set sets the field for one key.
func (f *Flavor) set(key, value *yaml.Node) error {
	switch key.Value {
	case "id":
		return word(key, value, &f.ID)
	case "method":
		return word(key, value, (*string)(&f.Method))
	case "arch":
		return word(key, value, &f.Arch)
	case "series":
		return word(key, value, &f.Series)
	case "config":
		return word(key, value, &f.Config)
	case "fragments":
		return list(key, value, &f.Fragments)
	case "artifact":
		return word(key, value, &f.Artifact)
	case "use-kernel":
		return word(key, value, &f.UseKernelID)
	case "template":
		return word(key, value, &f.Template)
	case "tags":
		return list(key, value, &f.Tags)
	case "output-id":
		return word(key, value, &f.FixedOutputID)
	case "iso":
		return yes(key, value, &f.ISO)
	}
	meant := ""
	if near := nearest.Word(key.Value, words()); near != "" {
		meant = fmt.Sprintf(" (did you mean %s?)", near)
	}
	return at(key, "a flavor has no %q%s; it has %s", key.Value, meant, strings.Join(words(), ", "))
}

// completeOwn sets the fields that may be omitted.
func (f *Flavor) completeOwn() {
	switch f.Arch {
	case "amd64":
		f.Arch = X86_64
	case "arm64":
		f.Arch = AArch64
	}
	if f.Method == "" {
		f.Method = Source
	}
	if f.Method == Source && f.Config == "" && f.UseKernelID == "" {
		f.Config = "generic"
	}
	f.Type = "external"
	if f.Method == Source {
		f.Type = "source"
	}
	if f.Template == "" {
		f.Template = "hook"
	}
}

// The forms of ids, series and names, which become parts of file names.
var (
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	seriesForm = regexp.MustCompile(`^[0-9]+\.[0-9]+$`)
)

// checkOwn validates a complete flavor.
func (f *Flavor) checkOwn(n *yaml.Node, where map[string]*yaml.Node) error {
	bad := func(key, format string, args ...any) error {
		place := n
		if where[key] != nil {
			place = where[key]
		}
		return at(place, "%s: "+format, append([]any{key}, args...)...)
	}
	for _, name := range []struct{ key, value string }{
		{"id", f.ID}, {"config", f.Config}, {"artifact", f.Artifact}, {"template", f.Template}, {"output-id", f.FixedOutputID},
	} {
		if name.value != "" && !nameForm.MatchString(name.value) {
			return bad(name.key, "%q becomes part of a file's name: use letters, digits, dots, dashes and underscores", name.value)
		}
	}
	switch {
	case f.ID == "":
		return bad("id", "it is missing; the command line selects the flavor by it")
	case f.Arch == "":
		return bad("arch", "it is missing; write x86_64 or aarch64")
	case f.Arch != X86_64 && f.Arch != AArch64:
		return bad("arch", "%q is neither x86_64 nor aarch64", f.Arch)
	case f.Method != Source && f.Method != Armbian:
		return bad("method", "%q is neither source (compiled from kernel.org's source) nor armbian (Armbian's packages); use --kernel for a kernel from elsewhere", string(f.Method))
	case f.UseKernelID != "" && f.Series+f.Config+f.Artifact+strings.Join(f.Fragments, "") != "":
		return bad("use-kernel", "the kernel is that of %s: omit series, config, fragments and artifact", f.UseKernelID)
	case f.UseKernelID != "":
		return nil
	case f.Method == Armbian && f.Artifact == "":
		return bad("artifact", "it is missing; it names the OCI artifact of Armbian's kernel, such as kernel-rockchip64-edge")
	case f.Method == Armbian && f.Series+f.Config+strings.Join(f.Fragments, "") != "":
		return bad("method", "kernels of Armbian come ready-made: omit series, config and fragments")
	case f.Method == Source && f.Artifact != "":
		return bad("artifact", "only the method armbian uses it")
	case f.Method == Source && !seriesForm.MatchString(f.Series):
		return bad("series", "%q is not a kernel series such as 6.6", f.Series)
	}
	for _, name := range f.Fragments {
		if !fs.ValidPath(name) || name == "." {
			return bad("fragments", "%q is not a path in the checkout, such as kernel/fragments/site.config", name)
		}
	}
	return nil
}

// eachKey calls do for each key of a mapping. A repeated key is an error.
func eachKey(n *yaml.Node, what string, do func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "%s is not a mapping of keys to values", what)
	}
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if slices.Contains(seen, key.Value) {
			return at(key, "%s has %q twice", what, key.Value)
		}
		seen = append(seen, key.Value)
		if err := do(key, value); err != nil {
			return err
		}
	}
	return nil
}

// word reads one value as it is written, because a series of 5.10 is not the
// number 5.1.
func word(key, value *yaml.Node, to *string) error {
	if value.Kind != yaml.ScalarNode || value.Value == "" {
		return at(value, "%s must be a single value", key.Value)
	}
	*to = value.Value
	return nil
}

func list(key, value *yaml.Node, to *[]string) error {
	if value.Kind != yaml.SequenceNode {
		return at(value, "%s must be a list, such as [%s]", key.Value, value.Value)
	}
	for _, item := range value.Content {
		var text string
		if err := word(key, item, &text); err != nil {
			return err
		}
		*to = append(*to, text)
	}
	return nil
}

func yes(key, value *yaml.Node, to *bool) error {
	if err := value.Decode(to); err != nil || value.Tag != "!!bool" {
		return at(value, "%s must be true or false", key.Value)
	}
	return nil
}

// at returns an error that names the line of a node.
func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", n.Line, fmt.Errorf(format, args...))
}
