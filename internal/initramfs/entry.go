package initramfs

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// Type is the type of a file in a [Tree].
type Type uint8

// The types of files. A HardLink is a further name of another entry.
const (
	Regular Type = iota
	Dir
	Symlink
	HardLink
	CharDevice
	BlockDevice
	Fifo
	Socket
)

func (t Type) String() string {
	names := [...]string{"file", "directory", "symlink", "hard link", "character device", "block device", "fifo", "socket"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("type %d", t)
}

// Entry is a file of a [Tree]. Its content is not read until it is opened.
type Entry struct {
	// Path is slash-separated and relative to the root, clean, without "..":
	// "usr/bin/sh". The root itself has no entry.
	Path string
	Type Type
	// Mode holds the permission bits with setuid, setgid and sticky: 07777.
	Mode     uint32
	UID, GID uint32
	// ModTime has nanosecond precision; an archive may truncate it to seconds.
	ModTime time.Time
	// Target is the target of a Symlink, as written, or the Path of the entry
	// that a HardLink refers to.
	Target string
	// Major and Minor are a device's numbers.
	Major, Minor uint32
	// Xattrs are extended attributes by full name ("security.capability").
	Xattrs map[string]string
	// Size is a Regular file's length in bytes.
	Size int64
	// Open opens a Regular file's content, of exactly Size bytes; nil means an
	// empty file. It may be called repeatedly and concurrently.
	Open func() (io.ReadCloser, error)
	// Origin names the source of the entry for messages: an image and layer, or
	// a template and line.
	Origin string
}

// ErrUnsafePath is wrapped by errors about names that lead out of the tree or
// through a symlink.
var ErrUnsafePath = errors.New("unsafe path")

// mostPath is the kernel's PATH_MAX without the NUL. It limits the depth of
// directories.
const mostPath = 4095

// CleanPath returns name in the form of [Entry.Path]: "./a//b/" becomes "a/b"
// and the root is "". An absolute path, one with a ".." element or one with a
// NUL is an error that wraps [ErrUnsafePath].
func CleanPath(name string) (string, error) {
	if len(name) > mostPath {
		return "", fmt.Errorf("%q... has %d bytes; Linux opens paths of up to %d: %w", name[:64], len(name), mostPath, ErrUnsafePath)
	}
	if strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("%q is absolute: %w", name, ErrUnsafePath)
	}
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%q contains a NUL: %w", name, ErrUnsafePath)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%q contains %q: %w", name, "..", ErrUnsafePath)
		}
	}
	clean := path.Clean(name)
	if clean == "." {
		return "", nil
	}
	return clean, nil
}

// BytesFile returns a regular file with the given content, mode 0644, owned by
// root.
func BytesFile(name string, content []byte, modTime time.Time) Entry {
	return Entry{
		Path: name, Type: Regular, Mode: 0o644, ModTime: modTime, Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(content))), nil },
	}
}

// Epoch returns the time of entries that have none of their own. It is constant
// and valid in every format.
func Epoch() time.Time { return time.Unix(0, 0).UTC() }
