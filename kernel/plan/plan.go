// Package plan determines which kernel a flavor has: it finds the release, the
// source and the configuration in the workspace and on kernel.org, and derives
// the name of the kernel image from everything that goes into it. Package
// container compiles what is planned here. Flavors with prebuilt kernels
// (Armbian) have no plan.
package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hookbuild/internal/bounded"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/kernel/container"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/modules"
	"hookbuild/kernel/patch"
	"hookbuild/kernel/source"
)

// Repository is the default repository of HookOS kernel images;
// HOOK_KERNEL_OCI_BASE overrides it.
const Repository = "ghcr.io/tinkerbell/hook/kernel/hook-kernel"

// Request describes the wanted kernel.
type Request struct {
	Flavor flavor.Flavor
	// HookDir is the Hook checkout with kernel/configs.
	HookDir string
	// Repository is the prefix of the image's name; empty means [Repository].
	Repository string
	// PointRelease is the third number of the version; empty means the newest.
	PointRelease string
	// Source is an archive (path or URL) or a directory that takes the place
	// of kernel.org's; SHA256 is the archive's checksum in hex.
	Source, SHA256 string
	// AcceptLost accepts a source that does not know all lines of the
	// configuration, or that is of another series.
	AcceptLost bool
	// Fragments are configuration files, and Sets arguments of --set, that
	// are merged for this build.
	Fragments, Sets []string
	// Patches are files that are applied to the source, in order.
	Patches []string
	// ModuleSources holds the digests of the module sources that are built with
	// the kernel, for the image's tag.
	ModuleSources []string
	// Modules chooses the modules of the image. Strip removes debugging
	// symbols.
	Modules modules.Choice
	Strip   bool
	// Firmware names the firmware that will be added, for the image's tag: a
	// directory or "image:REF"; empty means none.
	Firmware string
	// Download specifies where sources are fetched from and kept. If it has no
	// keys, those of the workspace are used.
	Download source.Options
}

// Plan is a request together with everything that can be determined without
// Docker.
type Plan struct {
	Request   Request
	Version   source.Version
	Defconfig []byte // of the workspace
	// Base are the options of the flavor's own fragments, Requests those of the
	// request's fragments and sets, each in their order.
	Base, Requests []kconfig.Request
	// Patches are the request's patches.
	Patches []*patch.Patch
	// Pinned is the version's pin in the workspace's lock, or nil.
	Pinned *Pin
	// Reference is the name of the kernel image.
	Reference string

	archive *source.Archive // of Request.Source, once it was fetched
}

// Resolve returns the plan for a flavor that is built from source.
func Resolve(ctx context.Context, r Request) (*Plan, error) {
	p, err := prepare(r)
	if err != nil {
		return nil, err
	}
	if err := r.checkSource(); err != nil {
		return nil, err
	}
	if err := p.findVersion(ctx); err != nil {
		return nil, err
	}
	tag, err := p.hash()
	if err != nil {
		return nil, err
	}
	p.Reference = fmt.Sprintf("%s:%d.%d.%d-%s", r.ImageRepository(), p.Version.Major, p.Version.Minor, p.Version.Point, tag)
	return p, nil
}

// ImageRepository returns the prefix of the names of the request's kernel
// images.
func (r Request) ImageRepository() string {
	if r.Repository == "" {
		return Repository
	}
	return r.Repository
}

// prepare reads the configuration in the workspace and in the request.
func prepare(r Request) (*Plan, error) {
	var err error
	if r.Source, r.SHA256, err = source.Checksum(r.Source, r.SHA256); err != nil {
		return nil, err
	}
	p := &Plan{Request: r}
	if p.Patches, err = patch.ReadAll(r.Patches); err != nil {
		return nil, err
	}
	if p.Defconfig, err = readDefconfig(r); err != nil {
		return nil, err
	}
	var own []string
	for _, name := range r.Flavor.Fragments {
		own = append(own, filepath.Join(r.HookDir, filepath.FromSlash(name)))
	}
	if p.Base, err = readRequests(own, nil); err != nil {
		return nil, fmt.Errorf("reading the fragments of the flavor %s (%s): %w", r.Flavor.ID, flavor.File, err)
	}
	p.Requests, err = readRequests(r.Fragments, r.Sets)
	return p, err
}

// TagHash returns the hash at the end of the tags of the request's kernel
// images, which is the same for all versions.
func TagHash(r Request) (string, error) {
	p, err := prepare(r)
	if err != nil {
		return "", err
	}
	return p.hash()
}

// ConfigFile returns the path of the flavor's defconfig.
func (r Request) ConfigFile() string { return filepath.Join(r.HookDir, r.Flavor.ConfigPath()) }

// notBuilt explains why the kernels of Armbian's flavors are not built here.
const notBuilt = "it is not built from source but comes ready-made from Armbian, whose configurations are at github.com/armbian/build"

func readDefconfig(r Request) ([]byte, error) {
	if r.Flavor.Method != flavor.Source {
		return nil, fault.Usagef("configuring the kernel of %s: %s", r.Flavor.ID, notBuilt)
	}
	text, err := bounded.ReadFile(r.ConfigFile(), bounded.Small)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Invalidf("reading the kernel configuration of %s: %w; restore it, or start from a copy of one in its directory: %s", r.Flavor.ID, err, beside(r.ConfigFile()))
	}
	if err != nil {
		return nil, fault.Invalidf("reading the kernel configuration of %s: %w", r.Flavor.ID, err)
	}
	_, err = kconfig.Parse(strings.NewReader(string(text)), r.ConfigFile())
	return text, err
}

