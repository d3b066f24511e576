package linuxkit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hookbuild/internal/fault"

	"go.yaml.in/yaml/v3"
)

// MaxDocument is the largest size of a document in bytes.
const MaxDocument = 4 << 20

// syntaxError is an error in a document, with its line.
type syntaxError struct {
	Line int
	// Where is the path of keys: "services[2].binds".
	Where   string
	Problem string
}

func (e *syntaxError) Error() string {
	switch {
	case e.Line == 0: // of an overlay that was not read from a file
		return fmt.Sprintf("%s: %s", e.Where, e.Problem)
	case e.Where == "":
		return fmt.Sprintf("line %d: %s", e.Line, e.Problem)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Where, e.Problem)
}

func faultAt(line int, where, format string, args ...any) error {
	return fault.Mark(&syntaxError{Line: line, Where: where, Problem: fmt.Sprintf(format, args...)}, fault.Invalid)
}

// Parse parses and checks a document: unknown keys, values of the wrong kind,
// repeated names and whatever else cannot become a system are reported as a
// [syntaxError]. References are left as they are written.
func Parse(data []byte) (*Document, error) {
	root, err := parseYAML(data)
	if err != nil {
		return nil, err
	}
	doc := &Document{}
	if err := decodeNode(root, doc); err != nil {
		return nil, err
	}
	if err := doc.check(); err != nil {
		return nil, err
	}
	return doc, nil
}

// parseYAML returns the root node of the one document in data.
func parseYAML(data []byte) (*yaml.Node, error) {
	if len(data) > MaxDocument {
		return nil, faultAt(1, "", "the document has %d bytes, more than %d", len(data), MaxDocument)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var file yaml.Node
	if err := dec.Decode(&file); errors.Is(err, io.EOF) {
		return nil, faultAt(1, "", "the document is empty")
	} else if err != nil {
		return nil, yamlFault(err)
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return nil, faultAt(second.Line, "", "a second document starts; only one is allowed in a file")
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlFault(err)
	}
	return file.Content[0], nil
}

// yamlFault extracts the line from the parser's message.
func yamlFault(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, problem, ok := strings.Cut(rest, ": "); ok {
			if n, convErr := strconv.Atoi(number); convErr == nil {
				line, text = n, problem
			}
		}
	}
	return faultAt(line, "", "not valid YAML: %s", text)
}

// check finds faults that do not show in the shape of the values.
func (d *Document) check() error {
	checks := []func() error{d.checkImages, d.checkContainers, d.checkVolumes, d.checkFiles}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkImages() error {
	if d.Kernel.Image != "" {
		if err := checkReference(d.Kernel.Image, d.Kernel.Line, "kernel.image"); err != nil {
			return err
		}
	}
	for i, ref := range d.Init {
		if err := checkReference(ref.Name, ref.Line, fmt.Sprintf("init[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkContainers() error {
	for _, s := range d.sections() {
		seen := map[string]int{}
		for i, c := range s.containers {
			where := fmt.Sprintf("%s[%d]", s.name, i)
			if err := checkElement(c.Name, c.Line, where+".name"); err != nil {
				return err
			}
			// Each numbered container has its own directory whatever its name:
			// LinuxKit's examples run one thing twice.
			if first, ok := seen[c.Name]; ok && !s.numbered {
				return faultAt(c.Line, where+".name", "%q is also the name of the service in line %d", c.Name, first)
			}
			seen[c.Name] = c.Line
			if err := checkReference(c.Image, c.Line, where+".image"); err != nil {
				return err
			}
		}
	}
	return nil
}

// volumeName matches the names that the linuxkit tool allows.
var volumeName = regexp.MustCompile(`^[a-z0-9_-]+$`)

func (d *Document) checkVolumes() error {
	seen := map[string]int{}
	for i, v := range d.Volumes {
		where := fmt.Sprintf("volumes[%d]", i)
		if !volumeName.MatchString(v.Name) {
			return faultAt(v.Line, where+".name", "%q is not a volume name; use lower-case letters, digits, - and _", v.Name)
		}
		if first, ok := seen[v.Name]; ok {
			return faultAt(v.Line, where+".name", "%q is also the name of the volume in line %d", v.Name, first)
		}
		seen[v.Name] = v.Line
		if !slices.Contains([]string{"", "filesystem", "oci"}, v.Format) {
			return faultAt(v.Line, where+".format", "%q is not a format; use filesystem or oci", v.Format)
		}
		if v.Image == "" {
			if v.Format == "oci" {
				return faultAt(v.Line, where, "the format oci needs an image")
			}
			continue
		}
		if err := checkReference(v.Image, v.Line, where+".image"); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkFiles() error {
	for i, f := range d.Files {
		where := fmt.Sprintf("files[%d]", i)
		if problem := f.problem(); problem != "" {
			return faultAt(f.Line, where, "%s", problem)
		}
		if f.Mode != "" {
			if _, err := parseMode(f.Mode); err != nil {
				return faultAt(f.Line, where+".mode", "%q is not an octal mode such as \"0644\"", f.Mode)
			}
		}
	}
	return nil
}

// problem returns what is wrong with f as a whole, or "".
func (f *File) problem() string {
	given := 0
	for _, set := range []bool{f.Directory, f.Symlink != "", f.Contents != nil, f.Source != "", f.Metadata != ""} {
		if set {
			given++
		}
	}
	editable := !f.Directory && f.Symlink == ""
	switch {
	case cleanFilePath(f.Path) == "":
		return fmt.Sprintf("the path %q does not name a file", f.Path)
	case slices.Contains(strings.Split(f.Path, "/"), ".."):
		return fmt.Sprintf("the path %q must not contain \"..\"", f.Path)
	case strings.ContainsRune(f.Path, 0):
		return fmt.Sprintf("the path %q must not contain a NUL", f.Path)
	case given == 0 && len(f.Edits) == 0:
		return fmt.Sprintf("%q has no content; set one of directory, symlink, contents, source and metadata", f.Path)
	case len(f.Edits) > 0 && !editable:
		return fmt.Sprintf("%q has no text; append and replace are for files", f.Path)
	case given > 1:
		return fmt.Sprintf("%q has more than one content; set only one of directory, symlink, contents, source and metadata", f.Path)
	case f.Metadata != "" && f.Metadata != "json" && f.Metadata != "yaml":
		return fmt.Sprintf("%q is not a form of metadata; use json or yaml", f.Metadata)
	}
	return ""
}

// cleanFilePath returns a file's path relative to the root, or "" if it has
// none.
func cleanFilePath(p string) string {
	return strings.TrimPrefix(path.Clean("/"+p), "/")
}

func parseMode(s string) (uint32, error) {
	mode, err := strconv.ParseUint(s, 8, 12)
	return uint32(mode), err
}

// checkElement rejects a name that is not a single path element.
func checkElement(name string, line int, where string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return faultAt(line, where, "%q cannot be the name of a directory", name)
	}
	return nil
}
