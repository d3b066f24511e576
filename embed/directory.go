package embed

import (
	"context"
	"fmt"
	"path"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// Limits of a newc archive, and of LinuxKit's /init when it copies to /mnt.
const (
	largestFile = 1<<32 - 1
	longestPath = 4096 - len("\x00") - len("/mnt/")
)

// directory lays the store out unpacked: every layer's files are files of the
// archive, equal ones once; what would not survive the boot is in lists for the
// boot script.
func (s *store) directory(ctx context.Context, sink progress.Sink) (*initramfs.Tree, error) {
	root, err := s.skeleton()
	if err != nil {
		return nil, err
	}
	var lost repair
	for _, l := range s.layers.all {
		if err := root.unpack(l, &lost); err != nil {
			return nil, fmt.Errorf("laying out %s: %w", l.src, err)
		}
	}
	if s.shared, err = share(ctx, root.tree, lost.attrs); err != nil {
		return nil, err
	}
	warnOfAttrs(sink, lost.attrs)
	lists, err := lost.files()
	if err != nil {
		return nil, err
	}
	for _, f := range lists {
		if err := root.put(f); err != nil {
			return nil, err
		}
	}
	return root.tree, nil
}

// unpack adds a layer's files to its diff directory.
func (r *dataRoot) unpack(l *layer, lost *repair) error {
	diff, err := spellOut(l)
	if err != nil {
		return err
	}
	at := path.Join(graphDir, l.cacheID(), "diff")
	if err := r.dir(at, 0o755); err != nil {
		return err
	}
	for e := range diff.files.All() {
		e.Path = path.Join(at, e.Path)
		if e.Type == initramfs.HardLink {
			e.Target = path.Join(at, e.Target)
		}
		if err := carriable(e); err != nil {
			return fault.Mark(err, fault.Invalid)
		}
		if !lost.take(e) {
			continue
		}
		e.Xattrs = nil
		if err := r.put(e); err != nil {
			return err
		}
	}
	return nil
}

func carriable(e initramfs.Entry) error {
	const remedy = "use the packed layout (--layout packed)"
	switch whole := path.Join(StorePath, e.Path); {
	case e.Type == initramfs.Regular && e.Size > largestFile:
		return fmt.Errorf("%q has %d bytes, but an initramfs cannot hold a file of 4 GiB or more; %s", e.Path, e.Size, remedy)
	case len(whole) > longestPath:
		return fmt.Errorf("the path %q... has %d bytes, but an initramfs allows %d; %s", whole[:64], len(whole), longestPath, remedy)
	case e.Type == initramfs.Socket:
		return fmt.Errorf("%q is a socket, which LinuxKit's init cannot copy; %s", e.Path, remedy)
	}
	return nil
}

// warnOfAttrs reports the files that will lack their extended attributes on a
// machine that cannot set them. Setting them needs a program that HookOS does
// not have, and cpio cannot carry them.
func warnOfAttrs(sink progress.Sink, files []initramfs.Entry) {
	if len(files) == 0 {
		return
	}
	progress.Warnf(sink, "%d files have extended attributes, first %q of %s: the directory layout keeps them only where the machine has setfattr; the packed layout always does",
		len(files), files[0].Path, files[0].Origin)
}
