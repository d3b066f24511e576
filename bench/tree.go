package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hookbuild/internal/initramfs"
)

// readTree returns the files below a directory with owners, hard links, devices
// and attributes. Contents are opened when they are read.
func readTree(root string) (*initramfs.Tree, error) {
	tree := &initramfs.Tree{}
	first := map[inode]string{} // the first name of a file with several
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		path := strings.TrimPrefix(name, root+"/")
		e, id, err := readEntry(name)
		if err != nil {
			return err
		}
		e.Path, e.Origin = path, root
		if id.links > 1 && e.Type != initramfs.Dir {
			if target, ok := first[id.inode]; ok {
				e = initramfs.Entry{Path: path, Type: initramfs.HardLink, Target: target, Origin: root}
			} else {
				first[id.inode] = path
			}
		}
		return tree.Add(e)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the files below %q: %w", root, err)
	}
	return tree, nil
}

type inode struct{ device, number uint64 }

type linked struct {
	inode
	links uint64
}

func readEntry(name string) (e initramfs.Entry, id linked, err error) {
	var s unix.Stat_t
	if err := unix.Lstat(name, &s); err != nil {
		return e, id, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	id = linked{inode{s.Dev, s.Ino}, s.Nlink}
	e = initramfs.Entry{Mode: s.Mode & 0o7777, UID: s.Uid, GID: s.Gid, ModTime: time.Unix(s.Mtim.Unix())}
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type, e.Size = initramfs.Regular, s.Size
		e.Open = func() (io.ReadCloser, error) { return os.Open(name) }
	case unix.S_IFDIR:
		e.Type = initramfs.Dir
	case unix.S_IFLNK:
		e.Type = initramfs.Symlink
		e.Target, err = os.Readlink(name)
	case unix.S_IFCHR:
		e.Type, e.Major, e.Minor = initramfs.CharDevice, unix.Major(s.Rdev), unix.Minor(s.Rdev)
	case unix.S_IFBLK:
		e.Type, e.Major, e.Minor = initramfs.BlockDevice, unix.Major(s.Rdev), unix.Minor(s.Rdev)
	case unix.S_IFIFO:
		e.Type = initramfs.Fifo
	default:
		e.Type = initramfs.Socket
	}
	if err != nil {
		return e, id, err
	}
	e.Xattrs, err = readXattrs(name)
	return e, id, err
}

func readXattrs(name string) (map[string]string, error) {
	list, err := grow(func(b []byte) (int, error) { return unix.Llistxattr(name, b) })
	if errors.Is(err, syscall.ENOTSUP) || len(list) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the attributes of %q: %w", name, err)
	}
	attributes := map[string]string{}
	for key := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		value, err := grow(func(b []byte) (int, error) { return unix.Lgetxattr(name, key, b) })
		if err != nil {
			return nil, fmt.Errorf("reading the attribute %q of %q: %w", key, name, err)
		}
		attributes[key] = string(value)
	}
	return attributes, nil
}

// grow calls a system call first for the required length, then to fill it.
func grow(get func([]byte) (int, error)) ([]byte, error) {
	n, err := get(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	b := make([]byte, n)
	n, err = get(b)
	if err != nil {
		return nil, err
	}
	return b[:n], nil
}
