package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
)

// Archives keeps the compressed archives that were opened unpacked, so that clients
// that share it unpack each of them once, whatever is asked of it.
type Archives struct {
	mu  sync.Mutex
	all map[string]*unpacked
}

// unpacked is an archive in a scratch file of the cache.
type unpacked struct {
	mu   sync.Mutex
	info os.FileInfo // of the compressed one
	open opener
}

// open returns what unpack returned for the file as it is now.
func (a *Archives) open(file string, info os.FileInfo, unpack func() (opener, error)) (opener, error) {
	a.mu.Lock()
	if a.all == nil {
		a.all = map[string]*unpacked{}
	}
	u := a.all[file]
	if u == nil {
		u = &unpacked{}
		a.all[file] = u
	}
	a.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.info != nil && os.SameFile(u.info, info) && u.info.Size() == info.Size() && u.info.ModTime().Equal(info.ModTime()) {
		return u.open, nil
	}
	open, err := unpack()
	if err == nil {
		u.info, u.open = info, open
	}
	return open, err
}

// openArchive opens the files in a tar archive. A compressed archive is
// unpacked into a scratch file of the cache.
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
		open, err := c.archives.open(file, info, func() (opener, error) {
			plain, err := c.cache.Scratch(ctx, func(w io.Writer) error { return c.decompressTo(w, f, nil) })
			if err != nil {
				return nil, err
			}
			return archiveFiles(plain, plain.Size(), "the unpacked "+file)
		})
		return open, closing(err, f)
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
