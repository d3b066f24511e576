package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const runc = "/usr/bin/runc"

// runtimeConfig is LinuxKit's runtime.json: what must be done on the machine
// before a container is made. Interfaces would need netlink; a container that
// asks for one is refused.
type runtimeConfig struct {
	Cgroups    []string          `json:"cgroups"`
	Mounts     []runtimeMount    `json:"mounts"`
	Mkdir      []string          `json:"mkdir"`
	Interfaces []json.RawMessage `json:"interfaces"`
	BindNS     map[string]string `json:"bindNS"`
}

type runtimeMount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

// runOnboot runs the containers below dir to their end, one after the other.
func runOnboot(dir string) error {
	return eachBundle(dir, "onboot", func(name, bundle string) error {
		if err := prepare(bundle); err != nil {
			return err
		}
		err := onConsole(runc, "run", "--bundle", bundle, name)
		// Its root is free again for another container of the same image.
		return errors.Join(err, unix.Unmount(filepath.Join(bundle, "rootfs"), 0))
	})
}

// startServices starts the containers below dir; they outlive this program and
// write to the console.
func startServices(dir string) error {
	return eachBundle(dir, "service", func(name, bundle string) error {
		if err := prepare(bundle); err != nil {
			return err
		}
		pidFile := filepath.Join("/run", "service."+name+".pid")
		if err := onConsole(runc, "create", "--bundle", bundle, "--pid-file", pidFile, name); err != nil {
			return err
		}
		if err := bindNamespaces(bundle, pidFile); err != nil {
			return err
		}
		return onConsole(runc, "start", name)
	})
}

// eachBundle calls do for the directories below dir in the order of their
// names. What fails is told on the console and does not stop the others.
func eachBundle(dir, kind string, do func(name, bundle string) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		result := "ok"
		if err := do(e.Name(), filepath.Join(dir, e.Name())); err != nil {
			fmt.Fprintf(os.Stderr, "%s %s: %v\n", kind, e.Name(), err)
			result = "failed"
		}
		event(kind, "name="+e.Name(), "result="+result)
	}
	return err
}

func onConsole(program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running %s %s: %w", filepath.Base(program), args[0], err)
	}
	return nil
}

// prepare does what the bundle's runtime.json asks for. Mounts come before
// directories, so that a directory may be made inside a mount.
func prepare(bundle string) error {
	config, err := readRuntime(bundle)
	if err != nil {
		return err
	}
	if len(config.Interfaces) > 0 {
		return errors.New("runtime.json asks for network interfaces, which the lab's init cannot make")
	}
	for _, m := range config.Mounts {
		if err := mountFor(bundle, m); err != nil {
			return err
		}
	}
	for _, dir := range config.Mkdir {
		if err := os.MkdirAll(inBundle(bundle, dir), 0o755); err != nil {
			return fmt.Errorf("making a directory of runtime.json: %w", err)
		}
	}
	for _, group := range config.Cgroups {
		if err := os.MkdirAll(filepath.Join("/sys/fs/cgroup", group), 0o755); err != nil {
			return fmt.Errorf("making a control group of runtime.json: %w", err)
		}
	}
	return nil
}

func readRuntime(bundle string) (config runtimeConfig, err error) {
	raw, err := os.ReadFile(filepath.Join(bundle, "runtime.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return config, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &config)
	}
	if err != nil {
		return config, fmt.Errorf("reading runtime.json: %w", err)
	}
	return config, nil
}

// inBundle returns the place of a path of runtime.json: relative ones are below
// the container's root.
func inBundle(bundle, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(bundle, "rootfs", name)
}

func mountFor(bundle string, m runtimeMount) error {
	at := inBundle(bundle, m.Destination)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("making the mount point %q: %w", at, err)
	}
	flags, data := mountOptions(m.Options)
	for option := range strings.SplitSeq(data, ",") {
		key, dir, _ := strings.Cut(option, "=")
		if key != "upperdir" && key != "workdir" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the overlay's %s: %w", key, err)
		}
	}
	if err := unix.Mount(m.Source, at, m.Type, flags, data); err != nil {
		return fmt.Errorf("mounting %s %q on %q with %v: %w", m.Type, m.Source, at, m.Options, err)
	}
	return nil
}

// mountOptions divides the words of fstab from a file system's own options.
func mountOptions(options []string) (flags uintptr, data string) {
	set := map[string]uintptr{
		"bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC, "remount": unix.MS_REMOUNT,
		"ro": unix.MS_RDONLY, "nodev": nodev, "noexec": noexec, "nosuid": nosuid, "sync": unix.MS_SYNCHRONOUS,
		"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME,
		"private": unix.MS_PRIVATE, "shared": unix.MS_SHARED, "slave": unix.MS_SLAVE, "unbindable": unix.MS_UNBINDABLE,
	}
	cleared := map[string]uintptr{
		"rw": unix.MS_RDONLY, "dev": nodev, "exec": noexec, "suid": nosuid, "async": unix.MS_SYNCHRONOUS,
		"atime": unix.MS_NOATIME, "norelatime": unix.MS_RELATIME,
	}
	var rest []string
	for _, o := range options {
		switch {
		case set[o] != 0:
			flags |= set[o]
		case cleared[o] != 0:
			flags &^= cleared[o]
		default:
			rest = append(rest, o)
		}
	}
	return flags, strings.Join(rest, ",")
}

// bindNamespaces keeps the namespaces of a container that runtime.json names
// alive as files.
func bindNamespaces(bundle, pidFile string) error {
	config, err := readRuntime(bundle)
	if err != nil || len(config.BindNS) == 0 {
		return err
	}
	raw, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return fmt.Errorf("reading %q: %w", pidFile, err)
	}
	for kind, at := range config.BindNS {
		if err := bindNamespace(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), at); err != nil {
			return err
		}
	}
	return nil
}

func bindNamespace(source, at string) error {
	if at == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(at, nil, 0o600); err != nil {
		return err
	}
	if err := unix.Mount(source, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("keeping the namespace %q at %q: %w", source, at, err)
	}
	return nil
}
