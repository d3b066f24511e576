package lab

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// programs is an unpacked set of Debian packages to take programs from.
type programs struct {
	root string // a directory of this machine
	arch architecture
}

// unpackPrograms unpacks the package files below dir into dest.
func unpackPrograms(ctx context.Context, dir string, list []deb, dest, arch string) (programs, error) {
	for _, d := range list {
		out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", filepath.Join(dir, d.File), dest).CombinedOutput()
		if err != nil {
			return programs{}, fmt.Errorf("unpacking %q: %w: %s", d.File, err, tail(string(out)))
		}
	}
	return programs{root: dest, arch: architectures()[arch]}, nil
}

// find returns the file of one of the names, relative to the root, with the
// symlinks on the way followed. Debian 12 and 13 differ in where things are.
func (p programs) find(names ...string) (string, error) {
	for _, name := range names {
		target, err := filepath.EvalSymlinks(filepath.Join(p.root, name))
		if err == nil && strings.HasPrefix(target, p.root+"/") {
			return strings.TrimPrefix(target, p.root+"/"), nil
		}
	}
	return "", fmt.Errorf("finding %v: no Debian package that was fetched has it", names)
}

// program returns the files that a program needs to run: itself under the name
// at, its interpreter and libraries where the interpreter looks for them.
func (p programs) program(name, at string) ([]file, error) {
	found, err := p.find("usr/bin/"+name, "usr/sbin/"+name, "bin/"+name, "sbin/"+name)
	if err != nil {
		return nil, err
	}
	files := []file{p.file(at, found, 0o755)}
	libraries, err := p.libraries(found)
	if err != nil {
		return nil, fmt.Errorf("collecting the libraries of %q: %w", name, err)
	}
	return append(files, libraries...), nil
}

func (p programs) file(at, found string, mode int64) file {
	name := filepath.Join(p.root, found)
	return file{name: at, mode: mode, open: func() (io.ReadCloser, int64, error) { return openSized(name) }}
}

func openSized(name string) (io.ReadCloser, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// libraries walks the needs of an ELF file, and those of what it needs.
func (p programs) libraries(found string) ([]file, error) {
	var files []file
	seen := map[string]bool{}
	queue := []string{found}
	for len(queue) > 0 {
		needs, interpreter, err := p.needs(queue[0])
		if err != nil {
			return nil, err
		}
		queue = queue[1:]
		if interpreter != "" {
			needs = append(needs, interpreter)
		}
		for _, need := range needs {
			if seen[path.Base(need)] {
				continue
			}
			seen[path.Base(need)] = true
			at, lib, err := p.library(need)
			if err != nil {
				return nil, err
			}
			files = append(files, p.file(at, lib, 0o755))
			queue = append(queue, lib)
		}
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// library tells where a needed library goes and where it is; an interpreter
// comes with its whole path.
func (p programs) library(need string) (at, found string, err error) {
	base := path.Base(need)
	dirs := []string{"lib/" + p.arch.triplet, "usr/lib/" + p.arch.triplet, "lib64", "usr/lib64", "lib", "usr/lib"}
	var names []string
	for _, dir := range dirs {
		names = append(names, path.Join(dir, base))
	}
	found, err = p.find(names...)
	at = names[0]
	if strings.HasPrefix(need, "/") {
		at = strings.TrimPrefix(need, "/")
	}
	return at, found, err
}

// needs reads what an ELF file is linked to, and the name of its interpreter.
func (p programs) needs(found string) (libraries []string, interpreter string, err error) {
	f, err := elf.Open(filepath.Join(p.root, found))
	if err != nil {
		return nil, "", fmt.Errorf("reading %q: %w", found, err)
	}
	libraries, err = f.ImportedLibraries()
	for _, segment := range f.Progs {
		if segment.Type != elf.PT_INTERP || err != nil {
			continue
		}
		raw := make([]byte, min(segment.Filesz, 4096))
		_, err = segment.ReadAt(raw, 0)
		interpreter = strings.TrimRight(string(raw), "\x00")
	}
	return libraries, interpreter, errors.Join(err, f.Close())
}
