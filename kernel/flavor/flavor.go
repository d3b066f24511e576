// Package flavor is the inventory of HookOS flavors: which kernel a flavor has,
// for which machines, and how its artifacts are named. It holds upstream's
// inventory, whose ids and names are part of users' scripts, and the flavors
// that a checkout adds.
package flavor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/nearest"
)

// Method is where a flavor's kernel comes from.
type Method string

// The methods.
const (
	Source  Method = "source"  // compiled from kernel.org's source
	Armbian Method = "armbian" // taken from Armbian's packages
)

// Architectures as the kernel's builds and HookOS' file names call them.
const (
	X86_64  = "x86_64"
	AArch64 = "aarch64"
)

// Flavor is a kernel series, its configuration, an architecture and a template.
type Flavor struct {
	ID     string
	Method Method
	Arch   string // X86_64 or AArch64
	// Type selects the CI runner: "source", "external", or "".
	Type string
	// Series is "<major>.<minor>" of a source kernel, Config the first part of
	// its defconfig's name.
	Series, Config string
	// Fragments are the paths in the checkout of configuration files that
	// every build merges over the defconfig.
	Fragments []string
	// Artifact names the OCI artifact of an Armbian kernel.
	Artifact string
	// UseKernelID is the id of the flavor whose kernel this one uses.
	UseKernelID string
	// ForceOutputID precedes the architecture in the output id.
	ForceOutputID string
	// FixedOutputID is the whole output id, for flavors that follow no rule.
	FixedOutputID string
	// Template names linuxkit-templates/<Template>.template.yaml.
	Template string
	// Tags select flavors in CI.
	Tags []string
	// ISO reports whether CI builds an ISO of the flavor.
	ISO bool
	// Own reports whether the checkout defines the flavor, in [File].
	Own bool
}

// Inventory is the set of known flavors.
type Inventory struct {
	flavors []Flavor
	// script is the checkout's [scriptFile].
	script []byte
}

// All returns the flavors: upstream's in upstream's order, then the checkout's
// in the checkout's order.
func (in Inventory) All() []Flavor { return slices.Clone(in.flavors) }

// Sibling returns the flavor of the other architecture whose name is that of f but for
// the architecture's, as hook-default-arm64 is of hook-default-amd64.
func (in Inventory) Sibling(f Flavor) (Flavor, bool) {
	from, to := []string{"amd64", "x86"}, []string{"arm64"}
	if f.Arch == AArch64 {
		from, to = to, from
	}
	for _, of := range in.flavors {
		for _, here := range from {
			for _, there := range to {
				if of.Arch != f.Arch && of.ID != f.ID && strings.Replace(f.ID, here, there, 1) == of.ID {
					return of, true
				}
			}
		}
	}
	return Flavor{}, false
}

// Upstream returns upstream's inventory.
func Upstream() Inventory {
	all := []Flavor{
		{ID: "hook-default-amd64", Method: Source, Arch: X86_64, Series: "5.10", Tags: []string{"standard"}, ISO: true},
		{ID: "hook-default-arm64", Method: Source, Arch: AArch64, Series: "5.10", Tags: []string{"standard"}, ISO: true},
		{ID: "peg-default-amd64", Method: Source, Arch: X86_64, Series: "5.10", Tags: []string{"dev"}, UseKernelID: "hook-default-amd64", Template: "peg"},
		{ID: "hook-latest-lts-amd64", Method: Source, Arch: X86_64, Series: "6.6", Tags: []string{"lts"}, ISO: true, ForceOutputID: "latest-lts"},
		{ID: "hook-latest-lts-arm64", Method: Source, Arch: AArch64, Series: "6.6", Tags: []string{"lts"}, ISO: true, ForceOutputID: "latest-lts"},
		{ID: "armbian-meson64-edge", Arch: AArch64, Artifact: "kernel-meson64-edge", Tags: []string{"armbian-sbc"}, Type: "external"},
		{ID: "armbian-bcm2711-current", Arch: AArch64, Artifact: "kernel-bcm2711-current", Tags: []string{"armbian-sbc"}, Type: "external"},
		{ID: "armbian-rockchip64-edge", Arch: AArch64, Artifact: "kernel-rockchip64-edge", Tags: []string{"armbian-sbc"}, Type: "external"},
		{ID: "armbian-genio-edge", Arch: AArch64, Artifact: "kernel-genio-collabora", Tags: []string{"armbian-sbc"}},
		{ID: "armbian-rk35xx-vendor", Arch: AArch64, Artifact: "kernel-rk35xx-vendor", Tags: []string{"armbian-sbc"}, Type: "external"},
		{ID: "armbian-uefi-arm64-edge", Arch: AArch64, Artifact: "kernel-arm64-edge", Tags: []string{"standard", "armbian-uefi"}, Type: "external"},
		{ID: "armbian-uefi-x86-edge", Arch: X86_64, Artifact: "kernel-x86-edge", Tags: []string{"standard", "armbian-uefi"}, Type: "external"},
	}
	for i := range all {
		all[i].fillDefaults()
	}
	return Inventory{flavors: all}
}

