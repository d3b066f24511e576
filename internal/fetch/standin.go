package fetch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// StandIn returns path. If path does not exist, or this user may not read it or, if
// it is a directory, a file below it, StandIn returns other, unless that is empty.
// Any other problem with path is left to the code that opens it.
func StandIn(path, other string) string {
	if other == "" || !closed(path) {
		return path
	}
	return other
}

// closed reports whether a path does not exist or may not be read.
func closed(path string) bool {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR)
	case info.IsDir():
		err = fs.WalkDir(os.DirFS(path), ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				err = tryOpen(filepath.Join(path, name))
			}
			return err
		})
	case info.Mode().IsRegular():
		err = tryOpen(path)
	}
	return errors.Is(err, fs.ErrPermission)
}

func tryOpen(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
