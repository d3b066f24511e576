// Package patch reads unified diffs, as diff -u and git write them, and applies
// them to the files of a tree. It is as strict as git apply: the lines around a
// change must be there, but may have moved. Paths are taken without their first
// element, as patch -p1 does.
//
// Binary changes, context diffs and fuzz are not supported on purpose: a kernel
// that is not the one that was meant is worse than an error.
package patch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
)

// Patch is a patch file.
type Patch struct {
	// Name is the file's name, for messages.
	Name string
	// Digest identifies the file's content.
	Digest string
	// Files are the changed files in the order of the patch, which may change
	// one file several times.
	Files []File
}

// File is the change of one file.
type File struct {
	// Old and New are the file's paths before and after the change, relative
	// to the tree. Old is empty for a new file, New for a removed one. They
	// differ if the file is renamed or copied.
	Old, New string
	// Copy reports whether Old stays.
	Copy bool
	// Executable is the new permission; nil means that it does not change.
	Executable *bool

	line  int // of the patch
	hunks []hunk
}

// hunk is one change of consecutive lines.
type hunk struct {
	line             int // of the patch
	text             []string
	start            int // the first old line, counted from 1
	before, after    []string
	oldSize, newSize int
}

// mostPatch limits the size of a patch file. The patch from one release of the
// kernel to the next has about 60 MB.
const mostPatch = 256 << 20

// read reads a patch file.
func read(name string) (*Patch, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Invalidf("reading the patch: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, mostPatch+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fault.Invalidf("reading the patch %q: %w", name, err)
	}
	if len(text) > mostPatch {
		return nil, fault.Invalidf("reading the patch %q: it has more than %d bytes", name, mostPatch)
	}
	return Parse(name, text)
}

// ReadAll reads patch files.
func ReadAll(names []string) ([]*Patch, error) {
	var all []*Patch
	for _, name := range names {
		p, err := read(name)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// Parse reads a patch. Name is used in messages.
func Parse(name string, text []byte) (*Patch, error) {
	p := &parser{lines: strings.SplitAfter(string(text), "\n")}
	if last := len(p.lines) - 1; p.lines[last] == "" {
		p.lines = p.lines[:last]
	}
	files, err := p.files()
	if err == nil && len(files) == 0 {
		err = errors.New("it has no change in the unified format, which diff -u and git diff write")
	}
	if err != nil {
		return nil, fault.Invalidf("reading the patch %q: %w", name, err)
	}
	return &Patch{Name: name, Digest: digest.OfBytes(text), Files: files}, nil
}

// treePath returns the path below the tree for one that the patch names.
func treePath(name string) (string, error) {
	_, below, found := strings.Cut(name, "/")
	switch {
	case strings.HasPrefix(name, "/"), !fs.ValidPath(name), strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return "", fmt.Errorf("the path %q leads out of the tree or cannot be used; paths must look like a/drivers/net/x.c", name)
	case !found:
		return "", fmt.Errorf("the path %q has a single element; paths must begin with one that is left out, as in a/Makefile (git diff writes them like this)", name)
	}
	return below, nil
}
