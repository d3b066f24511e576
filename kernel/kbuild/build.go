package kbuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/builder"
	"hookbuild/kernel/source"
)

// BuildOptions say how a plan is carried out.
type BuildOptions struct {
	// Dir gets the compiled kernel's files, in a directory of the flavor's
	// name.
	Dir string
	// Time is what the kernel says it was built at.
	Time time.Time
	// Firmware has the files to choose from; nil adds none.
	Firmware *initramfs.Tree
	Kernel   kernel.Options
}

// Target fetches the source and says what the builder is to work on.
func (p *Plan) Target(ctx context.Context) (builder.Target, error) {
	from, err := p.fetch(ctx)
	if err != nil {
		return builder.Target{}, err
	}
	return builder.Target{Flavor: p.Request.Flavor.ID, Arch: p.Request.Flavor.Arch, Source: from, Defconfig: p.Defconfig}, nil
}

func (p *Plan) fetch(ctx context.Context) (builder.Source, error) {
	r := p.Request
	var archive *source.Archive
	var err error
	switch {
	case r.Source == "":
		archive, err = p.fetchRelease(ctx)
	case isURL(r.Source):
		archive, err = source.FromURL(ctx, r.Source, r.SHA256, r.Download)
	case isDir(r.Source):
		if r.SHA256 != "" {
			return builder.Source{}, fault.Usagef("checking the kernel's source %q: a directory has no sha256; leave --sha256 out", r.Source)
		}
		return builder.Source{Dir: r.Source}, nil
	default:
		archive, err = source.FromFile(r.Source, r.SHA256)
	}
	if err != nil {
		return builder.Source{}, err
	}
	return builder.Source{Archive: archive.Path, SHA256: archive.SHA256}, nil
}

// fetchRelease gets kernel.org's archive, verified by the workspace's keys, and
// by its lock where that pins the release.
func (p *Plan) fetchRelease(ctx context.Context) (*source.Archive, error) {
	o, err := p.Request.verified()
	if err != nil {
		return nil, err
	}
	if p.Pinned != nil {
		o.SHA256 = p.Pinned.SHA256
	}
	archive, err := source.Fetch(ctx, p.Version, o)
	if errors.Is(err, source.ErrPinned) {
		err = fmt.Errorf("%w (by %s; `hookbuild kernel %s --lock` pins the newest release anew)", err, LockFile, p.Request.Flavor.ID)
	}
	return archive, err
}

// verified adds the workspace's keys to the request's way of downloading.
func (r Request) verified() (source.Options, error) {
	o := r.Download
	if len(o.Keys) > 0 {
		return o, nil
	}
	name := filepath.Join(r.HookDir, "kernel", "keys.asc")
	keys, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return o, fault.Invalidf("verifying the kernel's source: there is no keyring %q; take the one of github.com/tinkerbell/hook, or give --source FILE with --sha256", name)
	}
	if err != nil {
		return o, fmt.Errorf("verifying the kernel's source: %w", err)
	}
	o.Keys = keys
	return o, nil
}

// Build compiles the plan's kernel. Options that were asked for and did not
// take are an error before anything is compiled.
func (p *Plan) Build(ctx context.Context, b *builder.Builder, o BuildOptions) (*kernel.Image, error) {
	target, err := p.Target(ctx)
	if err != nil {
		return nil, err
	}
	if options := p.options(); len(options) > 0 {
		configured, err := b.Configure(ctx, target, options)
		if err != nil {
			return nil, err
		}
		target.Defconfig = configured.Defconfig
	}
	dir := filepath.Join(o.Dir, p.Request.Flavor.ID)
	if err := b.Compile(ctx, target, builder.CompileOptions{Strip: p.Request.Strip, Time: o.Time}, dir); err != nil {
		return nil, err
	}
	image, err := kernel.FromDir(ctx, dir, o.Kernel)
	if err != nil {
		return nil, err
	}
	image.Source = "build:" + p.Reference
	if err := p.choose(ctx, image, o); err != nil {
		return nil, errors.Join(err, image.Close())
	}
	return image, nil
}

// choose prunes the modules and adds firmware, where that was asked.
func (p *Plan) choose(ctx context.Context, image *kernel.Image, o BuildOptions) error {
	choice := p.Request.Modules
	if len(choice.Include) == 0 && len(choice.Exclude) == 0 && o.Firmware == nil {
		return nil
	}
	_, err := image.Select(ctx, choice, o.Firmware, o.Kernel)
	return err
}
