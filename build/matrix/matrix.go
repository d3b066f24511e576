// Package matrix chooses what CI builds, and on which runners: as JSON for the
// matrices of GitHub Actions, as one JSON document, or as a child pipeline of
// GitLab. The output for GitHub is that of upstream's "build.sh gha-matrix" in
// the same environment, but in the inventory's order where upstream's is that of
// a hash table.
package matrix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/nearest"
	"hookbuild/kernel/flavor"
)

// Matrix lists the jobs of CI.
type Matrix struct {
	Kernels    []Entry     `json:"kernels"`
	Hooks      []Entry     `json:"hooks"`
	Containers []Container `json:"containers"`
	Media      []Medium    `json:"media"`
}

// Entry is a kernel, or a HookOS of a flavor.
type Entry struct {
	Kernel     string   `json:"kernel"` // the flavor's id
	Arch       string   `json:"arch"`
	DockerArch string   `json:"docker_arch"`
	BuildISO   string   `json:"build_iso"` // "yes" or ""
	Runner     []string `json:"runner"`
	GHACache   string   `json:"gha_cache"` // "yes"
	// KernelImage is the published image that a HookOS takes its kernel from,
	// for which there is no job; see [Matrix.Without].
	KernelImage string `json:"kernel_image,omitempty"`

	typ    string // the flavor's type
	source string // the id of the flavor whose kernel this one has, which may be its own
}

// Container is the job that builds the checkout's containers for an architecture.
type Container struct {
	DockerArch string   `json:"docker_arch"`
	Runner     []string `json:"runner"`
}

// Medium is a boot medium for a board.
type Medium struct {
	Kernel       string   `json:"kernel"`
	Bootable     string   `json:"bootable"`
	Arch         string   `json:"arch"`
	DockerArch   string   `json:"docker_arch"`
	BoardID      string   `json:"board_id"`
	BoardOptions string   `json:"board_opts"`
	Runner       []string `json:"runner"`
}

// Inventory lists everything that can be built.
type Inventory struct {
	Flavors   []flavor.Flavor
	Bootables []flavor.Bootable
}

// defaultTags choose the flavors if CI_TAGS is not set.
const defaultTags = "standard dev armbian-sbc armbian-uefi"

// DefaultTags returns the tags that the environment variable CI_TAGS lists, or
// those for when it is not set. As in upstream's program, they may be unknown.
func DefaultTags(env func(key string) string) []string {
	return strings.Fields(or(env("CI_TAGS"), defaultTags))
}

// CheckTags returns an error if a tag is neither a flavor's nor a boot medium's.
func (in Inventory) CheckTags(tags []string) error {
	known := map[string]bool{}
	for _, f := range in.Flavors {
		for _, t := range f.Tags {
			known[t] = true
		}
	}
	for _, b := range in.Bootables {
		for _, t := range b.Tags {
			known[t] = true
		}
	}
	all := slices.Sorted(maps.Keys(known))
	for _, t := range tags {
		if known[t] {
			continue
		}
		meant := ""
		if near := nearest.Word(t, all); near != "" {
			meant = fmt.Sprintf(" (did you mean %s?)", near)
		}
		return fault.Usagef("choosing flavors by the tag %q: no flavor has it%s; the tags are %s", t, meant, strings.Join(all, ", "))
	}
	return nil
}

// Make chooses the flavors of the inventory that have one of the tags. Env returns
// a variable's value, or "" if it is not set; CI_RUNNER... and
// CI_RUNNERS_SELF_HOSTED_TAG choose the runners.
func Make(in Inventory, tags []string, env func(key string) string) (Matrix, error) {
	m := Matrix{}
	arches := map[string]bool{}
	for _, f := range in.Flavors {
		if !f.InCI(tags) {
			continue
		}
		arches[f.DockerArch()] = true
		if f.UseKernelID == "" {
			m.Kernels = append(m.Kernels, entry(f, kernelRunner(f, env)))
		}
		m.Hooks = append(m.Hooks, entry(f, runner(env, "LK", "", f.DockerArch())))
	}
	for _, arch := range slices.Sorted(maps.Keys(arches)) {
		m.Containers = append(m.Containers, Container{arch, runner(env, "LK_CONTAINERS", "", arch)})
	}
	var err error
	m.Media, err = media(in, tags, env)
	return m, err
}

