package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const newRoot = "/mnt"

// enterNewRoot leaves the kernel's root file system, which nothing can pivot
// away from, for a tmpfs with the same files, and runs /sbin/init there.
func enterNewRoot() error {
	if err := unix.Mount("rootfs", newRoot, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mounting a new root: %w", err)
	}
	if err := moveRoot("/", newRoot); err != nil {
		return fmt.Errorf("copy root failed: %w", err)
	}
	if err := switchRoot(newRoot); err != nil {
		return err
	}
	return fmt.Errorf("running /sbin/init: %w", syscall.Exec("/sbin/init", []string{"/sbin/init"}, os.Environ()))
}

func switchRoot(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("entering the new root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the new root over the old one: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("changing to the new root: %w", err)
	}
	return os.Chdir("/")
}

// moveRoot moves the files of one file system to another, a directory that
// exists. It does so as LinuxKit's init does, faults included:
//   - the new tmpfs has the default options, so it holds half of the RAM: a
//     larger root ends the boot;
//   - a file with several names becomes several files;
//   - a device is made with Go's mode bits, in which the kernel finds no type:
//     it comes out as an empty regular file. So does an overlay whiteout, the
//     device 0:0;
//   - extended attributes are not copied;
//   - a socket is an error.
func moveRoot(from, to string) error {
	device, err := deviceOf(from)
	if err != nil {
		return err
	}
	if err := copyDirectories(from, to, device); err != nil {
		return err
	}
	if err := moveFiles(from, to, device); err != nil {
		return err
	}
	return removeRest(from, device)
}

func deviceOf(dir string) (uint64, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	return statOf(info).Dev, nil
}

func statOf(info fs.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }

func copyDirectories(from, to string, device uint64) error {
	return filepath.Walk(from, func(name string, info fs.FileInfo, err error) error {
		if err != nil || !info.IsDir() {
			return err
		}
		dest, err := destination(from, name, to)
		if err != nil {
			return err
		}
		if err := os.Mkdir(dest, info.Mode()); err != nil && name != from {
			return err
		}
		if err := copyMetadata(info, dest); err != nil {
			return err
		}
		if statOf(info).Dev != device {
			return filepath.SkipDir
		}
		return nil
	})
}

func moveFiles(from, to string, device uint64) error {
	return filepath.Walk(from, func(name string, info fs.FileInfo, err error) error {
		switch {
		case err != nil:
			return err
		case info.IsDir() && statOf(info).Dev != device:
			return filepath.SkipDir
		case info.IsDir():
			return nil
		}
		dest, err := destination(from, name, to)
		if err != nil {
			return err
		}
		if err := moveFile(name, dest, info); err != nil {
			return fmt.Errorf("moving %q: %w", name, err)
		}
		return copyMetadata(info, dest)
	})
}

func destination(from, name, to string) (string, error) {
	rel, err := filepath.Rel(from, name)
	return filepath.Join(to, rel), err
}

func moveFile(name, dest string, info fs.FileInfo) error {
	mode := info.Mode()
	switch {
	case mode.IsRegular():
		if err := copyContent(name, dest, mode); err != nil {
			return err
		}
		return os.Remove(name)
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(name)
		if err != nil {
			return err
		}
		return os.Symlink(target, dest)
	case mode&fs.ModeDevice != 0:
		// The type is in Go's high bits, which mknod(2) does not see.
		return unix.Mknod(dest, uint32(mode), int(statOf(info).Rdev))
	case mode&fs.ModeNamedPipe != 0:
		return unix.Mkfifo(dest, uint32(mode))
	}
	return errors.New("a socket or an unknown type cannot be moved")
}

func copyContent(name, dest string, mode fs.FileMode) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(dest, os.O_WRONLY|os.O_CREATE, mode)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	for n := 1; n > 0 && err == nil; {
		n, err = unix.Sendfile(int(out.Fd()), int(in.Fd()), nil, 1<<30)
	}
	return errors.Join(err, in.Close(), out.Close())
}

// copyMetadata sets owner, times and mode, in the order in which a setuid bit
// survives.
func copyMetadata(info fs.FileInfo, dest string) error {
	stat := statOf(info)
	if err := unix.Lchown(dest, int(stat.Uid), int(stat.Gid)); err != nil {
		return fmt.Errorf("setting the owner of %q: %w", dest, err)
	}
	times := []unix.Timespec{unix.Timespec(stat.Atim), unix.Timespec(stat.Mtim)}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, dest, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("setting the times of %q: %w", dest, err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	return os.Chmod(dest, info.Mode())
}

// removeRest empties the old root, as far as it can be, for its RAM.
func removeRest(from string, device uint64) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("emptying the old root: %w", err)
	}
	for _, e := range entries {
		name := filepath.Join(from, e.Name())
		if d, err := deviceOf(name); err != nil || d == device {
			_ = os.RemoveAll(name) // what is left costs memory, nothing else
		}
	}
	return nil
}
