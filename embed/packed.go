package embed

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/squashfs"
	"hookbuild/internal/words"
)

// packedVersion changes whenever [store.packed] would produce different output
// for the same layers.
const packedVersion = "packed layers 4"

// packed lays the store out with the contents of all layers in one squashfs. Of
// a layer's directory in overlay2/ only the diff is elsewhere: a symlink leads
// to it. The mount point is outside overlay2/, because dockerd bind-mounts that
// directory over itself and so hides what is mounted below it.
func (s *store) packed(ctx context.Context, o Options, kernel Capabilities) (*initramfs.Tree, error) {
	compression, err := chooseCompression(o.Packing.Compression, kernel)
	if err != nil {
		return nil, err
	}
	image, err := s.squash(ctx, o, kernel, compression)
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
	if image.Size() > largestFile {
		return nil, fault.Invalidf("packing the images: together they take %d bytes, but an initramfs cannot hold a file of 4 GiB or more; embed fewer images", image.Size())
	}
	return root.tree, errors.Join(root.dir(layersDir, 0o755), root.put(initramfs.Entry{
		Path: layersFile, Type: initramfs.Regular, Mode: 0o644, ModTime: initramfs.Epoch(), Size: image.Size(), Open: image.Open,
	}))
}

// chooseCompression chooses the compression of the squashfs: zstd packs as well
// as gzip and is several times faster to read; xz packs best and is slowest to
// read.
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
			return "", fault.Invalidf("packing the images with %s: the kernel has no %s, so it could not read them; choose another compression", asked, c.option)
		}
	}
	return "", fault.Usagef("packing the images with %q: it must be zstd, gzip or xz", asked)
}

// squash returns the squashfs of all layers' files, with a directory for each
// layer.
func (s *store) squash(ctx context.Context, o Options, kernel Capabilities, c squashfs.Compression) (*squashfs.Joined, error) {
	task := progress.Start(o.Progress, 0, "pack %s", words.Count(len(s.layers.all), "layer"))
	image, err := s.joinPieces(ctx, o, kernel, c, task)
	if err != nil {
		return nil, task.End(err, "")
	}
	done := fmt.Sprintf("%s, %s, %d packed now", words.Bytes(image.Size()), c, s.converted)
	if others := len(s.layers.all) - s.converted; others > 0 {
		done += fmt.Sprintf(", %d cached or equal to others", others)
	}
	return image, task.End(nil, done)
}

func (s *store) joinPieces(ctx context.Context, o Options, kernel Capabilities, c squashfs.Compression, task *progress.Task) (*squashfs.Joined, error) {
	p, err := s.packPieces(ctx, o.Cache, squashfs.Options{Compression: c, BlockSize: o.Packing.BlockSize, Jobs: o.Jobs}, task)
	if err != nil {
		return nil, err
	}
	tree, err := s.layersTree(kernel, o.Progress)
	if err != nil {
		return nil, err
	}
	s.converted = p.made()
	s.packedAs = derivedKey(packedVersion, string(c), c.Codec(), fmt.Sprint(o.Packing.BlockSize, kernel.SquashfsXattr), strings.Join(s.layers.chains(), " "))
	return p.join(s.layers.all, tree)
}

// layersTree returns a tree with the files of all layers side by side.
func (s *store) layersTree(kernel Capabilities, sink progress.Sink) (*initramfs.Tree, error) {
	tree := &initramfs.Tree{}
	var lost []initramfs.Entry
	for _, l := range s.layers.all {
		err := tree.Add(initramfs.Entry{Path: l.cacheID(), Type: initramfs.Dir, Mode: 0o755, ModTime: initramfs.Epoch(), Origin: l.origin})
		if err != nil {
			return nil, err
		}
		files, without, err := l.filesFor(kernel)
		if err != nil {
			return nil, err
		}
		lost = append(lost, without...)
		if err := tree.Graft(l.cacheID(), files); err != nil {
			return nil, err
		}
	}
	warnOfACLs(sink, lost)
	return tree, nil
}

// filesFor returns the layer's files in a form that the kernel can read from a
// squashfs, and those that lost their access control lists.
func (l *layer) filesFor(kernel Capabilities) (files *initramfs.Tree, lost []initramfs.Entry, err error) {
	d := l.diff
	if !kernel.SquashfsXattr {
		if d, err = spellOut(l); err != nil {
			return nil, nil, err
		}
	}
	if d, lost, err = d.withoutACLs(); err != nil {
		return nil, nil, err
	}
	if kernel.SquashfsXattr {
		return d.files, lost, nil
	}
	for _, e := range d.files.Xattrs() {
		return nil, nil, fault.Invalidf("packing %s: %q has extended attributes, but the kernel has no CONFIG_SQUASHFS_XATTR; build it with that option", l.src, e.Path)
	}
	return d.files, lost, nil
}