func entry(f flavor.Flavor, runner []string) Entry {
	iso := ""
	if f.ISO {
		iso = "yes"
	}
	return Entry{Kernel: f.ID, Arch: f.Arch, DockerArch: f.DockerArch(), BuildISO: iso, Runner: runner, GHACache: "yes", typ: f.Type, source: or(f.UseKernelID, f.ID)}
}

func media(in Inventory, tags []string, env func(string) string) ([]Medium, error) {
	var all []Medium
	for _, b := range in.Bootables {
		i := slices.IndexFunc(in.Flavors, func(f flavor.Flavor) bool { return f.ID == b.Flavor })
		if i < 0 {
			return nil, fmt.Errorf("choosing boot media: %q uses the flavor %q, which is not in the inventory", b.ID, b.Flavor)
		}
		if !slices.ContainsFunc(b.Tags, func(t string) bool { return slices.Contains(tags, t) }) {
			continue
		}
		f := in.Flavors[i]
		for _, board := range b.Boards {
			all = append(all, Medium{f.ID, b.ID, f.Arch, f.DockerArch(), board.ID, board.Options, runner(env, "BOOTABLE", "", f.DockerArch())})
		}
	}
	return all, nil
}

func kernelRunner(f flavor.Flavor, env func(string) string) []string {
	return runner(env, "KERNEL", strings.ToUpper(f.Type), f.DockerArch())
}

// runner returns the labels of GitHub's runner for a job. Runners other than
// GitHub's get the label for self-hosted ones too.
func runner(env func(string) string, kind, typ, arch string) []string {
	arch = strings.ToUpper(arch)
	chosen := or(ownRunner(env, kind, typ, arch), githubRunner(arch))
	labels := strings.Fields(chosen)
	mark := or(env("CI_RUNNERS_SELF_HOSTED_TAG"), "self-hosted")
	if strings.HasPrefix(chosen, "ubuntu-") || mark == "none" {
		return labels
	}
	return append([]string{mark}, labels...)
}

// ownRunner returns the value of the first variable that is set of those for kind,
// type and architecture, from the most to the least specific, or "".
func ownRunner(env func(string) string, kind, typ, arch string) string {
	variables := []string{kind + "_" + arch, kind, arch}
	if typ != "" {
		variables = append([]string{kind + "_" + typ + "_" + arch, kind + "_" + typ}, variables...)
	}
	chosen := ""
	for _, v := range variables {
		chosen = or(chosen, env("CI_RUNNER_"+v))
	}
	return or(chosen, env("CI_RUNNER"))
}

// RunnerVariables returns the names of the variables that choose runners of some jobs,
// sorted: CI_RUNNER_KERNEL_ARM64 and the like.
func RunnerVariables() []string {
	names := map[string]bool{}
	record := func(name string) string { names[name] = true; return "" }
	for _, arch := range []string{"AMD64", "ARM64"} {
		for _, typ := range []string{"SOURCE", "EXTERNAL"} {
			ownRunner(record, "KERNEL", typ, arch)
		}
		for _, kind := range []string{"LK", "LK_CONTAINERS", "BOOTABLE"} {
			ownRunner(record, kind, "", arch)
		}
	}
	delete(names, "CI_RUNNER") // that of all jobs
	return slices.Sorted(maps.Keys(names))
}

