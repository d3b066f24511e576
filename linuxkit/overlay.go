package linuxkit

import (
	"fmt"
	"slices"
	"strings"

	"hookbuild/internal/nearest"

	"github.com/opencontainers/runtime-spec/specs-go"
	"go.yaml.in/yaml/v3"
)

// Overlay is a document that changes another one: it has the sections of a
// LinuxKit document, whose entries are found by name, and `remove:`.
// [Document.Overlay] applies it.
type Overlay struct {
	// Name names the overlay in messages: its file.
	Name string `yaml:"-"`
	// Dir is where a relative `source:` of its files is found.
	Dir string `yaml:"-"`

	Kernel     *KernelConfig      `yaml:"kernel"`
	Init       []ImageRef         `yaml:"init"`
	Onboot     []*ContainerChange `yaml:"onboot"`
	Onshutdown []*ContainerChange `yaml:"onshutdown"`
	Services   []*ContainerChange `yaml:"services"`
	Files      []*FileChange      `yaml:"files"`
	Volumes    []*Volume          `yaml:"volumes"`
	Remove     Removals           `yaml:"remove"`
}

// Removals names what an overlay takes out of a document: init images by
// reference, files by path, everything else by name.
type Removals struct {
	Init       []Word `yaml:"init"`
	Onboot     []Word `yaml:"onboot"`
	Onshutdown []Word `yaml:"onshutdown"`
	Services   []Word `yaml:"services"`
	Files      []Word `yaml:"files"`
	Volumes    []Word `yaml:"volumes"`
}

// Word is a text of a document, with its line.
type Word struct {
	Text string
	Line int
}

// ContainerChange changes the container of its name, or is a new one. A key
// that it has takes the place of the container's; the keys that end in ".add"
// and ".remove" change single elements of a list.
type ContainerChange struct {
	Name  string `yaml:"name"`
	Image string `yaml:"image"`
	ContainerConfig
	EnvAdd             []string       `yaml:"env.add"`
	DevicesAdd         []Device       `yaml:"devices.add"`
	MountsAdd          []specs.Mount  `yaml:"mounts.add"`
	BindsRemove        []Word         `yaml:"binds.remove"`        // by destination
	CapabilitiesRemove []Word         `yaml:"capabilities.remove"` // by name
	DevicesRemove      []Word         `yaml:"devices.remove"`      // by path
	EnvRemove          []Word         `yaml:"env.remove"`          // by name
	MountsRemove       []Word         `yaml:"mounts.remove"`       // by destination
	Runtime            *RuntimeChange `yaml:"runtime"`
	// Remove lists keys to take out, so that what the image says counts.
	Remove []Word `yaml:"remove"`
	// Before and After name the container of onboot or onshutdown that this one
	// is put next to.
	Before Word `yaml:"before"`
	After  Word `yaml:"after"`
	Line   int  `yaml:"-"`
}

// RuntimeChange changes a container's `runtime:`, key by key.
type RuntimeChange struct {
	Runtime
	MkdirAdd []string `yaml:"mkdir.add"`
}

// FileChange changes the file of its path, or is a new one. A content that it
// has takes the place of the file's; [FileEdit]s change the one that is there.
type FileChange struct {
	File
	// Append is text to add to the end. The file has to be there, unless
	// `optional: true` allows to create it.
	Append *string `yaml:"append"`
	// Replace lists texts of the file and what to put in their places.
	Replace []Replacement `yaml:"replace"`
}

// Replacement is a text of a file, which has to be there unless it is optional,
// and the one that takes its place wherever it is.
type Replacement struct {
	Text     string `yaml:"text"`
	With     string `yaml:"with"`
	Optional bool   `yaml:"optional"`
	Line     int    `yaml:"-"`
}

// ParseOverlay reads an overlay called name, as strictly as [Parse] reads a
// document.
func ParseOverlay(data []byte, name, dir string) (*Overlay, error) {
	o := &Overlay{Name: name, Dir: dir}
	root, err := parseYAML(data)
	if err == nil {
		err = decodeNode(root, o)
	}
	if err == nil && len(root.Content) == 0 {
		err = faultAt(root.Line, "", "the overlay changes nothing")
	}
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the overlay %q: %w", name, err)
	}
	return o, nil
}

