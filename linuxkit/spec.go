package linuxkit

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// specVersion is the version of the OCI runtime specification of config.json,
// the same as the linuxkit tool's. Only features of this version are used,
// although the Go types are newer.
const specVersion = "1.2.1"

// configLabel is the image label that tells LinuxKit how to run the image.
const configLabel = "org.mobyproject.config"

// containerSpec returns the config.json and the runtime part of a container:
// the document overrides the image's label, which overrides the image's own
// configuration. ids maps container names to numbers.
func containerSpec(c *Container, image v1.Config, ids map[string]uint32) (*specs.Spec, *Runtime, error) {
	label, err := parseLabel(image.Labels[configLabel])
	if err != nil {
		return nil, nil, err
	}
	conf := mergeConfig(label, c.ContainerConfig)
	conf.Command = pick(conf.Command, slices.Concat(image.Entrypoint, image.Cmd))
	conf.Env = pick(conf.Env, image.Env)
	conf.Env = setVariables(conf.Env, c.EnvAdd)
	conf.Devices = slices.Concat(conf.Devices, c.DevicesAdd)
	conf.Mounts = slices.Concat(conf.Mounts, c.MountsAdd)
	conf.Cwd = cmp.Or(conf.Cwd, image.WorkingDir, "/")
	spec, err := buildSpec(conf, ids)
	if err != nil {
		return nil, nil, err
	}
	return spec, completeRuntime(conf.Runtime), nil
}

func parseLabel(text string) (ContainerConfig, error) {
	var conf ContainerConfig
	if text == "" {
		return conf, nil
	}
	root, err := parseYAML([]byte(text))
	if err == nil {
		err = decodeNode(root, &conf)
	}
	if err != nil {
		return conf, fmt.Errorf("reading the image's label %q: %w", configLabel, err)
	}
	return conf, nil
}

func buildSpec(conf ContainerConfig, ids map[string]uint32) (*specs.Spec, error) {
	mounts, err := specMounts(conf)
	if err != nil {
		return nil, err
	}
	process, err := specProcess(conf, ids)
	if err != nil {
		return nil, err
	}
	linux, err := specLinux(conf)
	if err != nil {
		return nil, err
	}
	return &specs.Spec{
		Version:     specVersion,
		Process:     process,
		Root:        &specs.Root{Path: "rootfs", Readonly: isTrue(conf.Readonly)},
		Hostname:    conf.Hostname,
		Mounts:      mounts,
		Annotations: conf.Annotations,
		Linux:       linux,
	}, nil
}

func specProcess(conf ContainerConfig, ids map[string]uint32) (*specs.Process, error) {
	user, err := specUser(conf, ids)
	if err != nil {
		return nil, err
	}
	capabilities, err := specCapabilities(conf)
	if err != nil {
		return nil, err
	}
	rlimits, err := specRlimits(conf.Rlimits)
	if err != nil {
		return nil, err
	}
	return &specs.Process{
		User:            user,
		Args:            conf.Command,
		Env:             conf.Env,
		Cwd:             conf.Cwd,
		Capabilities:    capabilities,
		Rlimits:         rlimits,
		NoNewPrivileges: isTrue(conf.NoNewPrivileges),
		OOMScoreAdj:     conf.OOMScoreAdj,
	}, nil
}

func specUser(conf ContainerConfig, ids map[string]uint32) (specs.User, error) {
	var user specs.User
	var err error
	if user.UID, err = conf.UID.number(ids); err != nil {
		return user, fmt.Errorf("uid: %w", err)
	}
	if user.GID, err = conf.GID.number(ids); err != nil {
		return user, fmt.Errorf("gid: %w", err)
	}
	for _, id := range conf.AdditionalGids {
		gid, err := id.number(ids)
		if err != nil {
			return user, fmt.Errorf("additionalGids: %w", err)
		}
		user.AdditionalGids = append(user.AdditionalGids, gid)
	}
	return user, nil
}