func beside(file string) string {
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return "(the directory cannot be read either)"
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, ", ")
}

// readRequests reads fragments, then arguments of --set.
func readRequests(fragments, sets []string) ([]kconfig.Request, error) {
	var all []kconfig.Request
	for _, name := range fragments {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.Invalidf("reading the fragment: %w", err)
		}
		c, err := kconfig.Parse(f, name)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		all = append(all, c.Requests("--fragment "+name)...)
	}
	for _, arg := range sets {
		r, err := kconfig.ParseSet(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// checkSource looks for a local source before any slow step.
func (r Request) checkSource() error {
	if r.Source == "" || isURL(r.Source) {
		return nil
	}
	if _, err := os.Stat(r.Source); err != nil {
		return fault.Invalidf("looking for the kernel's source: %w", err)
	}
	return nil
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// findVersion determines the release to build: that of a given source, else the
// requested one, the one that the lock pins, or the newest.
func (p *Plan) findVersion(ctx context.Context) (err error) {
	r := p.Request
	if r.Source != "" {
		p.Version, err = p.sourceVersion(ctx)
		return err
	}
	lock, err := ReadLock(r.HookDir)
	if err != nil {
		return err
	}
	pin, pinned := lock.Find(r.Flavor.Series)
	if r.PointRelease == "" && pinned {
		p.Version = pin.Version
	} else if p.Version, err = r.release(ctx); err != nil {
		return err
	}
	if pinned && p.Version == pin.Version {
		p.Pinned = &pin
	}
	return nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// hash returns the end of the image's tag. If only the workspace's files
// determine the kernel, it is upstream's hash, so that hookbuild and build.sh
// find each other's images. Otherwise it covers the whole request.
func (p *Plan) hash() (string, error) {
	upstream, err := bounded.ReadFile(filepath.Join(p.Request.HookDir, "kernel", "Dockerfile"), bounded.Small)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("naming the kernel image: %w", err)
	}
	h := sha256.New()
	h.Write(p.Defconfig)
	if err == nil && p.plain() {
		h.Write(upstream)
		return hex.EncodeToString(h.Sum(nil))[:8], nil
	}
	r := p.Request
	// Hash only the options: the file and line of a fragment do not change the
	// kernel.
	for _, o := range p.Options() {
		fmt.Fprintf(h, "\x00%s=%s", o.Option, o.Value)
	}
	fmt.Fprintf(h, "\x00\x00%q\x00%q %q %t\x00%q\x00%s", p.sourceID(), r.Modules.Include, r.Modules.Exclude, r.Strip, r.Firmware, container.Dockerfile())
	for _, patch := range p.Patches {
		fmt.Fprintf(h, "\x00patch %s", patch.Digest)
	}
	for _, source := range r.ModuleSources {
		fmt.Fprintf(h, "\x00modules %s", source)
	}
	return hex.EncodeToString(h.Sum(nil))[:8], nil
}

// SourceKey identifies what is compiled: the source, the configuration and the
// patches, but not the builder. It is "" if the source may change under its name.
func (p *Plan) SourceKey() string {
	r := p.Request
	if isURL(r.Source) && r.SHA256 == "" || r.Source != "" && isDir(r.Source) {
		return ""
	}
	parts := []string{p.Version.String(), p.sourceID(), r.Download.SHA256, digest.OfBytes(p.Defconfig), fmt.Sprint(r.AcceptLost)}
	for _, o := range p.Options() {
		parts = append(parts, "option "+o.Option+"="+o.Value)
	}
	for _, patch := range p.Patches {
		parts = append(parts, "patch "+patch.Digest)
	}
	return digest.OfStrings(parts...)
}

// plain reports whether nothing is added to the workspace's defconfig and to
// kernel.org's source.
func (p *Plan) plain() bool {
	r := p.Request
	return len(p.Base) == 0 && len(p.Requests) == 0 && r.Source == "" && len(r.Patches) == 0 && len(r.ModuleSources) == 0 && r.Strip && len(r.Modules.Include) == 0 && len(r.Modules.Exclude) == 0 && r.Firmware == ""
}

// sourceID identifies the content of a given source as far as possible: an
// archive by its checksum, other sources by their location. See [Plan.Certain].
func (p *Plan) sourceID() string {
	r := p.Request
	switch {
	case r.Source == "" || isURL(r.Source) && r.SHA256 == "" || isDir(r.Source):
		return r.Source
	case r.SHA256 != "":
		return strings.ToLower(r.SHA256)
	}
	return p.archive.SHA256 // a local file, which findVersion opened
}

// Certain reports whether the image's name identifies its content. It does not
// if a directory or an unchecked URL goes into the image, because the content
// may change while the name stays the same. Such an image is rebuilt each time.
func (p *Plan) Certain() bool {
	r := p.Request
	return (!isURL(r.Source) || r.SHA256 != "") && (r.Source == "" || !isDir(r.Source)) && (r.Firmware == "" || strings.HasPrefix(r.Firmware, "image:"))
}

// Configured returns the options of the flavor's configuration in the checkout
// with its own fragments merged, before the kernel's defaults.
func Configured(r Request) (*kconfig.Config, error) {
	p, err := prepare(r)
	if err != nil {
		return nil, err
	}
	return kconfig.Parse(strings.NewReader(string(kconfig.Merge(p.Defconfig, p.Base))), r.ConfigFile())
}
