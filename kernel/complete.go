package kernel

import (
	"context"
	"fmt"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
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

// index writes depmod's indexes into Modules.
func (m *Image) index(ctx context.Context, o Options) error {
	task := progress.Start(o.Progress, 0, "index the modules of %s", m.Release)
	set, err := modules.Read(ctx, m.Modules, m.Release, o.Jobs)
	if err == nil {
		err = set.WriteIndexes(m.Modules)
	}
	if err != nil {
		return task.End(fmt.Errorf("indexing the modules of %q: %w", m.Source, err), "")
	}
	return task.End(nil, fmt.Sprintf("%d modules", len(set.Modules)))
}
