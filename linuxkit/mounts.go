package linuxkit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// specMounts returns a container's mounts: the defaults, then tmpfs, binds and
// mounts, where a later one replaces an earlier one with the same destination.
// They are sorted by destination, so that /dev comes before /dev/pts.
func specMounts(conf ContainerConfig) ([]specs.Mount, error) {
	mounts := defaultMounts(isTrue(conf.Readonly))
	for _, text := range conf.Tmpfs {
		m, err := parseTmpfs(text)
		if err != nil {
			return nil, err
		}
		mounts[m.Destination] = m
	}
	for _, text := range conf.Binds {
		m, err := parseBind(text)
		if err != nil {
			return nil, err
		}
		mounts[m.Destination] = m
	}
	for _, given := range conf.Mounts {
		m, err := completeMount(given)
		if err != nil {
			return nil, err
		}
		mounts[m.Destination] = m
	}
	sorted := make([]specs.Mount, 0, len(mounts))
	for _, destination := range slices.Sorted(maps.Keys(mounts)) {
		sorted = append(sorted, mounts[destination])
	}
	return sorted, nil
}

// defaultMounts returns the mounts that Docker gives a container, without
// /dev/shm and /dev/mqueue.
func defaultMounts(readonly bool) map[string]specs.Mount {
	dev := []string{"nosuid", "strictatime", "mode=755", "size=65536k"}
	sys := []string{"nosuid", "noexec", "nodev"}
	if readonly {
		dev = append(dev, "ro")
		sys = append(sys, "ro")
	}
	mounts := map[string]specs.Mount{}
	for _, m := range []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec", "relatime"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: dev},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: sys},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
	} {
		mounts[m.Destination] = m
	}
	return mounts
}

// parseTmpfs parses "destination[:option,...]".
func parseTmpfs(text string) (specs.Mount, error) {
	destination, options, given := strings.Cut(text, ":")
	if strings.Contains(options, ":") {
		return specs.Mount{}, fmt.Errorf("tmpfs %q has too many colons; write DESTINATION[:OPTION,...]", text)
	}
	m := specs.Mount{Destination: destination, Type: "tmpfs", Source: "tmpfs"}
	if given {
		m.Options = strings.Split(options, ",")
	}
	return m, nil
}

// parseBind parses "source:destination[:option,...]".
func parseBind(text string) (specs.Mount, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return specs.Mount{}, fmt.Errorf("bind %q is not SOURCE:DESTINATION[:OPTION,...]", text)
	}
	m := specs.Mount{Destination: parts[1], Type: "bind", Source: parts[0], Options: []string{"rw", "rbind", "rshared"}}
	if len(parts) == 3 {
		m.Options = append(strings.Split(parts[2], ","), "rbind")
	}
	return m, nil
}

// completeMount sets the fields of a mount that follow from its source, type or
// destination.
func completeMount(m specs.Mount) (specs.Mount, error) {
	if m.Type == "" {
		switch {
		case slices.Contains([]string{"mqueue", "devpts", "proc", "sysfs", "cgroup"}, m.Source):
			m.Type = m.Source
		case m.Destination == "/dev":
			m.Type = "tmpfs"
		default:
			return m, fmt.Errorf("the mount on %q has no type", m.Destination)
		}
	}
	if m.Source == "" {
		m.Source = m.Type
	}
	if m.Destination == "" {
		usual := map[string]string{"proc": "/proc", "devpts": "/dev/pts", "sysfs": "/sys", "cgroup": "/sys/fs/cgroup", "mqueue": "/dev/mqueue"}
		if m.Destination = usual[m.Type]; m.Destination == "" {
			return m, fmt.Errorf("the mount of type %q has no destination", m.Type)
		}
	}
	return m, nil
}