func githubRunner(arch string) string {
	if arch == "ARM64" {
		return "ubuntu-24.04-arm"
	}
	return "ubuntu-latest"
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// output is a step's output in GitHub Actions.
type output struct{ Name, JSON string }

// outputs returns the four matrices under the names that workflows use, each as
// one line of JSON.
func (m Matrix) outputs() ([]output, error) {
	var all []output
	for _, part := range []struct {
		name    string
		entries any
	}{
		{"kernels_json", list(m.Kernels)},
		{"lk_hooks_json", list(m.Hooks)},
		{"lkcontainers_json", list(m.Containers)},
		{"bootable_json", list(m.Media)},
	} {
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(part.entries); err != nil {
			return nil, fmt.Errorf("encoding the matrix %q: %w", part.name, err)
		}
		all = append(all, output{part.name, strings.TrimSuffix(text.String(), "\n")})
	}
	return all, nil
}

// list returns entries, or an empty slice for nil, which JSON would show as null.
func list[E any](entries []E) []E {
	if entries == nil {
		return []E{}
	}
	return entries
}

// Write writes the outputs in the format of $GITHUB_OUTPUT, one NAME=JSON a line.
func (m Matrix) Write(w io.Writer) error {
	outputs, err := m.outputs()
	if err != nil {
		return err
	}
	for _, o := range outputs {
		if _, err := fmt.Fprintf(w, "%s=%s\n", o.Name, o.JSON); err != nil {
			return fmt.Errorf("writing the matrix %q: %w", o.Name, err)
		}
	}
	return nil
}

// WriteJSON writes the matrix as one JSON document.
func (m Matrix) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(Matrix{list(m.Kernels), list(m.Hooks), list(m.Containers), list(m.Media)}); err != nil {
		return fmt.Errorf("writing the matrix: %w", err)
	}
	return nil
}

// WithoutHooks returns the matrix without the HookOS for which published returns
// true, and without the kernels that only those need.
func (m Matrix) WithoutHooks(published func(flavorID string) (bool, error)) (Matrix, error) {
	var kept []Entry
	needed, dropped := map[string]bool{}, map[string]bool{}
	for _, h := range m.Hooks {
		there, err := published(h.Kernel)
		if err != nil {
			return m, err
		}
		if there {
			dropped[h.source] = true
			continue
		}
		needed[h.source] = true
		kept = append(kept, h)
	}
	m.Hooks = kept
	m.Kernels = slices.DeleteFunc(slices.Clone(m.Kernels), func(k Entry) bool { return dropped[k.Kernel] && !needed[k.Kernel] })
	return m, nil
}

// Without returns the matrix without the kernels for which published returns an
// image's reference. Their HookOS take that image.
func (m Matrix) Without(published func(flavorID string) (string, error)) (Matrix, error) {
	var kept []Entry
	hooks := slices.Clone(m.Hooks)
	for _, k := range m.Kernels {
		ref, err := published(k.Kernel)
		if err != nil {
			return m, err
		}
		if ref == "" {
			kept = append(kept, k)
			continue
		}
		for i := range hooks {
			if hooks[i].source == k.Kernel {
				hooks[i].KernelImage = ref
			}
		}
	}
	m.Kernels, m.Hooks = kept, hooks
	return m, nil
}

// For returns the matrix with only the jobs for architectures ("x86_64", "aarch64"), and
// the ids of the flavors whose HookOS it leaves out.
func (m Matrix) For(arches []string) (kept Matrix, without []string) {
	other := func(e Entry) bool { return !slices.Contains(arches, e.Arch) }
	for _, h := range m.Hooks {
		if other(h) {
			without = append(without, h.Kernel)
		}
	}
	m.Hooks = slices.DeleteFunc(slices.Clone(m.Hooks), other)
	m.Kernels = slices.DeleteFunc(slices.Clone(m.Kernels), other)
	m.Containers = slices.DeleteFunc(slices.Clone(m.Containers), func(c Container) bool {
		return !slices.ContainsFunc(m.Hooks, func(h Entry) bool { return h.DockerArch == c.DockerArch })
	})
	m.Media = slices.DeleteFunc(slices.Clone(m.Media), func(b Medium) bool { return !slices.Contains(arches, b.Arch) })
	return m, without
}
