package embed

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"hookbuild/internal/ctxio"
	"hookbuild/internal/initramfs"
)

// made reports whether the store was made by this package, so that it has
// everything that its layers had.
func (s *Store) made() bool {
	_, lists := s.tree.Lookup(path.Join(StorePath, repairDir))
	return lists || s.Layout() == Packed
}

// below iterates over a layer's files in the initramfs, by their paths in the
// layer.
func (s *Store) below(l *storedLayer) func(yield func(initramfs.Entry) bool) {
	prefix := path.Join(StorePath, graphDir, l.cacheID, "diff") + "/"
	return func(yield func(initramfs.Entry) bool) {
		for e := range s.tree.All() {
			name, below := strings.CutPrefix(e.Path, prefix)
			if !below {
				continue
			}
			if e.Type == initramfs.Symlink && strings.HasPrefix(e.Target, "/"+StorePath+"/") {
				e = s.unlinked(e)
			}
			if e.Type == initramfs.HardLink && !strings.HasPrefix(e.Target, prefix) {
				e = s.unlinked(e)
			}
			e.Path = name
			e.Target = strings.TrimPrefix(e.Target, prefix)
			if !yield(e) {
				return
			}
		}
	}
}

// unlinked returns the file behind a link out of its layer, with the link's
// path: upstream's tools and [share] replace a file by such a link if another
// file has the same content.
func (s *Store) unlinked(link initramfs.Entry) initramfs.Entry {
	file, found := s.tree.Find(link.Path)
	if !found {
		return link
	}
	file.Path = link.Path
	return file
}

// archiveFiles writes a tar of a layer's files as they are in the initramfs.
func (s *Store) archiveFiles(ctx context.Context, l *storedLayer, w io.Writer) error {
	archive := tar.NewWriter(ctxio.Writer(ctx, w))
	var links []initramfs.Entry
	for e := range s.below(l) {
		if e.Type == initramfs.HardLink {
			links = append(links, e)
			continue
		}
		if err := archiveFile(archive, e); err != nil {
			return fmt.Errorf("archiving %q: %w", e.Path, err)
		}
	}
	for _, e := range links {
		if err := archiveFile(archive, e); err != nil {
			return fmt.Errorf("archiving %q: %w", e.Path, err)
		}
	}
	return archive.Close()
}

func archiveFile(archive *tar.Writer, e initramfs.Entry) error {
	h := header(e)
	switch {
	case isWhiteout(e):
		dir, name := path.Split(h.Name)
		h.Typeflag, h.Name = tar.TypeReg, dir+whiteoutPrefix+name
	case e.Type == initramfs.Regular:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
	case e.Type == initramfs.Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
	case e.Type == initramfs.Fifo:
		h.Typeflag = tar.TypeFifo
	case e.Type == initramfs.Socket:
		return nil // left behind by a program; no layer has one
	}
	if err := archive.WriteHeader(&h); err != nil {
		return err
	}
	if e.Type != initramfs.Regular || e.Open == nil {
		return nil
	}
	content, err := e.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	return errors.Join(err, content.Close())
}
