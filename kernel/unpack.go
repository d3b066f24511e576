package kernel

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"math"
	"path"
	"time"

	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/tarball"
	"hookbuild/kernel/modules"
)

// unpackModules replaces modules that are compressed one by one (.ko.gz,
// .ko.xz, .ko.zst) by their content. HookOS loads modules with busybox, which
// cannot read compressed ones, and a kernel reads only the formats that it was
// configured for. The initramfs is compressed as a whole anyway. The result
// reports whether there were any compressed modules.
func (m *Image) unpackModules(ctx context.Context, o Options) (bool, error) {
	count := 0
	for e := range m.Modules.All() {
		if modules.IsModule(e.Path) && modules.PlainName(e.Path) != e.Path {
			count++
		}
	}
	if count == 0 {
		return false, nil
	}
	task := progress.Start(o.Progress, 0, "unpack the modules of %s", m.Release)
	if err := m.replaceModules(ctx, o); err != nil {
		return false, task.End(fmt.Errorf("unpacking the modules of %q: %w", m.Source, err), "")
	}
	return true, task.End(nil, fmt.Sprintf("%d modules", count))
}

// replaceModules replaces the modules by unpacked ones, which it keeps as an
// archive in the cache.
func (m *Image) replaceModules(ctx context.Context, o Options) error {
	packed, err := contentDigest(ctx, m.Modules)
	if err != nil {
		return err
	}
	f, _, err := o.Cache.Derived(ctx, "kernels", digest.OfStrings("plain modules v1", packed), func(w io.Writer) error {
		return writePlain(ctx, w, m.Modules)
	})
	if err != nil {
		return err
	}
	m.files = append(m.files, f)
	entries, err := tarball.Entries(f, f.Size(), m.Source)
	if err != nil {
		return err
	}
	plain := &initramfs.Tree{}
	for _, e := range entries {
		if err := plain.Add(e); err != nil {
			return err
		}
	}
	m.Modules = plain
	m.Digest = "sha256:" + digest.OfStrings("plain modules v1", m.Digest)
	return nil
}

// writePlain writes the tree as a tar archive with every module unpacked. Links
// come last, because their targets may follow them.
func writePlain(ctx context.Context, w io.Writer, t *initramfs.Tree) error {
	archive := tar.NewWriter(w)
	never := time.Unix(math.MaxInt32, 0)
	var links []initramfs.Entry
	for e := range t.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, skip, err := plainEntry(t, e)
		if err != nil {
			return err
		}
		switch {
		case skip:
		case e.Type == initramfs.HardLink:
			links = append(links, e)
		default:
			if err := addEntry(ctx, archive, e, never); err != nil {
				return err
			}
		}
	}
	for _, e := range links {
		if err := addEntry(ctx, archive, e, never); err != nil {
			return err
		}
	}
	return archive.Close()
}

// plainEntry returns an entry with its module unpacked and the compression
// suffix removed from its name and link target. It skips a module that the tree
// also holds unpacked.
func plainEntry(t *initramfs.Tree, e initramfs.Entry) (_ initramfs.Entry, skip bool, err error) {
	name := modules.PlainName(e.Path)
	if !modules.IsModule(e.Path) || name == e.Path {
		return e, false, nil
	}
	if _, twice := t.Lookup(name); twice {
		return e, true, nil
	}
	if e.Type == initramfs.Symlink || e.Type == initramfs.HardLink {
		e.Target = modules.PlainName(e.Target)
	}
	if e.Type == initramfs.Regular {
		content, err := modules.Unpack(e)
		if err != nil {
			return e, false, err
		}
		plain := initramfs.BytesFile(name, content, e.ModTime)
		e.Size, e.Open = plain.Size, plain.Open
	}
	e.Path = path.Clean(name)
	return e, false, nil
}
