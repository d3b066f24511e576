package embed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/squashfs"
)

// packedVersion changes whenever [store.packed] would make other bytes of the
// same layers.
const packedVersion = "packed layers 1"

// packed lays the store out with the contents of all layers in one squashfs.
// Of a layer's directory in overlay2/ only the diff is elsewhere: a symlink
// leads to it. The mount point stands outside overlay2/, because dockerd binds
// that directory over itself and so hides what is mounted below it.
func (s *store) packed(ctx context.Context, o Options, kernel Capabilities) (*initramfs.Tree, error) {
	compression, err := chooseCompression(o.Compression, kernel)
	if err != nil {
		return nil, err
	}
	root, err := s.skeleton()
	if err != nil {
		return nil, err
	}
	for _, l := range s.layers.all {
		link := initramfs.Entry{Path: path.Join(graphDir, l.cacheID(), "diff"), Type: initramfs.Symlink, Mode: 0o777,
			ModTime: initramfs.Epoch(), Target: path.Join("../..", layersDir, l.cacheID())}
		if err := root.put(link); err != nil {
			return nil, err
		}
	}
	image, err := s.squash(ctx, o, kernel, compression)
	if err != nil {
		return nil, err
	}
	if image.Size() > largestFile {
		return nil, fault.Mark(fmt.Errorf("packing the images: together they take %d bytes, and an initramfs holds no file of 4 GiB or more: embed fewer images", image.Size()), fault.Invalid)
	}
	return root.tree, errors.Join(root.dir(layersDir, 0o755), root.put(cached(layersFile, image)))
}

// chooseCompression settles how the squashfs is compressed: zstd packs as well
// as gzip and is read several times faster; xz packs best and is read slowest.
func chooseCompression(asked squashfs.Compression, kernel Capabilities) (squashfs.Compression, error) {
	for _, c := range []struct {
		name   squashfs.Compression
		has    bool
		option string
	}{
		{squashfs.Zstd, kernel.SquashfsZstd, "CONFIG_SQUASHFS_ZSTD"},
		{squashfs.Gzip, kernel.SquashfsGzip, "CONFIG_SQUASHFS_ZLIB"},
		{squashfs.XZ, kernel.SquashfsXZ, "CONFIG_SQUASHFS_XZ"},
	} {
		if asked != "" && asked != c.name {
			continue
		}
		if c.has {
			return c.name, nil
		}
		if asked != "" {
			return "", fault.Mark(fmt.Errorf("packing the images with %s: the kernel has no %s, so it could not read them: choose another compression", asked, c.option), fault.Invalid)
		}
	}
	return "", fault.Mark(fmt.Errorf("packing the images with %q: it must be zstd, gzip or xz", asked), fault.Usage)
}

// squash gives the squashfs of all layers' files, a directory each.
func (s *store) squash(ctx context.Context, o Options, kernel Capabilities, c squashfs.Compression) (*cache.File, error) {
	inputs := []string{packedVersion, string(c), fmt.Sprint(kernel.SquashfsXattr)}
	for _, l := range s.layers.all {
		inputs = append(inputs, l.chain.String())
	}
	slices.Sort(inputs[3:])
	s.packedAs = derivedKey(inputs...)
	task := progress.Start(o.Progress, 0, "pack %d layers", len(s.layers.all))
	image, hit, err := o.Cache.Derived(ctx, "packed", s.packedAs, func(w io.Writer) error {
		tree, err := s.layersTree(kernel)
		if err != nil {
			return err
		}
		return writeSquashfs(ctx, w, o.Cache.Dir(), tree, squashfs.Options{Compression: c, Jobs: o.Jobs})
	})
	if err != nil {
		return nil, task.End(err, "")
	}
	if hit {
		return image, task.End(nil, "cached")
	}
	return image, task.End(nil, fmt.Sprintf("%d MiB, %s", image.Size()>>20, c))
}

// layersTree puts the layers' files side by side.
func (s *store) layersTree(kernel Capabilities) (*initramfs.Tree, error) {
	tree := &initramfs.Tree{}
	for _, l := range s.layers.all {
		err := tree.Add(initramfs.Entry{Path: l.cacheID(), Type: initramfs.Dir, Mode: 0o755, ModTime: initramfs.Epoch(), Origin: l.origin})
		if err != nil {
			return nil, err
		}
		files, err := l.filesFor(kernel)
		if err != nil {
			return nil, err
		}
		if err := tree.Graft(l.cacheID(), files); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// filesFor gives the layer's files as the kernel can read them from a squashfs.
func (l *layer) filesFor(kernel Capabilities) (*initramfs.Tree, error) {
	if kernel.SquashfsXattr {
		return l.diff.files, nil
	}
	spelled, err := spellOut(l)
	if err != nil {
		return nil, err
	}
	for _, e := range spelled.files.Xattrs() {
		return nil, fault.Mark(fmt.Errorf("packing %s: %q has extended attributes, and the kernel has no CONFIG_SQUASHFS_XATTR: build it with that", l.src, e.Path), fault.Invalid)
	}
	return spelled.files, nil
}

// writeSquashfs streams a squashfs to w. The writer needs a file to go back to
// its beginning in, which is made in dir and has no name.
func writeSquashfs(ctx context.Context, w io.Writer, dir string, tree *initramfs.Tree, o squashfs.Options) (err error) {
	f, err := os.CreateTemp(dir, ".tmp-squashfs-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	stats, err := squashfs.Write(ctx, f, tree, o)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(f, 0, stats.Size))
	return err
}
