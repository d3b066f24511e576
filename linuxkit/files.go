package linuxkit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"

	"go.yaml.in/yaml/v3"
)

// addFiles adds the document's own files. Their parent directory takes its mode
// and owner from the first of the files in it, as with the linuxkit tool, even
// if an image has that directory.
func (l *layout) addFiles(doc *Document, o Options) error {
	ids := doc.containerIDs()
	done := map[string]bool{}
	for i, f := range doc.Files {
		s := l.begin(Part{Where: fmt.Sprintf("files[%d]", i), Name: f.Path, Line: f.Line, File: f.from})
		e, present, err := l.fileEntry(doc, f, o, ids)
		if err != nil {
			return fmt.Errorf("file %q (%s): %w", f.Path, place(f.Line, f.from), err)
		}
		if !present {
			continue
		}
		if _, there := lookup(&l.tree, e.Path); !there || f.hasContent() {
			if err := s.addParents(e, done); err != nil {
				return err
			}
		}
		done[e.Path] = true
		if err := s.add(s.own(e)); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) addParents(e initramfs.Entry, done map[string]bool) error {
	for i, c := range e.Path {
		if c != '/' || done[e.Path[:i]] {
			continue
		}
		done[e.Path[:i]] = true
		dir := initramfs.Entry{Path: e.Path[:i], Type: initramfs.Dir, Mode: directoryMode(e.Mode), UID: e.UID, GID: e.GID}
		if err := s.add(s.own(dir)); err != nil {
			return err
		}
	}
	return nil
}

// directoryMode returns the mode of a directory that everyone with any
// permission on the file in it can enter.
func directoryMode(file uint32) uint32 {
	for _, bits := range []uint32{0o700, 0o070, 0o007} {
		if file&bits != 0 {
			file |= bits & 0o111
		}
	}
	return file
}

// fileEntry returns the entry for f. Present is false if the file is optional
// and its source does not exist.
func (l *layout) fileEntry(doc *Document, f *File, o Options, ids map[string]uint32) (e initramfs.Entry, present bool, err error) {
	if len(f.Edits) > 0 && !f.hasContent() {
		e, err = l.editedEntry(f)
		present = true
	} else {
		e, present, err = ownEntry(doc, f, o)
	}
	if err != nil || !present {
		return e, present, err
	}
	if err := setOwner(&e, f, ids); err != nil {
		return e, false, err
	}
	return e, true, edit(&e, f.Edits)
}

// setOwner sets the mode and owner that f specifies.
func setOwner(e *initramfs.Entry, f *File, ids map[string]uint32) (err error) {
	if f.Mode != "" {
		if e.Mode, err = parseMode(f.Mode); err != nil {
			return invalid("the mode %q is not octal", f.Mode)
		}
	}
	if f.UID != nil {
		if e.UID, err = f.UID.number(ids); err != nil {
			return invalid("uid: %w", err)
		}
	}
	if f.GID != nil {
		if e.GID, err = f.GID.number(ids); err != nil {
			return invalid("gid: %w", err)
		}
	}
	return nil
}

// ownEntry returns the entry for a file whose content is in the document.
func ownEntry(doc *Document, f *File, o Options) (e initramfs.Entry, present bool, err error) {
	e = initramfs.Entry{Path: cleanFilePath(f.Path), Type: initramfs.Regular, Mode: 0o600}
	if f.Directory {
		e.Type, e.Mode = initramfs.Dir, 0o700
	}
	switch {
	case f.Directory:
	case f.Symlink != "":
		e.Type, e.Target = initramfs.Symlink, f.Symlink
	case f.Contents != nil:
		setContent(&e, []byte(*f.Contents))
	case f.Metadata != "":
		content, err := doc.metadata(f.Metadata)
		if err != nil {
			return e, false, err
		}
		setContent(&e, content)
	default:
		return setSource(e, f, o)
	}
	return e, true, nil
}

func invalid(format string, args ...any) error {
	return fault.Invalidf(format, args...)
}

func setContent(e *initramfs.Entry, content []byte) {
	e.Size = int64(len(content))
	e.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

// setSource sets the content to a file on the build machine.
func setSource(e initramfs.Entry, f *File, o Options) (initramfs.Entry, bool, error) {
	name, info, err := o.findSource(f)
	if info == nil || err != nil {
		return e, false, err
	}
	e.Size = info.Size()
	e.Open = func() (io.ReadCloser, error) { return os.Open(name) }
	return e, true, nil
}

// findSource returns a file's source; info is nil if it is optional and does
// not exist.
func (o Options) findSource(f *File) (name string, info fs.FileInfo, err error) {
	if name, err = o.sourcePath(f); err != nil {
		return "", nil, err
	}
	info, err = os.Stat(name)
	switch {
	case f.Optional && err != nil:
		return "", nil, nil //nolint:nilerr // the linuxkit tool treats any error as a missing optional file
	case errors.Is(err, fs.ErrNotExist):
		return "", nil, invalid("the source %q does not exist; create it, or set optional: true", name)
	case err != nil:
		return "", nil, invalid("reading the source: %w", err)
	case !info.Mode().IsRegular():
		return "", nil, invalid("the source %q is not a regular file", name)
	}
	return name, info, nil
}

func (o Options) sourcePath(f *File) (string, error) {
	source := f.Source
	if rest, ok := strings.CutPrefix(source, "~/"); ok {
		home := o.HomeDir
		if home == "" {
			var err error
			if home, err = os.UserHomeDir(); err != nil {
				return "", fmt.Errorf("finding the home directory for the source %q: %w", source, err)
			}
		}
		return filepath.Join(home, rest), nil
	}
	if !filepath.IsAbs(source) {
		source = filepath.Join(cmp.Or(f.dir, o.WorkDir), source)
	}
	abs, err := filepath.Abs(source)
	if err != nil {
		return "", fmt.Errorf("finding the source %q: %w", source, err)
	}
	return fetch.StandIn(source, o.Moved[abs]), nil
}

// metadata returns the document with its references in the long form, as "json"
// or "yaml". A template's comments and anchors are not preserved.
func (d *Document) metadata(format string) ([]byte, error) {
	text, err := json.MarshalIndent(d.withLongReferences(), "", "    ")
	if err != nil || format == "json" {
		return text, err
	}
	// JSON is valid YAML; only its style is not what a reader expects.
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("writing the metadata: %w", err)
	}
	blockStyle(&root)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	enc.CompactSeqIndent() // as the linuxkit tool writes it
	if err := errors.Join(enc.Encode(&root), enc.Close()); err != nil {
		return nil, fmt.Errorf("writing the metadata: %w", err)
	}
	return out.Bytes(), nil
}

// blockStyle gives n the usual style of YAML. An absent list becomes an empty
// one, and bindNS is omitted if nothing is bound.
func blockStyle(n *yaml.Node) {
	n.Style = 0
	if n.Tag == "!!null" {
		*n = yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == "bindNS" && len(n.Content[i+1].Content) == 0 {
			n.Content = slices.Delete(n.Content, i, i+2)
			break
		}
	}
	for _, child := range n.Content {
		blockStyle(child)
	}
}

func (d *Document) withLongReferences() *Document {
	long := *d
	if long.Kernel.Image != "" {
		long.Kernel.Image = ExpandReference(long.Kernel.Image)
	}
	long.Init = nil
	for _, ref := range d.Init {
		long.Init = append(long.Init, ImageRef{Name: ExpandReference(ref.Name), Line: ref.Line})
	}
	long.Onboot, long.Onshutdown, long.Services = longContainers(d.Onboot), longContainers(d.Onshutdown), longContainers(d.Services)
	return &long
}

func longContainers(containers []*Container) []*Container {
	var long []*Container
	for _, c := range containers {
		copied := *c
		copied.Image = ExpandReference(c.Image)
		long = append(long, &copied)
	}
	return long
}
