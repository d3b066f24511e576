package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/internal/web"
	"hookbuild/kernel/container"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/source"
)

// Target fetches the source and returns the input of the container.
func (p *Plan) Target(ctx context.Context) (container.Target, error) {
	from, err := p.fetch(ctx)
	if err != nil {
		return container.Target{}, err
	}
	return container.Target{Flavor: p.Request.Flavor.ID, Arch: p.Request.Flavor.Arch, Source: from, Defconfig: p.Defconfig, Patches: p.Patches}, nil
}

func (p *Plan) fetch(ctx context.Context) (container.Source, error) {
	r := p.Request
	var archive *source.Archive
	var err error
	switch {
	case r.Source == "":
		archive, err = p.fetchRelease(ctx)
	case isDir(r.Source):
		if r.SHA256 != "" {
			return container.Source{}, fault.Usagef("checking the kernel's source %q: a directory has no sha256; omit --sha256", r.Source)
		}
		return container.Source{Dir: r.Source}, nil
	default:
		archive, err = p.givenArchive(ctx)
	}
	if err != nil {
		return container.Source{}, err
	}
	return container.Source{Archive: archive.Path, SHA256: archive.SHA256}, nil
}

// givenArchive fetches the archive that Source names. A release in the
// archive's name must match its Makefile.
func (p *Plan) givenArchive(ctx context.Context) (*source.Archive, error) {
	if err := p.fetchArchive(ctx); err != nil {
		return nil, err
	}
	v, err := p.readVersion(ctx)
	if err == nil && v != p.Version {
		err = fault.Invalidf("reading the kernel's source %q: its name says Linux %s, but its Makefile says %s; rename it after its release", web.Show(p.Request.Source), p.Version, v)
	}
	return p.archive, err
}

// fetchRelease returns kernel.org's archive, verified with the workspace's keys
// and, if the workspace's lock pins the release, against the lock.
func (p *Plan) fetchRelease(ctx context.Context) (*source.Archive, error) {
	o, err := p.Request.verified()
	if err != nil {
		return nil, err
	}
	if p.Pinned != nil && o.SHA256 == "" {
		o.SHA256 = p.Pinned.SHA256
	}
	archive, err := source.Fetch(ctx, p.Version, o)
	if errors.Is(err, source.ErrPinned) {
		err = fmt.Errorf("%w (by %s; `hookbuild kernel %s --lock` pins the newest release)", err, LockFile, p.Request.Flavor.ID)
	}
	return archive, err
}

// Archive returns where the plan's source comes from and its sha256 in hex: the
// name or URL of the given archive, or that of kernel.org's. It fetches no
// archive of kernel.org. A directory has no checksum.
func (p *Plan) Archive(ctx context.Context) (name, sum string, err error) {
	r := p.Request
	switch {
	case r.Source == "":
		return p.listed(ctx)
	case isDir(r.Source):
		return "", "", fault.Invalidf("pinning the kernel's source %q: a directory has no checksum; give an archive with --source FILE", r.Source)
	}
	if err := p.fetchArchive(ctx); err != nil {
		return "", "", err
	}
	return r.Source, p.archive.SHA256, nil
}

// listed returns the checksum that pins kernel.org's archive, or that of
// kernel.org's signed list.
func (p *Plan) listed(ctx context.Context) (name, sum string, err error) {
	o, err := p.Request.verified()
	if err != nil {
		return "", "", err
	}
	switch {
	case o.SHA256 != "":
		sum = o.SHA256
	case p.Pinned != nil:
		sum = p.Pinned.SHA256
	default:
		sum, err = source.Sum(ctx, p.Version, o)
	}
	return source.URL(p.Version), sum, err
}

// Files returns what fetching a release of kernel.org needs; see [source.Files].
func (r Request) Files(ctx context.Context, v source.Version) ([]source.File, error) {
	o, err := r.verified()
	if err != nil {
		return nil, err
	}
	return source.Files(ctx, v, o)
}

// verified returns the request's download options with the workspace's keys.
func (r Request) verified() (source.Options, error) {
	o := r.Download
	if len(o.Keys) > 0 {
		return o, nil
	}
	name := filepath.Join(r.HookDir, "kernel", "keys.asc")
	keys, err := bounded.ReadFile(name, bounded.Small)
	if errors.Is(err, fs.ErrNotExist) {
		return o, fault.Invalidf("verifying the kernel's source: there is no keyring %q; copy it from github.com/tinkerbell/hook, or use --source FILE with --sha256", name)
	}
	if err != nil {
		return o, fmt.Errorf("verifying the kernel's source: %w", err)
	}
	o.Keys = keys
	return o, nil
}

// Options returns all options that are merged over the defconfig, in order. The
// last setting of an option wins.
func (p *Plan) Options() []kconfig.Request { return slices.Concat(p.Base, p.Requests) }
