package linuxkit

import (
	"encoding/json"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Document is a LinuxKit document. A nil list or pointer means that the key is
// absent, which differs from an empty list.
type Document struct {
	Kernel     KernelConfig `json:"kernel"`
	Init       []ImageRef   `json:"init"`
	Onboot     []*Container `json:"onboot"`
	Onshutdown []*Container `json:"onshutdown"`
	Services   []*Container `json:"services"`
	Files      []*File      `json:"files"`
	Volumes    []*Volume    `json:"volumes"`
	// Trust is accepted but ignored, as by the linuxkit tool.
	Trust *Trust `yaml:"trust" json:"-"`
}

// ImageRef is an image reference and its line in the document.
type ImageRef struct {
	Name string
	Line int
	from string // the overlay that has it, "" for the document
}

// MarshalJSON returns the reference as a string.
func (r ImageRef) MarshalJSON() ([]byte, error) { return json.Marshal(r.Name) }

// KernelConfig specifies the kernel.
type KernelConfig struct {
	Image   string `json:"image"`
	Cmdline string `json:"cmdline,omitempty"`
	// Binary is the kernel's path in the image; empty means "kernel".
	Binary string `json:"binary,omitempty"`
	// Tar is the path of the tar with the modules; nil means "kernel.tar", and
	// "none" means that there are no modules.
	Tar *string `json:"tar,omitempty"`
	// UCode is the path of a cpio with processor microcode; nil means none.
	UCode *string `json:"ucode,omitempty"`
	Line  int     `yaml:"-" json:"-"`

	from string // the overlay that has its image, "" for the document
}

// Trust is the configuration of Docker content trust.
type Trust struct {
	Image []string `json:"image"`
	Org   []string `json:"org"`
}

// File is one entry of `files:`.
type File struct {
	Path      string  `json:"path"`
	Directory bool    `json:"directory"`
	Symlink   string  `json:"symlink,omitempty"`
	Contents  *string `json:"contents,omitempty"`
	Source    string  `json:"source,omitempty"`
	// Metadata makes the document itself the content, as "json" or "yaml".
	Metadata string `json:"metadata,omitempty"`
	Optional bool   `json:"optional"`
	// Mode is octal; empty means 0600, or 0700 for a directory.
	Mode string `json:"mode,omitempty"`
	UID  *ID    `json:"uid,omitempty"`
	GID  *ID    `json:"gid,omitempty"`
	Line int    `yaml:"-" json:"-"`
	// Edits come from overlays: they change the content given here, or that of
	// the file of an image.
	Edits []FileEdit `yaml:"-" json:"edits,omitempty"`

	from string // the overlay that has it, "" for the document
	dir  string // where its source is; "" is [Options.WorkDir]
}

// FileEdit is text to append or, when Text is set, to put With wherever Text is.
type FileEdit struct {
	Append string `json:"append,omitempty"`
	Text   string `json:"text,omitempty"`
	With   string `json:"with,omitempty"`
	// Optional allows that Text is not there.
	Optional bool `json:"optional,omitempty"`
}

// Volume is a directory tree that containers share.
type Volume struct {
	Name     string `json:"name"`
	Image    string `json:"image,omitempty"`
	ReadOnly bool   `json:"readonly,omitempty"`
	// Format is "filesystem" (the default) or "oci", an OCI image layout.
	Format    string   `json:"format,omitempty"`
	Platforms []string `json:"platforms,omitempty"`
	Line      int      `yaml:"-" json:"-"`

	from string // the overlay that has it, "" for the document
}

// Container is one entry of onboot, onshutdown or services.
type Container struct {
	Name            string `json:"name"`
	Image           string `json:"image"`
	ContainerConfig `yaml:",inline"`
	Line            int `yaml:"-" json:"-"`

	from string // the overlay that has its image, "" for the document
}

// ContainerConfig holds the settings of a container that both a document and an
// image's label org.mobyproject.config may contain.
type ContainerConfig struct {
	Capabilities      []string               `json:"capabilities,omitzero"`
	CapabilitiesAdd   []string               `json:"capabilities.add,omitzero"`
	Ambient           []string               `json:"ambient,omitzero"`
	Mounts            []specs.Mount          `json:"mounts,omitzero"`
	Binds             []string               `json:"binds,omitzero"`
	BindsAdd          []string               `json:"binds.add,omitzero"`
	Devices           []Device               `json:"devices,omitzero"`
	Tmpfs             []string               `json:"tmpfs,omitzero"`
	Command           []string               `json:"command,omitzero"`
	Env               []string               `json:"env,omitzero"`
	Cwd               string                 `json:"cwd,omitempty"`
	Net               string                 `json:"net,omitempty"`
	Pid               string                 `json:"pid,omitempty"`
	Ipc               string                 `json:"ipc,omitempty"`
	Uts               string                 `json:"uts,omitempty"`
	Userns            string                 `json:"userns,omitempty"`
	Hostname          string                 `json:"hostname,omitempty"`
	Readonly          *bool                  `json:"readonly,omitempty"`
	MaskedPaths       []string               `json:"maskedPaths,omitzero"`
	ReadonlyPaths     []string               `json:"readonlyPaths,omitzero"`
	UID               *ID                    `json:"uid,omitempty"`
	GID               *ID                    `json:"gid,omitempty"`
	AdditionalGids    []ID                   `json:"additionalGids,omitzero"`
	NoNewPrivileges   *bool                  `json:"noNewPrivileges,omitempty"`
	OOMScoreAdj       *int                   `json:"oomScoreAdj,omitempty"`
	RootfsPropagation *string                `json:"rootfsPropagation,omitempty"`
	CgroupsPath       *string                `json:"cgroupsPath,omitempty"`
	Resources         *specs.LinuxResources  `json:"resources,omitempty"`
	Sysctl            map[string]string      `json:"sysctl,omitzero"`
	Rlimits           []string               `json:"rlimits,omitzero"`
	UIDMappings       []specs.LinuxIDMapping `json:"uidMappings,omitzero"`
	GIDMappings       []specs.LinuxIDMapping `json:"gidMappings,omitzero"`
	Annotations       map[string]string      `json:"annotations,omitzero"`
	Runtime           *Runtime               `json:"runtime,omitempty"`

	// What overlays add to lists that only the image has; a document or label
	// cannot say it.
	EnvAdd     []string      `yaml:"-" json:"env.add,omitzero"`
	DevicesAdd []Device      `yaml:"-" json:"devices.add,omitzero"`
	MountsAdd  []specs.Mount `yaml:"-" json:"mounts.add,omitzero"`
}

// Device is a device that a container may use. The path "all" means every
// device of the type.
type Device struct {
	Path  string `json:"path"`
	Type  string `json:"type"`
	Major int64  `json:"major"`
	Minor int64  `json:"minor"`
	Mode  string `json:"mode,omitempty"`
}

// Runtime is what LinuxKit's init does for a container before runc starts it:
// the content of runtime.json.
type Runtime struct {
	Cgroups    []string      `json:"cgroups,omitzero"`
	Mounts     []specs.Mount `json:"mounts,omitzero"`
	Mkdir      []string      `json:"mkdir,omitzero"`
	Interfaces []Interface   `json:"interfaces,omitzero"`
	BindNS     Namespaces    `json:"bindNS"`
	Namespace  *string       `json:"namespace,omitempty"`
}

// Namespaces are the paths to which a container's namespaces are bound.
type Namespaces struct {
	Cgroup *string `json:"cgroup,omitempty"`
	Ipc    *string `json:"ipc,omitempty"`
	Mnt    *string `json:"mnt,omitempty"`
	Net    *string `json:"net,omitempty"`
	Pid    *string `json:"pid,omitempty"`
	User   *string `json:"user,omitempty"`
	Uts    *string `json:"uts,omitempty"`
}

// Interface is a network interface for a container.
type Interface struct {
	Name         string `json:"name,omitempty"`
	Add          string `json:"add,omitempty"`
	Peer         string `json:"peer,omitempty"`
	CreateInRoot bool   `json:"createInRoot"`
}

// ID is a user or group: a number, or the name of a container of the document.
type ID struct {
	Name   string
	Number uint32
}

// MarshalJSON returns the form used in the document.
func (id ID) MarshalJSON() ([]byte, error) {
	if id.Name != "" {
		return json.Marshal(id.Name)
	}
	return json.Marshal(id.Number)
}

// sections returns the containers with the directory of each section below
// containers/, in the order of layout.
func (d *Document) sections() []section {
	return []section{{"onboot", true, d.Onboot}, {"onshutdown", true, d.Onshutdown}, {"services", false, d.Services}}
}

type section struct {
	name string
	// numbered sections run one container after the other, in the order of
	// their directories.
	numbered   bool
	containers []*Container
}

// directory returns the path of a section's i-th container in the root file
// system.
func (s section) directory(i int) string {
	name := s.containers[i].Name
	if s.numbered {
		name = fmt.Sprintf("%03d-%s", i, name)
	}
	return "containers/" + s.name + "/" + name
}

// place names a line of the document, or of the overlay called from.
func place(line int, from string) string {
	switch {
	case from == "":
		return fmt.Sprintf("line %d", line)
	case line == 0: // it was not read from a file
		return "of " + from
	}
	return fmt.Sprintf("line %d of %s", line, from)
}
