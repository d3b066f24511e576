// Package atomicfile writes files that appear complete or not at all.
//
// Content goes to a temporary file in the directory of the file to come. Commit
// syncs it, renames it and syncs the directory. What a killed process leaves has
// a name that starts with [Prefix]; the next write into that directory removes
// it, unless the process that made it still holds its lock (flock(2)).
//
// An output that exists and is not a regular file, such as /dev/null, a named
// pipe or a terminal, is written to and never replaced. A symbolic link stays a
// link: the file that it names is replaced.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hookbuild/internal/fault"
)

// Prefix starts the names of temporary files.
const Prefix = ".hookbuild-"

// Mode is the permissions of a new file: what is made for machines to fetch can
// be read by a web server, whatever the umask is.
const Mode fs.FileMode = 0o644

// Stdout is the path that stands for standard output.
const Stdout = "-"

// Target is where an output goes.
type Target struct {
	// Path names a file, or standard output as [Stdout] or /dev/stdout.
	Path string
	// Stdout is standard output; nil means [os.Stdout].
	Stdout io.Writer
}

// IsStdout reports whether the output goes to standard output.
func (t Target) IsStdout() bool { return t.Path == Stdout || t.Path == "/dev/stdout" }

// Check reports an output that cannot be written, such as a directory, before
// any work is done for it. The error is marked [fault.Usage].
func (t Target) Check() error {
	if t.IsStdout() {
		return nil
	}
	_, err := t.Resolve()
	return err
}

// Resolve follows the symbolic links of the path and returns the file to
// replace; "" when what exists there must be written to and not replaced.
func (t Target) Resolve() (string, error) {
	path := t.Path
	if t.IsStdout() {
		return "", nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return "", fault.Usagef("writing %q: it is a directory; name a file", path)
	case err == nil && (!info.Mode().IsRegular() || isDescriptor(path)):
		return "", nil
	case err == nil:
		path, err = filepath.EvalSymlinks(path)
	case errors.Is(err, fs.ErrNotExist):
		path, err = followDangling(path)
	}
	if err != nil {
		return "", wrap(t.Path, err)
	}
	info, err = os.Stat(filepath.Dir(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fault.Usagef("writing %q: the directory %q does not exist; make it first", t.Path, filepath.Dir(path))
	case err != nil:
		return "", wrap(t.Path, err)
	case !info.IsDir():
		return "", fault.Usagef("writing %q: %q is not a directory", t.Path, filepath.Dir(path))
	case strings.HasSuffix(t.Path, "/"):
		return "", fault.Usagef("writing %q: it names a directory; name a file", t.Path)
	}
	return path, nil
}

// isDescriptor reports whether path names an open file of the process, which may
// be a regular file that a shell keeps open.
func isDescriptor(path string) bool {
	path = filepath.Clean(path)
	return path == "/dev/stderr" || strings.HasPrefix(path, "/dev/fd/") ||
		strings.HasPrefix(path, "/proc/") && strings.Contains(path, "/fd/")
}

// followDangling returns the file that a chain of links names, which does not
// exist.
func followDangling(path string) (string, error) {
	const longest = 40 // what Linux follows
	for range longest {
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // not a link
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return "", syscall.ELOOP
}

// File is an output being written.
type File struct {
	io.Writer
	// Mode is the permissions that Commit sets. It applies to files that
	// Create makes, not to devices.
	Mode fs.FileMode

	name string   // what the user called it
	path string   // the file that Commit replaces; "" when it is written in place
	file *os.File // nil for standard output and after Commit or Discard
}

// Create starts to write the file at path.
func Create(path string) (*File, error) { return Target{Path: path}.create(path) }

// Create starts to write the output. Call Commit when all is written, and
// Discard in any case.
func (t Target) Create() (*File, error) {
	if !t.IsStdout() {
		return t.create(t.Path)
	}
	if t.Stdout == nil {
		return &File{Writer: os.Stdout, name: t.Path}, nil
	}
	return &File{Writer: t.Stdout, name: t.Path}, nil
}

func (t Target) create(name string) (*File, error) {
	path, err := t.Resolve()
	if err != nil {
		return nil, err
	}
	var f *os.File
	if path == "" {
		f, err = os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	} else {
		if err := Sweep(filepath.Dir(path), Prefix, nil); err != nil {
			return nil, wrap(name, err)
		}
		f, err = createLocked(filepath.Dir(path))
	}
	if err != nil {
		return nil, wrap(name, err)
	}
	return &File{Writer: f, Mode: Mode, name: name, path: path, file: f}, nil
}

// Replaces reports whether Commit makes a regular file appear.
func (f *File) Replaces() bool { return f.path != "" }

// Sync writes what there is to the disk, so that less is left for Commit.
func (f *File) Sync() error {
	if !f.Replaces() || f.file == nil {
		return nil
	}
	return wrap(f.name, f.file.Sync())
}

// Commit makes the file appear.
func (f *File) Commit() error {
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	if !f.Replaces() {
		return wrap(f.name, file.Close())
	}
	err := errors.Join(file.Chmod(f.Mode), file.Sync())
	if err == nil {
		err = os.Rename(file.Name(), f.path) // before Close, which ends the lock
	}
	if err != nil {
		err = errors.Join(err, os.Remove(file.Name()))
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return wrap(f.name, err)
	}
	return wrap(f.name, SyncDir(filepath.Dir(f.path)))
}

// Discard removes the temporary file. It does nothing after Commit.
func (f *File) Discard() error {
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	if !f.Replaces() {
		return file.Close()
	}
	return wrap(f.name, errors.Join(os.Remove(file.Name()), file.Close()))
}

// Write writes the file at path with fill. Fill's own error is returned as it
// is.
func Write(path string, mode fs.FileMode, fill func(io.Writer) error) (err error) {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Discard()) }()
	f.Mode = mode
	if err := fill(f); err != nil {
		return err
	}
	return f.Commit()
}

// SyncDir writes a directory's entries to the disk. File systems that do not
// sync directories are left alone.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %q: %w", dir, err)
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// wrap names the output in err. A name that no file can have is the user's.
func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENAMETOOLONG) {
		return fault.Invalidf("writing %q: %w; give a shorter name", name, err)
	}
	return fmt.Errorf("writing %q: %w", name, err)
}