func (f *Flavor) fillDefaults() {
	if f.Template == "" {
		f.Template = "hook"
	}
	if f.Artifact != "" {
		f.Method = Armbian
		return
	}
	f.Type, f.Config = "source", "generic"
}

// Find returns the flavor with this id. The error for an unknown id suggests a
// similar one and lists all.
func (in Inventory) Find(id string) (Flavor, error) {
	f, found := in.lookup(id)
	if !found {
		return f, fault.Usagef("choosing the flavor %q: %w", id, in.unknown(id))
	}
	return f, nil
}

func (in Inventory) unknown(id string) error {
	if inScript(in.script, id) {
		return fmt.Errorf("it is defined in %s, which hookbuild does not read; define it in %s (docs/kernels.md describes the file)", scriptFile, File)
	}
	var ids []string
	for _, f := range in.flavors {
		ids = append(ids, f.ID)
	}
	meant := ""
	if near := nearest.Word(id, ids); near != "" {
		meant = fmt.Sprintf(" (did you mean %s?)", near)
	}
	return fmt.Errorf("there is no flavor of that name%s; the flavors are %s", meant, strings.Join(ids, ", "))
}

// inScript reports whether a script contains a flavor's id as a word.
func inScript(script []byte, id string) bool {
	whole := regexp.MustCompile(`(?m)(^|[^\w.-])` + regexp.QuoteMeta(id) + `($|[^\w.-])`)
	return id != "" && whole.Match(script)
}

func (in Inventory) lookup(id string) (Flavor, bool) {
	for _, f := range in.flavors {
		if f.ID == id {
			return f, true
		}
	}
	return Flavor{}, false
}

// Default returns the id of the default flavor for a Docker architecture.
func Default(dockerArch string) string { return "hook-default-" + dockerArch }

// DockerArch returns the architecture as container images name it.
func (f Flavor) DockerArch() string {
	if f.Arch == AArch64 {
		return "arm64"
	}
	return "amd64"
}

// OutputID returns the suffix of build.sh's file names. Forced is
// FORCE_OUTPUT_ID from the command line; empty means the flavor's own.
func (f Flavor) OutputID(forced string) string {
	if forced == "" {
		forced = f.ForceOutputID
	}
	switch {
	case forced == "" && f.FixedOutputID != "":
		return f.FixedOutputID
	case f.Method == Armbian:
		return f.ID
	case forced != "":
		return forced + "-" + f.Arch
	case f.Config != "generic":
		return fmt.Sprintf("%s-%s.y-%s", f.Config, f.Series, f.Arch)
	case f.UseKernelID != "":
		return f.ID
	}
	return f.Arch
}

// ConfigPath returns the path of a source flavor's defconfig in a Hook
// checkout.
func (f Flavor) ConfigPath() string {
	return fmt.Sprintf("kernel/configs/%s-%s.y-%s", f.Config, f.Series, f.Arch)
}

// InCI reports whether one of the tags is among f's.
func (f Flavor) InCI(tags []string) bool {
	return slices.ContainsFunc(f.Tags, func(t string) bool { return slices.Contains(tags, t) })
}
