package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hookbuild/test/testneed"
)

// oldRoot makes a root with everything that moveRoot treats in its own way.
func oldRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	steps := []error{
		os.MkdirAll(filepath.Join(root, "usr/bin"), 0o750),
		os.WriteFile(filepath.Join(root, "usr/bin/su"), []byte("setuid"), 0o755),
		os.Chmod(filepath.Join(root, "usr/bin/su"), fs.ModeSetuid|0o755),
		os.Link(filepath.Join(root, "usr/bin/su"), filepath.Join(root, "usr/bin/sudo")),
		os.Symlink("/nowhere", filepath.Join(root, "dangling")),
		unix.Mkfifo(filepath.Join(root, "pipe"), 0o640),
		unix.Mknod(filepath.Join(root, "whiteout"), unix.S_IFCHR|0o600, 0),
		os.WriteFile(filepath.Join(root, "capable"), []byte("x"), 0o644),
		unix.Setxattr(filepath.Join(root, "capable"), "trusted.lab", []byte("y"), 0),
		os.Lchown(filepath.Join(root, "capable"), 12, 34),
		os.Chtimes(filepath.Join(root, "capable"), time.Unix(5, 6), time.Unix(7, 8)),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestMoveRoot(t *testing.T) {
	testneed.Root(t)
	from, to := oldRoot(t), t.TempDir()
	if err := moveRoot(from, to); err != nil {
		t.Fatal(err)
	}
	stat := func(name string) (s unix.Stat_t) {
		t.Helper()
		if err := unix.Lstat(filepath.Join(to, name), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}

	t.Run("kept", func(t *testing.T) {
		if s := stat("usr/bin/su"); s.Mode != unix.S_IFREG|unix.S_ISUID|0o755 {
			t.Errorf("a setuid program has mode %o", s.Mode)
		}
		if s := stat("usr/bin"); s.Mode != unix.S_IFDIR|0o750 {
			t.Errorf("a directory has mode %o", s.Mode)
		}
		if s := stat("pipe"); s.Mode != unix.S_IFIFO|0o640 {
			t.Errorf("a pipe has mode %o", s.Mode)
		}
		if s := stat("capable"); s.Uid != 12 || s.Gid != 34 || s.Mtim != unix.NsecToTimespec(time.Unix(7, 8).UnixNano()) {
			t.Errorf("owner %d:%d, time %v", s.Uid, s.Gid, s.Mtim)
		}
		if target, err := os.Readlink(filepath.Join(to, "dangling")); target != "/nowhere" || err != nil {
			t.Errorf("symlink to %q, %v", target, err)
		}
	})
	t.Run("lost", func(t *testing.T) {
		if stat("usr/bin/su").Ino == stat("usr/bin/sudo").Ino {
			t.Error("a hard link survived; LinuxKit's init splits it")
		}
		if s := stat("whiteout"); s.Mode&unix.S_IFMT != unix.S_IFREG || s.Size != 0 {
			t.Errorf("a whiteout has mode %o; LinuxKit's init makes an empty file of it", s.Mode)
		}
		if _, err := unix.Lgetxattr(filepath.Join(to, "capable"), "trusted.lab", nil); !errors.Is(err, syscall.ENODATA) {
			t.Errorf("reading an attribute gives %v; LinuxKit's init drops it", err)
		}
	})
	if left, err := os.ReadDir(from); len(left) > 0 || err != nil {
		t.Errorf("the old root still holds %v, %v", left, err)
	}
}

func TestMoveRootRefusesASocket(t *testing.T) {
	from := t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(from, "socket")}); err != nil {
		t.Fatal(err)
	}
	if err := moveRoot(from, t.TempDir()); err == nil || !strings.Contains(err.Error(), "socket") {
		t.Errorf("got %v", err)
	}
}

func TestEnabledCgroups(t *testing.T) {
	list := "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t1\nmemory\t0\t1\t0\npids\t0\t1\t1\n"
	if got := enabledCgroups(list); !slices.Equal(got, []string{"cpuset", "pids"}) {
		t.Errorf("got %v", got)
	}
}

func TestMountOptions(t *testing.T) {
	for _, c := range []struct {
		options []string
		flags   uintptr
		data    string
	}{
		{nil, 0, ""},
		{[]string{"remount", "private"}, unix.MS_REMOUNT | unix.MS_PRIVATE, ""},
		{[]string{"rbind", "rw", "ro"}, unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY, ""},
		{[]string{"ro", "rw"}, 0, ""},
		{[]string{"lowerdir=/a", "nosuid", "upperdir=/b"}, unix.MS_NOSUID, "lowerdir=/a,upperdir=/b"},
	} {
		flags, data := mountOptions(c.options)
		if flags != c.flags || data != c.data {
			t.Errorf("%v: got %#x %q, want %#x %q", c.options, flags, data, c.flags, c.data)
		}
	}
}

func TestInBundle(t *testing.T) {
	if got := inBundle("/containers/services/x", "tmp"); got != "/containers/services/x/rootfs/tmp" {
		t.Error(got)
	}
	if got := inBundle("/containers/services/x", "/run/y"); got != "/run/y" {
		t.Error(got)
	}
}
