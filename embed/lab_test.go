package embed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hookbuild/internal/initramfs"
	"hookbuild/test/testneed"
)

// privateMounts runs the rest of the test in a new mount namespace, in a
// process started for it: its mounts disappear with it. It returns true in that
// process; the other one is done when it returns.
func privateMounts(t *testing.T) bool {
	t.Helper()
	testneed.Root(t)
	const inside = "HOOKBUILD_TEST_INSIDE"
	if os.Getenv(inside) == t.Name() {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	args := []string{"-test.run", "^" + t.Name() + "$", "-test.v"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout", time.Until(deadline).String())
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("inside a mount namespace: %v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		testneed.Missing(t, "what the test needs inside a mount namespace", string(out))
	}
	return false
}

// machine is a directory that acts as the root of a machine that has just
// booted: LinuxKit's /init has copied the initramfs, and a busybox is there.
type machine struct{ root string }

// boot returns a machine whose initramfs holds the tree.
func boot(t *testing.T, tree *initramfs.Tree) *machine {
	t.Helper()
	m := &machine{root: t.TempDir()}
	mount(t, "tmpfs", m.root, "tmpfs", 0)
	m.installBusybox(t)
	m.copyAsInit(t, tree)
	for _, d := range []string{"proc", "run", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(m.root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount(t, "proc", m.root+"/proc", "proc", 0)
	mount(t, "tmpfs", m.root+"/run", "tmpfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC)
	mount(t, "/dev", m.root+"/dev", "", unix.MS_BIND)
	// rc.init makes the root read-only before it runs /etc/init.d.
	mount(t, "", m.root, "", unix.MS_REMOUNT|unix.MS_RDONLY)
	return m
}

func mount(t *testing.T, source, target, fstype string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(source, target, fstype, flags, ""); err != nil {
		t.Fatalf("mounting %s on %s: %v", source, target, err)
	}
	if flags&unix.MS_REMOUNT == 0 {
		t.Cleanup(func() {
			if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
				t.Errorf("unmounting %s: %v", target, err)
			}
		})
	}
}

func (m *machine) installBusybox(t *testing.T) {
	t.Helper()
	binary, err := os.ReadFile(testneed.Tool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(m.root+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.root+"/bin/busybox", binary, 0o755); err != nil {
		t.Fatal(err)
	}
	m.run(t, "/bin/busybox", "--install", "-s", "/bin")
}

// installSetfattr installs this machine's setfattr, which HookOS does not have,
// and its libraries.
func (m *machine) installSetfattr(t *testing.T) {
	t.Helper()
	program := testneed.Tool(t, "setfattr")
	mount(t, "", m.root, "", unix.MS_REMOUNT)
	if err := os.WriteFile(m.root+"/bin/setfattr", nil, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, program, m.root+"/bin/setfattr", "", unix.MS_BIND)
	for _, dir := range []string{"/lib", "/lib64"} {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := os.Mkdir(m.root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		mount(t, dir, m.root+dir, "", unix.MS_BIND)
	}
	mount(t, "", m.root, "", unix.MS_REMOUNT|unix.MS_RDONLY)
}

// run executes a program inside the machine.
func (m *machine) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: m.root}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s in the machine: %v\n%s", program, err, out)
	}
	return string(out)
}

// copyAsInit unpacks the tree with everything that the kernel's cpio and
// LinuxKit's /init do to it: no xattrs, times in seconds, hard links copied,
// device nodes turned into regular files, directories created (and dated)
// before they are filled.
func (m *machine) copyAsInit(t *testing.T, tree *initramfs.Tree) {
	t.Helper()
	all := slices.Collect(tree.All())
	for _, e := range all {
		if e.Type == initramfs.Dir {
			at := filepath.Join(m.root, e.Path)
			if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
			setMetadata(t, at, e)
		}
	}
	for _, e := range all {
		if e.Type == initramfs.Dir {
			continue
		}
		if e.Type == initramfs.HardLink {
			at := e.Path
			e, _ = tree.Lookup(e.Target)
			e.Path = at
		}
		at := filepath.Join(m.root, e.Path)
		if err := create(at, e); err != nil {
			t.Fatal(err)
		}
		setMetadata(t, at, e)
	}
}

func create(at string, e initramfs.Entry) error {
	switch e.Type {
	case initramfs.Regular:
		return writeFile(at, e)
	case initramfs.Symlink:
		return os.Symlink(e.Target, at)
	case initramfs.Fifo:
		return unix.Mkfifo(at, e.Mode)
	case initramfs.CharDevice, initramfs.BlockDevice:
		return unix.Mknod(at, e.Mode, int(unix.Mkdev(e.Major, e.Minor)))
	}
	return fmt.Errorf("LinuxKit's init cannot copy %q, a %s", e.Path, e.Type)
}

func writeFile(at string, e initramfs.Entry) error {
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if e.Open != nil {
		content, err := e.Open()
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, content); err != nil {
			return err
		}
		if err := content.Close(); err != nil {
			return err
		}
	}
	return f.Close()
}

func setMetadata(t *testing.T, at string, e initramfs.Entry) {
	t.Helper()
	second := unix.Timespec{Sec: e.ModTime.Unix()}
	err := errors.Join(
		unix.Lchown(at, int(e.UID), int(e.GID)),
		unix.UtimesNanoAt(unix.AT_FDCWD, at, []unix.Timespec{second, second}, unix.AT_SYMLINK_NOFOLLOW),
	)
	if e.Type != initramfs.Symlink {
		err = errors.Join(err, unix.Chmod(at, e.Mode))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// startUp runs the boot script as LinuxKit does and returns its console output.
func (m *machine) startUp(t *testing.T) string {
	t.Helper()
	return m.run(t, "/"+ScriptPath)
}

// describe lists the files below dir, one per line, with all their properties.
// The names of one file are a group: the first one has the attributes. Files
// for which skip returns true are omitted.
func describe(t *testing.T, dir string, skip func(name string) bool) string {
	t.Helper()
	var lines []string
	type inode struct{ device, number uint64 }
	first := map[inode]string{}
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || at == dir {
			return err
		}
		name, err := filepath.Rel(dir, at)
		if err != nil {
			return err
		}
		if skip(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			return fmt.Errorf("looking at %q: %w", at, err)
		}
		file := inode{st.Dev, st.Ino}
		if other, linked := first[file]; linked && !d.IsDir() {
			lines = append(lines, fmt.Sprintf("%q = %q", name, other))
			return nil
		}
		first[file] = name
		line, err := describeFile(at, name, &st)
		lines = append(lines, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func nothing(string) bool { return false }

func describeFile(at, name string, st *unix.Stat_t) (string, error) {
	line := fmt.Sprintf("%q %o %d:%d @%d", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		body, err := os.ReadFile(at)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" x%d %d bytes %.40q", st.Nlink, len(body), body)
	case unix.S_IFLNK:
		target, err := os.Readlink(at)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" x%d -> %q", st.Nlink, target)
	case unix.S_IFCHR, unix.S_IFBLK:
		line += fmt.Sprintf(" x%d %d,%d", st.Nlink, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	attrs, err := xattrsOf(at)
	return line + attrs, err
}

func xattrsOf(at string) (string, error) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(at, names)
	if errors.Is(err, unix.ENOTSUP) { // a squashfs without any attribute
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var list []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		size, err := unix.Lgetxattr(at, name, value)
		if err != nil {
			return "", err
		}
		list = append(list, fmt.Sprintf(" [%s=%q]", name, value[:size]))
	}
	slices.Sort(list)
	return strings.Join(list, ""), nil
}
