package kernel

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/tarball"
	"hookbuild/internal/words"
	"hookbuild/kernel/modules"
)

// complete finishes an image whose files are in place: it identifies the
// kernel, unpacks compressed modules, and writes depmod's indexes where the
// source has no indexes or they describe other files.
func (m *Image) complete(ctx context.Context, o Options) error {
	if err := m.identify(ctx); err != nil {
		return err
	}
	dir, ok := m.Modules.Lookup(m.modulesDir())
	if !ok || dir.Type != initramfs.Dir {
		return nil
	}
	unpacked := false
	if !o.KeepPacked {
		var err error
		if unpacked, err = m.unpackModules(ctx, o); err != nil {
			return err
		}
	}
	if _, ok := m.Modules.Lookup(m.modulesDir() + "/modules.dep"); ok && !unpacked {
		return nil
	}
	return m.index(ctx, o)
}

// index adds depmod's indexes to Modules. They are kept in the cache, because making
// them takes reading every module.
func (m *Image) index(ctx context.Context, o Options) error {
	task := progress.Start(o.Progress, 0, "index the modules of %s", m.Release)
	if err := m.addIndexes(ctx, o); err != nil {
		return task.End(fmt.Errorf("indexing the modules of %q: %w", m.Source, err), "")
	}
	count := 0
	for e := range m.Modules.All() {
		if modules.IsModule(e.Path) {
			count++
		}
	}
	return task.End(nil, words.Count(count, "module"))
}

func (m *Image) addIndexes(ctx context.Context, o Options) error {
	key := digest.OfStrings("module indexes v1", m.Digest, m.Release, fmt.Sprint(o.KeepPacked))
	f, _, err := o.Cache.Derived(ctx, "kernels", key, func(w io.Writer) error { return m.writeIndexes(ctx, w, o.Jobs) })
	if err != nil {
		return err
	}
	m.files = append(m.files, f)
	indexes, err := tarball.Entries(f, f.Size(), "the module index of "+m.Release)
	if err != nil {
		return err
	}
	for _, e := range indexes {
		if err := m.Modules.Add(e); err != nil {
			return err
		}
	}
	return nil
}

// writeIndexes writes the indexes of the modules as a tar archive.
func (m *Image) writeIndexes(ctx context.Context, w io.Writer, jobs int) error {
	set, err := modules.Read(ctx, m.Modules, m.Release, jobs)
	if err != nil {
		return err
	}
	indexes := &initramfs.Tree{}
	if dir, ok := m.Modules.Lookup(m.modulesDir()); ok {
		if err := indexes.Add(dir); err != nil {
			return err
		}
	}
	if err := set.WriteIndexes(indexes); err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	for e := range indexes.All() {
		if e.Type != initramfs.Regular {
			continue
		}
		if err := addEntry(ctx, archive, e, time.Unix(math.MaxInt32, 0)); err != nil {
			return err
		}
	}
	return archive.Close()
}
