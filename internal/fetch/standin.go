package fetch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// StandIn returns the path of a file. If the file does not exist, or this user may not
// read it, StandIn returns other, unless that is empty. Any other problem with path is
// left to the code that opens it.
func StandIn(path, other string) string {
	if other == "" || !closed(path) {
		return path
	}
	return other
}

// StandInTree is [StandIn] for a path that may be a directory, below which this user has
// to be able to read all files. If ctx ends before that is known, it returns path.
func StandInTree(ctx context.Context, path, other string) string {
	info, err := os.Stat(path)
	if other == "" || err != nil || !info.IsDir() {
		return StandIn(path, other)
	}
	err = fs.WalkDir(os.DirFS(path), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && d.Type().IsRegular():
			return tryOpen(filepath.Join(path, name))
		}
		return err
	})
	if errors.Is(err, fs.ErrPermission) {
		return other
	}
	return path
}

// closed reports whether a path does not exist or, as a file, may not be read.
func closed(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR)
	}
	return info.Mode().IsRegular() && errors.Is(tryOpen(path), fs.ErrPermission)
}

func tryOpen(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
