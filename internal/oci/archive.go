package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
)

// openArchive opens the files in a tar archive. A compressed archive is
// unpacked into a scratch file of the cache for as long as it is used.
func (c *Client) openArchive(ctx context.Context, file string) (opener, error) {
	// Without O_NONBLOCK, a FIFO without a writer would block.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = invalid("opening %q: it is a directory; name the archive in it, or an OCI image layout in a directory as oci:DIR", file)
	case !info.Mode().IsRegular():
		err = invalid("opening %q: it is not a file", file)
	case info.Size() == 0:
		err = fmt.Errorf("opening %q: it is an empty file, %w", file, tarball.ErrNotTar)
	}
	if err != nil {
		return nil, closing(err, f)
	}
	var magic [6]byte
	n, err := f.ReadAt(magic[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, closing(err, f)
	}
	if tarball.IsCompressed(magic[:n]) {
		plain, err := c.cache.Scratch(ctx, func(w io.Writer) error { return c.decompressTo(w, f, nil) })
		if err := closing(err, f); err != nil {
			return nil, err
		}
		return archiveFiles(plain, plain.Size(), "the unpacked "+file)
	}
	return archiveFiles(f, info.Size(), file)
}

// archiveFiles opens the files of an archive. Some are links to others: old
// versions of docker save wrote a layer that two images share only once.
func archiveFiles(r io.ReaderAt, size int64, origin string) (opener, error) {
	entries, err := tarball.Entries(r, size, origin)
	if err != nil {
		return nil, err
	}
	tree := &initramfs.Tree{}
	for _, e := range entries {
		if err := tree.Add(e); err != nil {
			return nil, fault.Mark(err, fault.Invalid)
		}
	}
	return func(name string) (io.ReadCloser, error) {
		e, ok := lookupFile(tree, name)
		if !ok {
			return nil, fmt.Errorf("opening %q in the archive: %w", name, fs.ErrNotExist)
		}
		return e.Open()
	}, nil
}

func lookupFile(tree *initramfs.Tree, name string) (initramfs.Entry, bool) {
	e, ok := tree.Find(name)
	return e, ok && e.Type == initramfs.Regular && e.Open != nil
}
