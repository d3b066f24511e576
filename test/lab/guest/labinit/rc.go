package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	nodev  = unix.MS_NODEV
	noexec = unix.MS_NOEXEC
	nosuid = unix.MS_NOSUID
)

// mount is one line of the system's file systems.
type mount struct {
	kind, at string
	flags    uintptr
	data     string
	// optional mounts depend on the kernel's configuration.
	optional bool
}

// The sizes matter: /run and /tmp take at most a tenth of the RAM each, /var
// half of it.
func systemMounts() []mount {
	const all = nodev | nosuid | noexec
	return []mount{
		{kind: "proc", at: "/proc", flags: all | unix.MS_RELATIME},
		{at: "/", flags: unix.MS_REMOUNT | unix.MS_RDONLY, optional: true},
		{kind: "tmpfs", at: "/run", flags: all | unix.MS_RELATIME, data: "size=10%,mode=755"},
		{kind: "tmpfs", at: "/tmp", flags: all | unix.MS_RELATIME, data: "size=10%,mode=1777"},
		{kind: "tmpfs", at: "/var", flags: all | unix.MS_RELATIME, data: "size=50%,mode=755"},
		{kind: "devtmpfs", at: "/dev", flags: nosuid | noexec | unix.MS_RELATIME, data: "size=10m,mode=755"},
		{kind: "mqueue", at: "/dev/mqueue", flags: all, optional: true},
		{kind: "tmpfs", at: "/dev/shm", flags: all, data: "mode=1777"},
		{kind: "devpts", at: "/dev/pts", flags: noexec | nosuid, data: "gid=5,mode=0620"},
		{kind: "sysfs", at: "/sys", flags: all},
		{kind: "securityfs", at: "/sys/kernel/security", flags: all, optional: true},
		{kind: "debugfs", at: "/sys/kernel/debug", flags: all, optional: true},
		{kind: "bpf", at: "/sys/fs/bpf", flags: nodev, optional: true},
	}
}

// startSystem makes of the bare root what init.d scripts and containers expect.
func startSystem() error {
	for _, m := range systemMounts() {
		if m.at != "/" {
			_ = os.MkdirAll(m.at, 0o755) // most exist already; the mount tells
		}
		if err := unix.Mount(m.kind, m.at, m.kind, m.flags, m.data); err != nil && !m.optional {
			fmt.Fprintf(os.Stderr, "mounting %s on %s: %v\n", m.kind, m.at, err)
		}
	}
	return errors.Join(
		fillVar(), fillDev(), mountCgroups(),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""),
		raiseLimits(), bringUpLoopback(), makeResolvConf(),
		runScripts("/etc/init.d"),
	)
}

func fillVar() error {
	var all error
	for _, name := range []string{"cache", "empty", "lib", "local", "lock", "log", "opt", "spool", "tmp"} {
		all = errors.Join(all, os.MkdirAll(filepath.Join("/var", name), 0o755))
	}
	return errors.Join(all, os.Chmod("/var/tmp", 0o1777), os.Symlink("/run", "/var/run"))
}

func fillDev() error {
	var all error
	for name, target := range map[string]string{"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		all = errors.Join(all, os.Symlink("/proc/self/"+target, filepath.Join("/dev", name)))
	}
	return all
}

// mountCgroups mounts the unified hierarchy, or the old ones when the kernel's
// command line asks for them by LinuxKit's parameter.
func mountCgroups() error {
	const all = nodev | nosuid | noexec
	if !onCommandLine("linuxkit.unified_cgroup_hierarchy=0") {
		return unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", all, "")
	}
	if err := unix.Mount("cgroup_root", "/sys/fs/cgroup", "tmpfs", all, "mode=755,size=10m"); err != nil {
		return fmt.Errorf("mounting /sys/fs/cgroup: %w", err)
	}
	list, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return err
	}
	var failed error
	for _, name := range enabledCgroups(string(list)) {
		dir := filepath.Join("/sys/fs/cgroup", name)
		failed = errors.Join(failed, os.Mkdir(dir, 0o555), unix.Mount(name, dir, "cgroup", all, name))
	}
	return failed
}

// enabledCgroups reads /proc/cgroups: name, hierarchy, count, enabled.
func enabledCgroups(list string) []string {
	var names []string
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) == 4 && f[3] == "1" {
			names = append(names, f[0])
		}
	}
	return names
}

func onCommandLine(word string) bool {
	line, err := os.ReadFile("/proc/cmdline")
	return err == nil && slices.Contains(strings.Fields(string(line)), word)
}

func raiseLimits() error {
	files := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	processes := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	return errors.Join(unix.Setrlimit(unix.RLIMIT_NOFILE, &files), unix.Setrlimit(unix.RLIMIT_NPROC, &processes))
}

// bringUpLoopback uses the kernel's own way: setting an address and the
// interface's flags by ioctl would need the same calls as `ip` makes.
func bringUpLoopback() error {
	for _, args := range [][]string{{"addr", "add", "127.0.0.1/8", "dev", "lo"}, {"link", "set", "lo", "up"}} {
		if out, err := exec.Command("/bin/busybox", append([]string{"ip"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("bringing up loopback: %w: %s", err, out)
		}
	}
	return nil
}

// makeResolvConf makes the file that /etc/resolv.conf points to.
func makeResolvConf() error {
	target, err := os.Readlink("/etc/resolv.conf")
	if err != nil {
		return nil //nolint:nilerr // a plain file or none: nothing to make
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, nil, 0o600)
}

// runScripts runs the regular files of dir, and what symlinks to such, in the
// order of their names. What one of them does wrong does not stop the others.
func runScripts(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		info, statErr := os.Stat(file)
		if statErr != nil || !info.Mode().IsRegular() {
			continue
		}
		cmd := exec.Command(file)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		result := "ok"
		if runErr := cmd.Run(); runErr != nil {
			result = strings.ReplaceAll(runErr.Error(), " ", "_")
		}
		event("init.d", "name="+e.Name(), "result="+result)
	}
	return err
}