func (w *Word) decode(n *yaml.Node, where string) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
		return wrongKind(n, where, "text")
	}
	w.Text, w.Line = n.Value, n.Line
	return nil
}

// overlaySection is a section of containers in an overlay.
type overlaySection struct {
	section
	changes []*ContainerChange
	removed []Word
	store   *[]*Container
}

// sectionsOf pairs an overlay's sections with those of the document that it
// changes.
func (o *Overlay) sectionsOf(d *Document) []overlaySection {
	s := d.sections()
	return []overlaySection{
		{s[0], o.Onboot, o.Remove.Onboot, &d.Onboot},
		{s[1], o.Onshutdown, o.Remove.Onshutdown, &d.Onshutdown},
		{s[2], o.Services, o.Remove.Services, &d.Services},
	}
}

// check finds what is wrong with an overlay whatever it is applied to.
func (o *Overlay) check() error {
	for _, s := range o.sectionsOf(&Document{}) {
		seen := map[string]int{}
		for i, c := range s.changes {
			where := fmt.Sprintf("%s[%d]", s.name, i)
			if err := checkElement(c.Name, c.Line, where+".name"); err != nil {
				return err
			}
			if first, ok := seen[c.Name]; ok {
				return faultAt(c.Line, where+".name", "%q is changed in line %d too", c.Name, first)
			}
			seen[c.Name] = c.Line
			if place := cmpWord(c.Before, c.After); !s.numbered && place.Text != "" {
				return faultAt(place.Line, where, "services start together; before and after are for onboot and onshutdown")
			}
			if c.Before.Text != "" && c.After.Text != "" {
				return faultAt(c.After.Line, where, "before and after exclude one another")
			}
		}
	}
	return o.checkFiles()
}

func cmpWord(a, b Word) Word {
	if a.Text != "" {
		return a
	}
	return b
}

func (o *Overlay) checkFiles() error {
	seen := map[string]int{}
	for i, f := range o.Files {
		where := fmt.Sprintf("files[%d]", i)
		path := cleanFilePath(f.Path)
		if first, ok := seen[path]; ok {
			return faultAt(f.Line, where+".path", "%q is changed in line %d too", f.Path, first)
		}
		seen[path] = f.Line
		for j, r := range f.Replace {
			if r.Text == "" {
				return faultAt(r.Line, fmt.Sprintf("%s.replace[%d].text", where, j), "it is empty; write the text to replace")
			}
		}
	}
	return nil
}

// notFound is the error about a name that the document does not have.
func notFound(line int, where, kind, name string, known []string) error {
	hint := "it has none"
	if len(known) > 0 {
		hint = "it has " + strings.Join(known, ", ")
	}
	if near := nearest.Word(name, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return faultAt(line, where, "the document has no %s %q; %s", kind, name, hint)
}

// find returns the index of the one element that is called name.
func find[T any](list []T, name string, nameOf func(T) string) (index, count int) {
	index = -1
	for i, e := range list {
		if nameOf(e) == name {
			if count++; index < 0 {
				index = i
			}
		}
	}
	return index, count
}

func namesOf[T any](list []T, nameOf func(T) string) []string {
	var all []string
	for _, e := range list {
		all = append(all, nameOf(e))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// removeNamed returns list without what words name; each must be there.
func removeNamed[T any](list []T, words []Word, where, kind string, nameOf func(T) string) ([]T, error) {
	kept := slices.Clone(list)
	for i, w := range words {
		if n := slices.IndexFunc(words, func(o Word) bool { return o.Text == w.Text }); n < i {
			return nil, faultAt(w.Line, fmt.Sprintf("%s[%d]", where, i), "%q is removed in line %d too", w.Text, words[n].Line)
		}
		if at, _ := find(kept, w.Text, nameOf); at < 0 {
			return nil, notFound(w.Line, fmt.Sprintf("%s[%d]", where, i), kind, w.Text, namesOf(list, nameOf))
		}
		kept = slices.DeleteFunc(kept, func(e T) bool { return nameOf(e) == w.Text })
	}
	return kept, nil
}
