package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// attempts bounds how often a name is made again that another process swept in
// the moment before it was locked.
const attempts = 16

// createLocked makes a temporary file in dir and locks it.
func createLocked(dir string) (*os.File, error) {
	for range attempts {
		f, err := os.CreateTemp(dir, Prefix)
		if err != nil {
			return nil, err
		}
		if TryLock(f) {
			return f, nil
		}
		_ = f.Close() // swept: it has no name and no content
	}
	return nil, fmt.Errorf("making a temporary file in %q: it is removed each time", dir)
}

// TempDir makes a directory in dir whose name starts with prefix, and locks it.
// Closing the returned file ends the lock, after which [Sweep] removes the
// directory.
func TempDir(dir, prefix string) (path string, held *os.File, err error) {
	for range attempts {
		if path, err = os.MkdirTemp(dir, prefix); err != nil {
			return "", nil, err
		}
		held, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept
		}
		if err != nil {
			return "", nil, errors.Join(err, os.Remove(path))
		}
		if TryLock(held) {
			return path, held, nil
		}
		_ = held.Close() // swept
	}
	return "", nil, fmt.Errorf("making a temporary directory in %q: it is removed each time", dir)
}

// ReplaceDir puts a directory, with what fill writes into it, in the place of dir.
// Until fill is done, dir is as it was. What killed processes left beside dir is
// removed.
func ReplaceDir(dir string, fill func(part string) error) (err error) {
	beside := filepath.Dir(dir)
	if err := os.MkdirAll(beside, 0o755); err != nil {
		return err
	}
	if err := Sweep(beside, Prefix, nil); err != nil {
		return err
	}
	part, held, err := TempDir(beside, Prefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part), held.Close()) }()
	if err := fill(part); err != nil {
		return err
	}
	for range attempts {
		if err = os.RemoveAll(dir); err != nil {
			return err
		}
		if err = os.Rename(part, dir); !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Another process has put its own there.
	}
	return err
}

// TryLock takes the lock of an open file, as [Lock] does, without waiting. It reports
// whether it has the lock and the file still has its name. Where the file system has
// no locks, nothing is swept either.
func TryLock(f *os.File) bool {
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == syscall.EWOULDBLOCK {
		return false // for example, a sweep has it and is about to remove the file
	}
	return HasName(f)
}

// HasName reports whether an open file still has the name under which it was
// opened, as one that was renamed or removed has not.
func HasName(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(mine, named)
}

// Lock takes the lock of an open file or directory, waiting until no other
// process holds it. Waits, unless nil, is called once if it has to wait. Closing
// the file ends the lock. Where the file system has no locks, Lock does nothing.
func Lock(ctx context.Context, f *os.File, waits func()) error {
	const pause = 100 * time.Millisecond
	for syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == syscall.EWOULDBLOCK {
		if waits != nil {
			waits()
			waits = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

// Sweep removes the files and directories in dir whose names start with prefix
// and that no process holds. What belongs to another user stays. Rescue, unless
// nil, is called with the path of each before it is removed.
func Sweep(dir, prefix string, rescue func(path string) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // files can be made in it all the same
	}
	if err != nil {
		return fmt.Errorf("looking for what an interrupted run left: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !e.Type().IsRegular() && !e.IsDir() {
			continue
		}
		err := sweepOne(filepath.Join(dir, e.Name()), rescue)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("removing what an interrupted run left: %w", err)
		}
	}
	return nil
}

func sweepOne(path string, rescue func(string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		if rescue != nil {
			err = rescue(path)
		}
		if err == nil {
			err = os.RemoveAll(path)
		}
	}
	return errors.Join(err, f.Close())
}
