package linuxkit

import (
	"cmp"
	"slices"
)

// mergeConfig overrides the settings of an image's label with those of the
// document. A list of the document replaces the label's; only `binds.add` and
// `capabilities.add` add to it.
func mergeConfig(label, doc ContainerConfig) ContainerConfig {
	return ContainerConfig{
		Capabilities:      pick(doc.Capabilities, concat(label.Capabilities, doc.CapabilitiesAdd)),
		Ambient:           pick(doc.Ambient, label.Ambient),
		Mounts:            pick(doc.Mounts, label.Mounts),
		Binds:             pick(doc.Binds, concat(label.Binds, doc.BindsAdd)),
		Devices:           pick(doc.Devices, label.Devices),
		Tmpfs:             pick(doc.Tmpfs, label.Tmpfs),
		Command:           pick(doc.Command, label.Command),
		Env:               pick(doc.Env, label.Env),
		Cwd:               cmp.Or(doc.Cwd, label.Cwd),
		Net:               cmp.Or(doc.Net, label.Net),
		Pid:               cmp.Or(doc.Pid, label.Pid),
		Ipc:               cmp.Or(doc.Ipc, label.Ipc),
		Uts:               cmp.Or(doc.Uts, label.Uts),
		Userns:            cmp.Or(doc.Userns, label.Userns),
		Hostname:          cmp.Or(doc.Hostname, label.Hostname),
		Readonly:          cmp.Or(doc.Readonly, label.Readonly),
		MaskedPaths:       pick(doc.MaskedPaths, label.MaskedPaths),
		ReadonlyPaths:     pick(doc.ReadonlyPaths, label.ReadonlyPaths),
		UID:               cmp.Or(doc.UID, label.UID),
		GID:               cmp.Or(doc.GID, label.GID),
		AdditionalGids:    pick(doc.AdditionalGids, label.AdditionalGids),
		NoNewPrivileges:   cmp.Or(doc.NoNewPrivileges, label.NoNewPrivileges),
		OOMScoreAdj:       cmp.Or(doc.OOMScoreAdj, label.OOMScoreAdj),
		RootfsPropagation: cmp.Or(doc.RootfsPropagation, label.RootfsPropagation),
		CgroupsPath:       cmp.Or(doc.CgroupsPath, label.CgroupsPath),
		Resources:         cmp.Or(doc.Resources, label.Resources),
		Sysctl:            pickMap(doc.Sysctl, label.Sysctl),
		Rlimits:           pick(doc.Rlimits, label.Rlimits),
		UIDMappings:       pick(doc.UIDMappings, label.UIDMappings),
		GIDMappings:       pick(doc.GIDMappings, label.GIDMappings),
		Annotations:       pickMap(doc.Annotations, label.Annotations),
		Runtime:           mergeRuntime(label.Runtime, doc.Runtime),
	}
}

func mergeRuntime(label, doc *Runtime) *Runtime {
	if label == nil || doc == nil {
		return cmp.Or(doc, label)
	}
	return &Runtime{
		Cgroups:    pick(doc.Cgroups, label.Cgroups),
		Mounts:     pick(doc.Mounts, label.Mounts),
		Mkdir:      pick(doc.Mkdir, label.Mkdir),
		Interfaces: pick(doc.Interfaces, label.Interfaces),
		BindNS: Namespaces{
			Cgroup: cmp.Or(doc.BindNS.Cgroup, label.BindNS.Cgroup),
			Ipc:    cmp.Or(doc.BindNS.Ipc, label.BindNS.Ipc),
			Mnt:    cmp.Or(doc.BindNS.Mnt, label.BindNS.Mnt),
			Net:    cmp.Or(doc.BindNS.Net, label.BindNS.Net),
			Pid:    cmp.Or(doc.BindNS.Pid, label.BindNS.Pid),
			User:   cmp.Or(doc.BindNS.User, label.BindNS.User),
			Uts:    cmp.Or(doc.BindNS.Uts, label.BindNS.Uts),
		},
		Namespace: cmp.Or(doc.Namespace, label.Namespace),
	}
}

// completeRuntime returns r with every key set, which is the form that
// LinuxKit's init expects.
func completeRuntime(r *Runtime) *Runtime {
	if r == nil {
		r = &Runtime{}
	}
	empty := new(string)
	return &Runtime{
		Cgroups:    orEmpty(r.Cgroups),
		Mounts:     orEmpty(r.Mounts),
		Mkdir:      orEmpty(r.Mkdir),
		Interfaces: orEmpty(r.Interfaces),
		BindNS: Namespaces{
			Cgroup: cmp.Or(r.BindNS.Cgroup, empty),
			Ipc:    cmp.Or(r.BindNS.Ipc, empty),
			Mnt:    cmp.Or(r.BindNS.Mnt, empty),
			Net:    cmp.Or(r.BindNS.Net, empty),
			Pid:    cmp.Or(r.BindNS.Pid, empty),
			User:   cmp.Or(r.BindNS.User, empty),
			Uts:    cmp.Or(r.BindNS.Uts, empty),
		},
		Namespace: cmp.Or(r.Namespace, empty),
	}
}

// pick returns first unless its key is absent.
func pick[T any](first, second []T) []T {
	if first != nil {
		return first
	}
	return second
}

func pickMap(first, second map[string]string) map[string]string {
	if first != nil {
		return first
	}
	return second
}

// concat returns both lists, or nil if the keys of both are absent.
func concat(a, b []string) []string {
	if a == nil && b == nil {
		return nil
	}
	return slices.Concat([]string{}, a, b)
}

func orEmpty[T any](list []T) []T { return pick(list, []T{}) }

func isTrue(b *bool) bool { return b != nil && *b }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
