package kernel

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

const (
	modulesRoot = "lib/modules"
	// mostKernelFile limits a kernel file that has to be held in memory.
	mostKernelFile = 512 << 20
)

// readerAtCloser is an open file that can be read at any offset.
type readerAtCloser interface {
	io.ReaderAt
	io.Closer
}

type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }

// openAt opens an entry's content for reading at any offset. Entries of tar
// archives and files support that themselves; any other content is read into
// memory.
func openAt(e initramfs.Entry) (readerAtCloser, error) {
	if e.Open == nil {
		return memoryFile{bytes.NewReader(nil)}, nil
	}
	content, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("opening %q of %s: %w", e.Path, e.Origin, err)
	}
	if at, ok := content.(readerAtCloser); ok {
		return at, nil
	}
	defer content.Close()
	if e.Size > mostKernelFile {
		return nil, invalid("reading %q of %s: %d bytes is too large for a kernel", e.Path, e.Origin, e.Size)
	}
	var held bytes.Buffer
	if _, err := io.Copy(&held, io.LimitReader(content, e.Size)); err != nil {
		return nil, fmt.Errorf("reading %q of %s: %w", e.Path, e.Origin, err)
	}
	return memoryFile{bytes.NewReader(held.Bytes())}, nil
}

// moduleRelease returns the name of the only directory in lib/modules, or "" if
// there is no directory.
func moduleRelease(t *initramfs.Tree) (string, error) {
	release := ""
	for e := range t.All() {
		if e.Type != initramfs.Dir || path.Dir(e.Path) != modulesRoot {
			continue
		}
		if release != "" {
			return "", fmt.Errorf("it has modules for two releases, %s and %s; keep one", release, path.Base(e.Path))
		}
		release = path.Base(e.Path)
	}
	return release, nil
}

// modulePath returns the path in [Image.Modules] of a file of an archive. It
// returns false for files that are not modules' and for the links to the
// build's source.
func modulePath(name string) (string, bool) {
	name = strings.TrimPrefix(name, "usr/")
	if name != modulesRoot && !strings.HasPrefix(name, modulesRoot+"/") {
		return "", false
	}
	parts := strings.Split(name, "/")
	if len(parts) == 4 && (parts[3] == "build" || parts[3] == "source") {
		return "", false
	}
	return name, true
}

// besideModules returns the name of a file that a distribution keeps with the
// modules but that is none of them: vmlinuz, config, System.map and the
// directory dtb in lib/modules/RELEASE, as Debian does since Linux 7.3 and
// Fedora.
func besideModules(e initramfs.Entry) (name string, ok bool) {
	place, ok := modulePath(e.Path)
	parts := strings.SplitN(place, "/", 4) // lib, modules, RELEASE, name
	if !ok || len(parts) < 4 {
		return "", false
	}
	switch name = parts[3]; name {
	case "vmlinuz", "config", ociSystemMap:
		return name, e.Type == initramfs.Regular
	}
	return name, name == "dtb" || strings.HasPrefix(name, "dtb/")
}

// addBeside adds such a file, unless another was found in its usual place.
func (m *Image) addBeside(name string, e initramfs.Entry) error {
	switch {
	case name == "vmlinuz" && m.Kernel.Path == "":
		m.Kernel = *renamed(e, ociKernel)
	case name == "config" && m.Config == nil:
		m.Config = renamed(e, ociConfig)
	case name == ociSystemMap && m.SystemMap == nil:
		m.SystemMap = renamed(e, ociSystemMap)
	case strings.HasPrefix(name, "dtb/") && (e.Type == initramfs.Regular || e.Type == initramfs.Dir):
		e.Path = strings.TrimPrefix(name, "dtb/")
		return m.DTBs.Add(e)
	}
	return nil
}

// addModule adds e to the tree if it is one of the modules' files.
func addModule(t *initramfs.Tree, e initramfs.Entry) error {
	name, ok := modulePath(e.Path)
	if !ok {
		return nil
	}
	e.Path = name
	if e.Type == initramfs.HardLink {
		target, ok := modulePath(e.Target)
		if !ok {
			return invalid("reading %q of %s: it is a hard link to %q, outside the modules", e.Path, e.Origin, e.Target)
		}
		e.Target = target
	}
	return t.Add(e)
}

// addShipped adds a file of a kernel image's archive to the tree. The archive
// may hold firmware as well as modules; LinuxKit unpacks all of it.
func addShipped(t *initramfs.Tree, e initramfs.Entry) error {
	name := strings.TrimPrefix(e.Path, "usr/")
	switch {
	case name == modulesRoot || strings.HasPrefix(name, modulesRoot+"/"):
		return addModule(t, e)
	case e.Path == "":
		return nil
	}
	return t.Add(e)
}

// renamed returns e with another path and plain permissions.
func renamed(e initramfs.Entry, name string) *initramfs.Entry {
	e.Path, e.Mode, e.UID, e.GID = name, 0o644, 0, 0
	return &e
}

// invalid returns an error about an input.
func invalid(format string, args ...any) error {
	return fault.Invalidf(format, args...)
}
