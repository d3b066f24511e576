package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	tempPrefix = ".tmp-"
	// sweepAge protects the moment between another process's creating a
	// temporary file and locking it.
	sweepAge = time.Minute
)

// sweep removes the temporary files that no running process holds.
func (c *Cache) sweep() error {
	kinds, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		if !kind.IsDir() {
			continue
		}
		if err := sweepDir(filepath.Join(c.dir, kind.Name())); err != nil {
			return err
		}
	}
	return nil
}

func sweepDir(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		if !strings.HasPrefix(file.Name(), tempPrefix) {
			continue
		}
		if err := sweepFile(filepath.Join(dir, file.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func sweepFile(name string) error {
	info, err := os.Lstat(name)
	if err != nil || time.Since(info.ModTime()) < sweepAge {
		return err
	}
	if !info.Mode().IsRegular() {
		return os.RemoveAll(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	if tryLock(f) { // otherwise its writer is still running
		err = os.Remove(name)
	}
	return errors.Join(err, f.Close())
}

// tryLock takes the advisory lock of an open file, which is released with the
// file or its process. It returns false if another process holds the lock, and
// on a file system without locks, so nothing is swept there.
func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
