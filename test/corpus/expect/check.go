package expect

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Times is how exactly times of last change are compared. Directories are
// compared only with Nanoseconds: adding a file changes theirs.
type Times int

// The choices.
const (
	NoTimes Times = iota
	Seconds
	Nanoseconds
)

// Options of [Check].
type Options struct {
	Times Times
	// NoXattrs ignores capabilities.
	NoXattrs bool
	// Skip lists paths that are ignored, with everything below them.
	Skip []string
}

// Container lists what a container runtime puts into every root file system.
func Container() []string {
	return []string{"proc", "sys", "dev", "worker", ".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", DocumentPath}
}

// Check compares the file system below root with the description and returns a
// sentence for every difference.
func Check(root string, d *Document, o Options) ([]string, error) {
	c := checker{root: root, options: o, want: map[string]File{}, seen: map[string]bool{}, inodes: map[Name]uint64{}}
	for _, f := range d.Files {
		c.want[string(f.Path)] = f
	}
	if err := filepath.WalkDir(root, c.visit); err != nil {
		return nil, fmt.Errorf("walking %q: %w", root, err)
	}
	for _, f := range d.Files {
		if !c.seen[string(f.Path)] && !c.skipped(string(f.Path)) {
			c.bad("%q is missing, a %s", f.Path, f.Type)
		}
	}
	c.checkGroups(d.Files)
	return c.problems, nil
}

type checker struct {
	root     string
	options  Options
	want     map[string]File
	seen     map[string]bool
	inodes   map[Name]uint64
	problems []string
}

func (c *checker) bad(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *checker) skipped(path string) bool {
	for _, s := range c.options.Skip {
		if path == s || strings.HasPrefix(path, s+"/") {
			return true
		}
	}
	return false
}

func (c *checker) visit(full string, entry fs.DirEntry, err error) error {
	path := strings.TrimPrefix(strings.TrimPrefix(full, c.root), "/")
	if err != nil {
		c.bad("%q cannot be read: %v", path, err)
		return nil
	}
	if path == "" {
		return nil
	}
	if c.skipped(path) {
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	want, known := c.want[path]
	if !known {
		c.bad("%q should not be there", path)
		return nil
	}
	c.seen[path] = true
	return c.compare(full, want)
}

// compare reports how the file at full differs from want.
func (c *checker) compare(full string, want File) error {
	var st unix.Stat_t
	if err := unix.Lstat(full, &st); err != nil {
		return fmt.Errorf("looking at %q: %w", full, err)
	}
	c.inodes[want.Path] = st.Ino
	kind := typeOf(st.Mode)
	if kind != want.Type {
		c.bad("%q is a %s, not a %s", want.Path, kind, want.Type)
		return nil
	}
	if mode := st.Mode & 0o7777; mode != want.Mode && kind != Symlink {
		c.bad("%q has mode %04o, not %04o", want.Path, mode, want.Mode)
	}
	if st.Uid != want.UID || st.Gid != want.GID {
		c.bad("%q belongs to %d:%d, not %d:%d", want.Path, st.Uid, st.Gid, want.UID, want.GID)
	}
	c.compareTime(st.Mtim, want)
	return c.compareContent(full, st, want)
}

func (c *checker) compareTime(got unix.Timespec, want File) {
	switch {
	case c.options.Times == NoTimes, c.options.Times == Seconds && want.Type == Directory:
	case got.Sec != want.Seconds, c.options.Times == Nanoseconds && got.Nsec != want.Nanoseconds:
		c.bad("%q was changed at %d.%09d, not at %d.%09d", want.Path, got.Sec, got.Nsec, want.Seconds, want.Nanoseconds)
	}
}

func (c *checker) compareContent(full string, st unix.Stat_t, want File) error {
	switch want.Type {
	case Symlink:
		target, err := os.Readlink(full)
		if err != nil {
			return fmt.Errorf("reading the symlink %q: %w", full, err)
		}
		if target != string(want.Target) {
			c.bad("%q points to %q, not %q", want.Path, target, want.Target)
		}
		return nil
	case CharDev, BlockDev:
		if major, minor := unix.Major(st.Rdev), unix.Minor(st.Rdev); major != want.Major || minor != want.Minor {
			c.bad("%q is device %d:%d, not %d:%d", want.Path, major, minor, want.Major, want.Minor)
		}
		return nil
	case Regular:
		if err := c.compareFile(full, st.Size, want); err != nil {
			return err
		}
	}
	return c.compareXattr(full, want)
}

func (c *checker) compareFile(full string, size int64, want File) (err error) {
	if size != want.Size {
		c.bad("%q has %d bytes, not %d", want.Path, size, want.Size)
		return nil
	}
	f, err := os.Open(full)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("reading %q: %w", full, err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != want.SHA256 {
		c.bad("%q holds other bytes: sha256 %s, not %s", want.Path, sum, want.SHA256)
	}
	return nil
}

func (c *checker) compareXattr(full string, want File) error {
	if c.options.NoXattrs || want.Type != Regular {
		return nil
	}
	var value [256]byte
	n, err := unix.Lgetxattr(full, "security.capability", value[:])
	if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("reading the capability of %q: %w", full, err)
	}
	if got := value[:max(n, 0)]; !bytes.Equal(got, want.Capability) {
		c.bad("%q has capability %x, not %x", want.Path, got, want.Capability)
	}
	return nil
}

// checkGroups compares which paths share an inode.
func (c *checker) checkGroups(files []File) {
	first := map[uint64]Name{}
	for _, f := range files {
		ino, ok := c.inodes[f.Path]
		if !ok || f.Type == Directory {
			continue
		}
		if other, taken := first[ino]; taken && f.SameAs != other {
			c.bad("%q shares its inode with %q", f.Path, other)
		} else if !taken {
			first[ino] = f.Path
		}
		if f.SameAs != "" && c.inodes[f.SameAs] != ino {
			c.bad("%q is no hard link to %q", f.Path, f.SameAs)
		}
	}
}

func typeOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return Regular
	case unix.S_IFDIR:
		return Directory
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFIFO:
		return Fifo
	case unix.S_IFCHR:
		return CharDev
	case unix.S_IFBLK:
		return BlockDev
	}
	return "socket"
}
