package peertest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"

	"go.yaml.in/yaml/v3"
)

// Listing describes a file tree by sorted lines: "PATH TYPE MODE UID:GID
// DETAIL". DETAIL is the SHA-256 of a file's content, a symlink's target, a
// device's numbers, or for a further name of a file the first of its names.
// Times are left out, and so is the mode of a symlink, which means nothing. A
// JSON or YAML file has a line for each value in it instead of a hash.
type Listing []string

// FromTree lists trees that share one root.
func FromTree(trees ...*initramfs.Tree) (Listing, error) {
	var out Listing
	for _, t := range trees {
		for e := range t.All() {
			lines, err := treeLines(t, e)
			if err != nil {
				return nil, fmt.Errorf("listing %q: %w", e.Path, err)
			}
			out = append(out, lines...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func treeLines(t *initramfs.Tree, e initramfs.Entry) ([]string, error) {
	name := e.Path
	first := name
	if e.Type == initramfs.HardLink {
		e, _ = t.Lookup(e.Target)
	}
	if others := t.Names(e.Path); len(others) > 0 {
		first = min(e.Path, others[0])
	}
	f := file{name: name, kind: e.Type, mode: e.Mode, uid: e.UID, gid: e.GID, target: e.Target, major: e.Major, minor: e.Minor}
	if first != name {
		f.first = first
		return f.lines()
	}
	if e.Type == initramfs.Regular && e.Open != nil {
		r, err := e.Open()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
		f.content = content
	}
	return f.lines()
}

// file is one file of a listing.
type file struct {
	name         string
	kind         initramfs.Type
	mode         uint32
	uid, gid     uint32
	target       string
	major, minor uint32
	content      []byte
	first        string // the first name of the file that this is another of
}

func (f file) lines() ([]string, error) {
	line := fmt.Sprintf("%s %s %04o %d:%d", f.name, strings.ReplaceAll(f.kind.String(), " ", "-"), f.mode, f.uid, f.gid)
	switch {
	case f.first != "":
		return []string{line + " = " + f.first}, nil
	case f.kind == initramfs.Symlink:
		return []string{fmt.Sprintf("%s symlink %d:%d -> %s", f.name, f.uid, f.gid, f.target)}, nil
	case f.kind == initramfs.CharDevice || f.kind == initramfs.BlockDevice:
		return []string{fmt.Sprintf("%s %d:%d", line, f.major, f.minor)}, nil
	case f.kind != initramfs.Regular:
		return []string{line}, nil
	}
	if ext := path.Ext(f.name); ext == ".json" || ext == ".yaml" {
		values, err := valueLines(f.name, f.content)
		return append(values, line), err
	}
	sum := sha256.Sum256(f.content)
	return []string{line + " " + hex.EncodeToString(sum[:])}, nil
}

// valueLines returns a line for each value of JSON or YAML.
func valueLines(name string, content []byte) ([]string, error) {
	var value any
	if err := yaml.Unmarshal(content, &value); err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	var lines []string
	flatten(name+"#", value, &lines)
	return lines, nil
}

func flatten(at string, value any, lines *[]string) {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			flatten(at+"."+key, v[key], lines)
		}
		if len(v) > 0 {
			return
		}
	case []any:
		for i, item := range v {
			flatten(fmt.Sprintf("%s[%d]", at, i), item, lines)
		}
		if len(v) > 0 {
			return
		}
	}
	text, err := json.Marshal(value)
	if err != nil {
		text = fmt.Append(nil, value) // YAML has keys that are no text
	}
	*lines = append(*lines, at+" "+string(text))
}

// FromTar lists a tar archive as an unpacker would leave it: later entries
// replace earlier ones.
func FromTar(r io.Reader) (Listing, error) {
	files, err := readTar(r)
	if err != nil {
		return nil, err
	}
	var out Listing
	for _, name := range slices.Sorted(maps.Keys(files)) {
		lines, err := resolveLink(files, name).lines()
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	slices.Sort(out)
	return out, nil
}

func readTar(r io.Reader) (map[string]file, error) {
	files := map[string]file{}
	tr := tar.NewReader(r)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the archive: %w", err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("reading %q of the archive: %w", hdr.Name, err)
		}
		f := fromHeader(hdr, content)
		if f.name == "" {
			continue
		}
		if old, ok := files[f.name]; ok && old.kind == initramfs.Dir && f.kind != initramfs.Dir {
			removeBelow(files, f.name)
		}
		files[f.name] = f
	}
}

func removeBelow(files map[string]file, dir string) {
	for name := range files {
		if strings.HasPrefix(name, dir+"/") {
			delete(files, name)
		}
	}
}

func fromHeader(hdr *tar.Header, content []byte) file {
	kinds := map[byte]initramfs.Type{
		tar.TypeReg: initramfs.Regular, tar.TypeDir: initramfs.Dir, tar.TypeSymlink: initramfs.Symlink, tar.TypeLink: initramfs.HardLink,
		tar.TypeChar: initramfs.CharDevice, tar.TypeBlock: initramfs.BlockDevice, tar.TypeFifo: initramfs.Fifo,
	}
	clean := func(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }
	f := file{
		name: clean(hdr.Name), kind: kinds[hdr.Typeflag], mode: uint32(hdr.Mode & 0o7777), uid: uint32(hdr.Uid), gid: uint32(hdr.Gid),
		target: hdr.Linkname, major: uint32(hdr.Devmajor), minor: uint32(hdr.Devminor), content: content,
	}
	if f.kind == initramfs.HardLink {
		f.target = clean(hdr.Linkname)
	}
	return f
}

// resolveLink returns a hard link the file's own type, mode and owner, and makes
// the first name in order stand for the file.
func resolveLink(files map[string]file, name string) file {
	last := name
	for i := 0; files[last].kind == initramfs.HardLink && i < len(files); i++ {
		last = files[last].target
	}
	first := last
	for other, f := range files {
		if f.kind == initramfs.HardLink && f.target == last {
			first = min(first, other)
		}
	}
	f, ok := files[last]
	if !ok {
		return file{name: name, kind: initramfs.HardLink, first: last + " (missing)"}
	}
	f.name = name
	if first != name {
		f.first = first
	}
	return f
}

// Diff returns the lines that only one of two listings has: "- " those of a,
// "+ " those of b.
func Diff(a, b Listing) []string {
	var out []string
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			out = append(out, "- "+a[0])
			a = a[1:]
		case len(a) == 0 || b[0] < a[0]:
			out = append(out, "+ "+b[0])
			b = b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// String is the listing as text, a newline after each line.
func (l Listing) String() string {
	if len(l) == 0 {
		return ""
	}
	return strings.Join(l, "\n") + "\n"
}

// ParseListing reads what String wrote.
func ParseListing(text string) Listing {
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
