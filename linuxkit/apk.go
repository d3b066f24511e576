package linuxkit

import (
	"errors"
	"io"
	"strings"

	"hookbuild/internal/initramfs"
)

// apkDatabase is the list of installed packages of Alpine's package manager.
// Each init image has its own; the system's is their union, so that scanners
// find every package.
const apkDatabase = "lib/apk/db/installed"

// packageDatabase returns an image's package database, if it has one.
func packageDatabase(tree *initramfs.Tree) (initramfs.Entry, bool) {
	return regularFile(tree, apkDatabase)
}

// regularFile looks up a file through symlinks and hard links.
func regularFile(tree *initramfs.Tree, name string) (initramfs.Entry, bool) {
	e, ok := tree.Find(name)
	return e, ok && e.Type == initramfs.Regular
}

// uniteDatabases adds the union of several databases. It adds an empty line
// after each, because empty lines separate records.
func (l *layout) uniteDatabases(databases []initramfs.Entry) error {
	if len(databases) < 2 {
		return nil
	}
	const separator = "\n\n"
	united := initramfs.Entry{Path: apkDatabase, Type: initramfs.Regular, Mode: 0o644}
	for _, db := range databases {
		united.Size += db.Size + int64(len(separator))
	}
	united.Open = func() (io.ReadCloser, error) { return openAll(databases, separator) }
	s := l.begin(Part{Where: "init", Name: "package database"})
	return s.add(s.own(united))
}

// openAll opens the concatenation of the contents, with the separator after
// each.
func openAll(files []initramfs.Entry, separator string) (io.ReadCloser, error) {
	all := &joined{}
	var readers []io.Reader
	for _, f := range files {
		if f.Open != nil {
			r, err := f.Open()
			if err != nil {
				return nil, errors.Join(err, all.Close())
			}
			all.closers = append(all.closers, r)
			readers = append(readers, r)
		}
		readers = append(readers, strings.NewReader(separator))
	}
	all.Reader = io.MultiReader(readers...)
	return all, nil
}

type joined struct {
	io.Reader
	closers []io.Closer
}

// Close closes all files, even if closing one fails.
func (j *joined) Close() error {
	var errs []error
	for _, c := range j.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
