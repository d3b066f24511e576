// Package treetest helps tests to compare file trees: with one another, and
// with the output of other tools on disk.
package treetest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hookbuild/internal/initramfs"
)

// FromDir reads a directory of this machine, with hard links, devices and
// attributes. Contents are opened in place.
func FromDir(t testing.TB, root string) *initramfs.Tree {
	t.Helper()
	tree := &initramfs.Tree{}
	first := map[uint64]string{}
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		e, inode, err := fromDisk(name)
		e.Path = rel
		if target, ok := first[inode]; ok && e.Type != initramfs.Dir {
			e = initramfs.Entry{Path: rel, Type: initramfs.HardLink, Target: target}
		}
		first[inode] = rel
		return errors.Join(err, tree.Add(e))
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func fromDisk(name string) (e initramfs.Entry, inode uint64, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return e, 0, err
	}
	e = initramfs.Entry{
		Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, ModTime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec),
		Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Size = st.Size
		e.Open = func() (io.ReadCloser, error) { return os.Open(name) }
	case unix.S_IFDIR:
		e.Type = initramfs.Dir
	case unix.S_IFLNK:
		e.Type = initramfs.Symlink
		e.Target, err = os.Readlink(name)
	case unix.S_IFCHR:
		e.Type = initramfs.CharDevice
	case unix.S_IFBLK:
		e.Type = initramfs.BlockDevice
	case unix.S_IFIFO:
		e.Type = initramfs.Fifo
	case unix.S_IFSOCK:
		e.Type = initramfs.Socket
	}
	if err == nil {
		e.Xattrs, err = xattrs(name)
	}
	return e, st.Ino, err
}

func xattrs(name string) (map[string]string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(name, list)
	if errors.Is(err, unix.ENOTSUP) || n <= 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	value := make([]byte, 64<<10)
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(name, attr, value)
		if err != nil {
			return nil, fmt.Errorf("reading %s of %q: %w", attr, name, err)
		}
		all[attr] = string(value[:n])
	}
	return all, nil
}

// Lines lists a tree, one line per entry, such that two trees have the same
// lines if no program could distinguish them: type, mode, owner, time in
// seconds, target, device, attributes, names, size and checksum.
func Lines(t testing.TB, tree *initramfs.Tree) []string {
	t.Helper()
	var lines []string
	for e := range tree.All() {
		file := e
		if e.Type == initramfs.HardLink {
			file, _ = tree.Lookup(e.Target)
		}
		line := fmt.Sprintf("%q %s %04o %d:%d %d", e.Path, file.Type, file.Mode, file.UID, file.GID, max(file.ModTime.Unix(), 0))
		switch file.Type {
		case initramfs.Regular:
			line += " " + Sum(t, file)
		case initramfs.Symlink:
			line += fmt.Sprintf(" -> %q", file.Target)
		case initramfs.CharDevice, initramfs.BlockDevice:
			line += fmt.Sprintf(" %d,%d", file.Major, file.Minor)
		}
		for _, name := range slices.Sorted(maps.Keys(file.Xattrs)) {
			line += fmt.Sprintf(" %s=%s", name, shorten(file.Xattrs[name]))
		}
		if names := append(tree.Names(file.Path), file.Path); len(names) > 1 {
			slices.Sort(names)
			line += fmt.Sprintf(" names %q", names)
		}
		lines = append(lines, line)
	}
	return lines
}

func shorten(value string) string {
	if len(value) < 40 {
		return hex.EncodeToString([]byte(value))
	}
	return fmt.Sprintf("%d:%08x", len(value), crc32.ChecksumIEEE([]byte(value)))
}

// Sum returns size and checksum of a regular file, and ends the test if the
// content cannot be read or does not have the entry's size.
func Sum(t testing.TB, e initramfs.Entry) string {
	t.Helper()
	h := crc32.NewIEEE()
	var n int64
	if e.Open != nil {
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		n, err = io.Copy(h, r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatalf("%q: %v", e.Path, err)
		}
	}
	if n != e.Size {
		t.Fatalf("%q has %d bytes, its size is %d", e.Path, n, e.Size)
	}
	return fmt.Sprintf("%d:%08x", n, h.Sum32())
}
