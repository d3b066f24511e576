package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"hookbuild/internal/initramfs"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/modules"
)

// State tells whether and how a kernel has a feature.
type State int

// The states. Unknown is the state of a feature that the modules do not show,
// in a kernel that carries no configuration.
const (
	Unknown State = iota
	Missing
	Module
	BuiltIn
)

func (s State) String() string {
	return [...]string{"unknown", "missing", "module", "built in"}[s]
}

// MarshalText implements [encoding.TextMarshaler].
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Present reports whether the feature is available, built in or as a module.
func (s State) Present() bool { return s == BuiltIn || s == Module }

// Features tells what a kernel supports.
type Features struct {
	// Origin is the source of the answers: "the configuration inside the
	// kernel", "the configuration next to the kernel" or "the list of
	// modules".
	Origin string
	// Config is the kernel's configuration, or nil if it carries none.
	Config *kconfig.Config

	loadable, builtin map[string]bool // by module name
}

// Features reads the kernel's configuration: the file that came with the
// kernel, else the one inside it (CONFIG_IKCONFIG). If there is neither, the
// lists of its modules are used.
func (m *Image) Features(ctx context.Context) (*Features, error) {
	f, err := m.fromModuleLists(ctx)
	if err != nil {
		return nil, err
	}
	text, origin, err := m.configText(ctx)
	if err != nil || text == nil {
		return f, err
	}
	f.Config, err = kconfig.Parse(bytes.NewReader(text), origin+" of "+m.Source)
	f.Origin = origin
	return f, err
}

// mostConfig limits the size of a configuration file.
const mostConfig = 16 << 20

func (m *Image) configText(ctx context.Context) (text []byte, origin string, err error) {
	if m.Config != nil {
		text, err = readSmall(ctx, *m.Config, mostConfig)
		return text, "the configuration next to the kernel", err
	}
	image, content, err := m.Inspect()
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	facts, err := image.Scan(ctx)
	if err != nil {
		return nil, "", err
	}
	return facts.Config, "the configuration inside the kernel", nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(ctx context.Context, e initramfs.Entry, limit int64) ([]byte, error) {
	if e.Size > limit {
		return nil, invalid("reading %q of %s: it has %d bytes; at most %d are expected", e.Path, e.Origin, e.Size, limit)
	}
	var content bytes.Buffer
	if err := initramfs.CopyContent(ctx, &content, e); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// builtinList is the file that lists the modules that are built in.
const builtinList = "modules.builtin"

// InModuleLists reports whether [FromParts] and [Image.Features] read the
// content of the file.
func InModuleLists(e initramfs.Entry) bool { return path.Base(e.Path) == builtinList }

func (m *Image) fromModuleLists(ctx context.Context) (*Features, error) {
	f := &Features{Origin: "the list of modules", loadable: map[string]bool{}, builtin: map[string]bool{}}
	for e := range m.Modules.All() {
		if modules.IsModule(e.Path) {
			f.loadable[modules.NameOf(e.Path)] = true
		}
	}
	list, ok := m.Modules.Lookup(path.Join(m.modulesDir(), builtinList))
	if !ok {
		return f, nil
	}
	text, err := readSmall(ctx, list, mostConfig)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		f.builtin[modules.NameOf(strings.TrimSpace(line))] = true
	}
	return f, nil
}

// Option returns the state of a configuration option ("CONFIG_SQUASHFS" or
// "SQUASHFS"). Without a configuration, the state is known only for options
// that build a module of their own.
func (f *Features) Option(name string) State {
	if f.Config != nil {
		switch value, _ := f.Config.Get(name); value {
		case "m":
			return Module
		case kconfig.No:
			return Missing
		}
		return BuiltIn
	}
	module, known := moduleOf(strings.TrimPrefix(name, kconfig.Prefix))
	switch {
	case !known || len(f.loadable)+len(f.builtin) == 0:
		return Unknown
	case f.builtin[module]:
		return BuiltIn
	case f.loadable[module]:
		return Module
	}
	return Missing
}

// Answer returns an option's state in words: "built in", "module", "missing" or
// "unknown", or its value if that is not y, m or n. It distinguishes an option
// that the configuration does not mention from one that is off.
func (f *Features) Answer(name string) string {
	state := f.Option(name)
	if f.Config == nil {
		return state.String()
	}
	switch value, mentioned := f.Config.Get(name); {
	case !mentioned:
		return state.String() + " (not mentioned in the configuration: what it depends on is off, or there is no such option)"
	case state == BuiltIn && value != "y":
		return value
	}
	return state.String()
}

// moduleOf returns the module that an option builds, for the options that
// hookbuild uses.
func moduleOf(option string) (string, bool) {
	switch option {
	case "SQUASHFS":
		return "squashfs", true
	case "BLK_DEV_LOOP":
		return "loop", true
	case "OVERLAY_FS":
		return "overlay", true
	case "VIRTIO_NET":
		return "virtio_net", true
	case "VIRTIO_BLK":
		return "virtio_blk", true
	}
	return "", false
}

// Feature is one line of [Features.summary].
type Feature struct {
	Option string `json:"option"` // "CONFIG_RD_ZSTD"
	Text   string `json:"for"`    // what it is needed for
	State  State  `json:"state"`
}

// summary lists the options that determine how a HookOS can be built on this
// kernel.
func (f *Features) summary() []Feature {
	list := []Feature{
		{Option: "CONFIG_BLK_DEV_INITRD", Text: "booting with an initramfs"},
		{Option: "CONFIG_RD_GZIP", Text: "an initramfs compressed by gzip"},
		{Option: "CONFIG_RD_ZSTD", Text: "an initramfs compressed by zstd"},
		{Option: "CONFIG_SQUASHFS", Text: "embedded images in the packed layout"},
		{Option: "CONFIG_SQUASHFS_XATTR", Text: "file capabilities in the packed layout"},
		{Option: "CONFIG_SQUASHFS_ZLIB", Text: "the packed layout compressed by gzip"},
		{Option: "CONFIG_SQUASHFS_ZSTD", Text: "the packed layout compressed by zstd"},
		{Option: "CONFIG_BLK_DEV_LOOP", Text: "mounting the packed layout"},
		{Option: "CONFIG_OVERLAY_FS", Text: "containers, and writing over the packed layout"},
		{Option: "CONFIG_TMPFS_XATTR", Text: "file capabilities in the root file system"},
		{Option: "CONFIG_IKCONFIG", Text: "the configuration inside the kernel"},
	}
	for i := range list {
		list[i].State = f.Option(list[i].Option)
	}
	return list
}

// Explain returns a sentence about an option's state, for errors and warnings.
func (f *Features) Explain(option string) string {
	switch state := f.Option(option); state {
	case Unknown:
		return fmt.Sprintf("whether the kernel has %s is unknown (it carries no configuration)", kconfig.Name(option))
	case Missing:
		return fmt.Sprintf("the kernel lacks %s (according to %s)", kconfig.Name(option), f.Origin)
	default:
		return fmt.Sprintf("the kernel has %s (%s)", kconfig.Name(option), state)
	}
}
