package driver

import (
	"context"
	"errors"
	"fmt"
	"io"

	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/kernel/patch"
)

// Driver is an opened module source. It reads from files that stay open until
// [Driver.Close].
type Driver struct {
	// Name is valid as a part of a file's name.
	Name string
	// Origin is where the source came from, as far as it may be shown.
	Origin string
	// Form is how it is built, in its directory Dir ("" is the top).
	Form Form
	Dir  string
	// Make holds the arguments that are added to those of make.
	Make []string
	// Tree holds the source's files.
	Tree *initramfs.Tree
	// Digest identifies everything that is known here of the modules: the
	// source's content with its patches, and how it is built.
	Digest string

	files []io.Closer
}

// Options are what opening a source needs.
type Options struct {
	// Cache keeps downloads and unpacked archives.
	Cache *cache.Cache
	// Web fetches URLs; nil is a client with the default limits.
	Web *web.Client
	// Offline forbids downloads. What is in the cache still opens.
	Offline  bool
	Progress progress.Sink
}

// Open opens a module source, applies its patches and finds out how it is built.
func Open(ctx context.Context, s Spec, o Options) (*Driver, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	d := &Driver{Origin: web.Show(s.Source), Make: s.Make, Tree: &initramfs.Tree{}}
	if err := d.open(ctx, s, o); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the module source %q: %w", d.Origin, err), d.Close())
	}
	return d, nil
}

// OpenAll opens module sources. Their names must differ.
func OpenAll(ctx context.Context, specs []Spec, o Options) (all []*Driver, err error) {
	names := map[string]*Driver{}
	for _, s := range specs {
		d, err := Open(ctx, s, o)
		if err == nil && names[d.Name] != nil {
			err = fault.Usagef("reading the module sources %q and %q: both are called %s; give one another name with name=NAME", names[d.Name].Origin, d.Origin, d.Name)
			err = errors.Join(err, d.Close())
		}
		if err != nil {
			return nil, errors.Join(err, CloseAll(all))
		}
		names[d.Name] = d
		all = append(all, d)
	}
	return all, nil
}

// CloseAll closes module sources.
func CloseAll(all []*Driver) error {
	var errs []error
	for _, d := range all {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// Close releases the files that the driver reads from.
func (d *Driver) Close() error {
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.Close())
	}
	d.files = nil
	return errors.Join(errs...)
}

func (d *Driver) open(ctx context.Context, s Spec, o Options) error {
	content, err := d.fill(ctx, s, o)
	if err != nil {
		return err
	}
	patches, err := patch.ReadAll(s.Patches)
	if err != nil {
		return err
	}
	if err := d.applyPatches(patches); err != nil {
		return err
	}
	if err := d.detect(s); err != nil {
		return err
	}
	parts := []string{"module source v1", d.Name, d.Form.String(), d.Dir, content}
	for _, p := range patches {
		parts = append(parts, "patch", p.Digest)
	}
	for _, argument := range d.Make {
		parts = append(parts, "make", argument)
	}
	d.Digest = digest.OfStrings(parts...)
	return nil
}

// applyPatches changes files of the tree.
func (d *Driver) applyPatches(patches []*patch.Patch) error {
	changed, err := patch.Apply(patches, d.content)
	if err != nil {
		return err
	}
	for name, c := range changed {
		if c == nil {
			d.Tree.Remove(name)
			continue
		}
		e := initramfs.BytesFile(name, c.Text, initramfs.Epoch())
		e.Origin = d.Origin
		if c.Executable {
			e.Mode = 0o755
		}
		if err := d.Tree.Add(e); err != nil {
			return fault.Mark(err, fault.Invalid)
		}
	}
	return nil
}

// mostPatched limits the size of a file that is patched or looked into.
const mostPatched = 64 << 20

// content returns the content of a file of the tree, or nil if it does not exist.
func (d *Driver) content(name string) (_ *patch.Content, err error) {
	e, ok := d.Tree.File(name)
	switch {
	case !ok:
		return nil, nil
	case e.Type != initramfs.Regular:
		return nil, fault.Invalidf("reading %q: it is a %s", name, e.Type)
	case e.Size > mostPatched:
		return nil, fault.Invalidf("reading %q: it has %d bytes", name, e.Size)
	case e.Open == nil:
		return &patch.Content{Executable: e.Mode&0o100 != 0}, nil
	}
	f, err := e.Open()
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, e.Size))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	return &patch.Content{Text: text, Executable: e.Mode&0o100 != 0}, nil
}

// fetched opens an archive and checks its checksum.
func (s Spec) fetched(ctx context.Context, o Options) (f fetch.File, sum string, err error) {
	source := s.Source
	if web.IsURL(source) && s.SHA256 != "" {
		if source, _, err = web.Split(source); err != nil {
			return nil, "", err
		}
		source += "#sha256=" + s.SHA256
	}
	f, err = fetch.Open(ctx, source, fetch.Options{Cache: o.Cache, Web: o.Web, Offline: o.Offline, Progress: o.Progress})
	if err != nil {
		return nil, "", err
	}
	sum, err = fetch.Digest(ctx, f)
	if err == nil && s.SHA256 != "" && sum != "sha256:"+lower(s.SHA256) {
		err = fault.Invalidf("it has the %s, and it should have sha256:%s; check the file and the checksum", sum, lower(s.SHA256))
	}
	if err != nil {
		return nil, "", errors.Join(err, f.Close())
	}
	return f, sum, nil
}
