package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel/modules"
)

// FromParts returns the kernel of a kernel file and of modules elsewhere in a
// tree, such as the vmlinuz and the initramfs of a HookOS. A nil tree means no
// modules. The file is read when it is used.
func FromParts(ctx context.Context, vmlinuz string, tree *initramfs.Tree) (*Image, error) {
	f, err := os.Open(vmlinuz)
	if err != nil {
		return nil, invalid("reading a kernel: %w", err)
	}
	below, err := modulesOf(tree)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	m := &Image{Modules: below, DTBs: &initramfs.Tree{}, Source: vmlinuz, files: []io.Closer{f}}
	if err := m.fillFromFile(ctx, f); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// mostKernel limits the size of a kernel's file; those of distributions have 15 to
// 60 MB.
const mostKernel = 1 << 30

func (m *Image) fillFromFile(ctx context.Context, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading the kernel %q: %w", m.Source, err)
	}
	if info.Size() > mostKernel {
		return invalid("reading the kernel %q: it has %d bytes, more than %d", m.Source, info.Size(), int64(mostKernel))
	}
	m.Kernel = initramfs.Entry{
		Path: ociKernel, Mode: 0o644, Size: info.Size(), ModTime: info.ModTime(), Origin: m.Source,
		Open: func() (io.ReadCloser, error) { return nopCloser{io.NewSectionReader(f, 0, info.Size())}, nil },
	}
	if m.Digest, err = digest.OfReader(ctx, io.NewSectionReader(f, 0, info.Size())); err != nil {
		return fmt.Errorf("reading the kernel %q: %w", m.Source, err)
	}
	return m.identify(ctx)
}

// nopCloser adds Close to a reader and keeps its random access, which package
// inspect needs.
type nopCloser struct{ *io.SectionReader }

// Close implements [io.Closer].
func (nopCloser) Close() error { return nil }

// modulesOf returns the part of a tree below lib/modules.
func modulesOf(tree *initramfs.Tree) (*initramfs.Tree, error) {
	below := &initramfs.Tree{}
	if tree == nil {
		return below, nil
	}
	dir, ok := tree.Resolve("lib")
	if !ok {
		return below, nil
	}
	for e := range tree.All() {
		rest, ok := strings.CutPrefix(e.Path, dir+"/modules/")
		if !ok || e.Type == initramfs.HardLink {
			continue
		}
		e.Path = modulesRoot + "/" + rest
		if err := below.Add(e); err != nil {
			return nil, err
		}
	}
	return below, nil
}

// CatalogIn reads which hardware the modules in a file tree, such as an
// initramfs, drive. It returns nil for a tree without modules.
func CatalogIn(ctx context.Context, tree *initramfs.Tree, jobs int) (*modules.Catalog, error) {
	below, err := modulesOf(tree)
	if err != nil {
		return nil, err
	}
	release, err := moduleRelease(below)
	if err != nil {
		return nil, invalid("reading the modules: %w", err)
	}
	if release == "" {
		return nil, nil
	}
	return modules.ReadCatalog(ctx, below, release, jobs)
}
