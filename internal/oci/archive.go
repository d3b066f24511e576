package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
		err = notArchive(file)
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

// notArchive returns the error about a directory in the place of an archive.
func notArchive(dir string) error {
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	switch {
	case has(layoutIndex):
		return invalid("opening %q: it is a directory with an OCI image layout; name it as oci:%[1]s", dir)
	case has(savedManifest):
		return invalid("opening %q: it is a directory with the unpacked output of docker save; name the archive that docker save wrote", dir)
	}
	return invalid("opening %q: it is a directory without an OCI image layout; name an archive", dir)
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
