// Package expect describes a file system to the last attribute and compares a
// real one with the description. An image of the corpus carries its own
// description and the program that checks it, so that running the image proves
// that every file arrived unchanged, wherever the image went meanwhile.
package expect

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Well is how the checking program begins its line if a container of an image has
// every file as described. Arch is amd64 or arm64.
func Well(image, arch string) string {
	return "a container of " + image + " (" + arch + ") has exactly the files that it was made of"
}

// Name is a path or link target. It may contain any byte but NUL, so that its
// JSON form is a Go string literal.
type Name string

// MarshalText implements encoding.TextMarshaler.
func (n Name) MarshalText() ([]byte, error) {
	quoted := strconv.QuoteToASCII(string(n))
	return []byte(quoted[1 : len(quoted)-1]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Name) UnmarshalText(text []byte) error {
	s, err := strconv.Unquote(`"` + string(text) + `"`)
	*n = Name(s)
	return err
}

// Types of files.
const (
	Regular   = "file"
	Directory = "directory"
	Symlink   = "symlink"
	Fifo      = "fifo"
	CharDev   = "character device"
	BlockDev  = "block device"
)

// File is one file. Path is relative to the root, without a leading slash.
type File struct {
	Path Name   `json:"path"`
	Type string `json:"type"`
	// Mode has the permission bits with setuid, setgid and sticky: 07777.
	Mode uint32 `json:"mode"`
	UID  uint32 `json:"uid,omitempty"`
	GID  uint32 `json:"gid,omitempty"`
	// Size and SHA256 (hexadecimal) are those of a regular file.
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// Seconds and Nanoseconds are the time of last change.
	Seconds     int64 `json:"seconds"`
	Nanoseconds int64 `json:"nanoseconds,omitempty"`
	// Target is what a symlink points to.
	Target Name `json:"target,omitempty"`
	// Major and Minor are the numbers of a device.
	Major uint32 `json:"major,omitempty"`
	Minor uint32 `json:"minor,omitempty"`
	// SameAs is the first path of the inode that this one shares.
	SameAs Name `json:"sameAs,omitempty"`
	// Capability is the xattr security.capability.
	Capability []byte `json:"capability,omitempty"`
}

// Run is a command that must succeed, and a part of its output.
type Run struct {
	Args     []string `json:"args"`
	Contains string   `json:"contains"`
}

// Document is an image's description of itself.
type Document struct {
	Image string `json:"image"`
	Arch  string `json:"arch"`
	// Files lists everything, sorted by path, but the document itself and the
	// root directory.
	Files []File `json:"files"`
	// Deleted lists the files of lower layers that upper ones deleted.
	Deleted []Name `json:"deleted"`
	// Opaque lists directories whose content in lower layers was hidden.
	Opaque []Name `json:"opaque"`
	Runs   []Run  `json:"runs,omitempty"`
}

// DocumentPath is the path of an image's [Document].
const DocumentPath = "corpus/expect.json"

// Read reads a document.
func Read(r io.Reader) (*Document, error) {
	var d Document
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return nil, fmt.Errorf("decoding what the image says of itself: %w", err)
	}
	return &d, nil
}

// Write writes a document, one file a line.
func (d *Document) Write(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(d); err != nil {
		return fmt.Errorf("encoding what the image says of itself: %w", err)
	}
	return nil
}

// Summary counts what a document describes: "812 files, 96 directories, ...".
func (d *Document) Summary() string {
	count := map[string]int{}
	for _, f := range d.Files {
		count[f.Type]++
		if f.SameAs != "" {
			count["hard links"]++
		}
		if f.Mode&0o6000 != 0 {
			count["set-id"]++
		}
		if len(f.Capability) > 0 {
			count["capabilities"]++
		}
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{
		{count[Regular], "files"}, {count[Directory], "directories"}, {count[Symlink], "symlinks"},
		{count["hard links"], "hard links"}, {count["set-id"], "set-id files"}, {count["capabilities"], "capabilities"},
		{len(d.Deleted), "deleted"}, {len(d.Opaque), "opaque"}, {len(d.Runs), "programs run"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}