// number returns the numeric id; nil, "" and "root" mean 0.
func (id *ID) number(ids map[string]uint32) (uint32, error) {
	switch {
	case id == nil || id.Name == "root":
		return 0, nil
	case id.Name == "":
		return id.Number, nil
	}
	number, ok := ids[id.Name]
	if !ok {
		return 0, fmt.Errorf("no container is named %q (containers that have an id: %v); a number is written without quotes", id.Name, slices.Sorted(maps.Keys(ids)))
	}
	return number, nil
}

// containerIDs numbers the containers from 100 in document order. Of containers
// with the same name the last counts.
func (d *Document) containerIDs() map[string]uint32 {
	ids := map[string]uint32{}
	next := uint32(100)
	for _, s := range d.sections() {
		for _, c := range s.containers {
			ids[c.Name] = next
			next++
		}
	}
	return ids
}

func specLinux(conf ContainerConfig) (*specs.Linux, error) {
	resources := specs.LinuxResources{}
	if conf.Resources != nil {
		resources = *conf.Resources
		resources.Devices = slices.Clone(resources.Devices)
	}
	devices, rules, err := specDevices(conf.Devices)
	if err != nil {
		return nil, err
	}
	resources.Devices = append(resources.Devices, rules...)
	return &specs.Linux{
		UIDMappings:       conf.UIDMappings,
		GIDMappings:       conf.GIDMappings,
		Sysctl:            conf.Sysctl,
		Resources:         &resources,
		CgroupsPath:       deref(conf.CgroupsPath),
		Namespaces:        specNamespaces(conf),
		Devices:           devices,
		RootfsPropagation: deref(conf.RootfsPropagation),
		MaskedPaths:       conf.MaskedPaths,
		ReadonlyPaths:     conf.ReadonlyPaths,
	}, nil
}

// specDevices returns the nodes to create and the rules of the device cgroup
// that allow their use. "all" becomes a rule for a class of devices, without a
// node.
func specDevices(devices []Device) (nodes []specs.LinuxDevice, rules []specs.LinuxDeviceCgroup, err error) {
	for _, d := range devices {
		rule := specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Access: "rwm"}
		if d.Path != "all" {
			bits, err := strconv.ParseUint(d.Mode, 8, 12)
			if err != nil {
				return nil, nil, fmt.Errorf("device %q: the mode %q is not octal such as \"0666\"", d.Path, d.Mode)
			}
			mode := os.FileMode(bits)
			nodes = append(nodes, specs.LinuxDevice{Path: d.Path, Type: d.Type, Major: d.Major, Minor: d.Minor, FileMode: &mode})
			rule.Major, rule.Minor = &d.Major, &d.Minor
		}
		rules = append(rules, rule)
	}
	return nodes, rules, nil
}

// specNamespaces returns the namespaces that differ from the host's. Pid is a
// new one unless configured otherwise, the mount namespace always is.
func specNamespaces(conf ContainerConfig) []specs.LinuxNamespace {
	kinds := []struct {
		kind         specs.LinuxNamespaceType
		given, other string
	}{
		{specs.NetworkNamespace, conf.Net, "host"},
		{specs.IPCNamespace, conf.Ipc, "host"},
		{specs.UTSNamespace, conf.Uts, "host"},
		{specs.PIDNamespace, conf.Pid, "new"},
		{specs.UserNamespace, conf.Userns, "host"},
	}
	var namespaces []specs.LinuxNamespace
	for _, k := range kinds {
		where := cmp.Or(k.given, k.other)
		switch {
		case where == "host" || where == "root":
			continue
		case where == "new" || where == "none" && k.kind == specs.NetworkNamespace:
			where = ""
		}
		namespaces = append(namespaces, specs.LinuxNamespace{Type: k.kind, Path: where})
	}
	return append(namespaces, specs.LinuxNamespace{Type: specs.MountNamespace})
}
