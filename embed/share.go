package embed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"hookbuild/internal/ctxio"
	"hookbuild/internal/initramfs"
)

// twin holds what files must have in common, beyond their content, to become
// one file with several names in a cpio archive: everything in the inode.
type twin struct {
	size     int64
	mode     uint32
	uid, gid uint32
	modTime  int64
}

// share merges files in the directory layout that are equal in content, mode,
// owner and time: all but the first become hard links. It returns the paths of
// all these files, which must be in one archive.
//
// The links end with the boot: LinuxKit's /init copies a file once for every
// name, so each layer has a separate file again when dockerd starts, with the
// link count of the image. They save space in the initramfs. Files with
// extended attributes are left alone.
func share(ctx context.Context, tree *initramfs.Tree, attrs []initramfs.Entry) (shared map[string]bool, err error) {
	with := map[string]bool{}
	for _, e := range attrs {
		with[joinStore(e.Path)] = true
	}
	candidates := map[twin][]initramfs.Entry{}
	for e := range tree.All() {
		if e.Type == initramfs.Regular && e.Size > 0 && isLayerFile(e.Path) && !with[e.Path] {
			t := twin{e.Size, e.Mode, e.UID, e.GID, e.ModTime.Unix()}
			candidates[t] = append(candidates[t], e)
		}
	}
	shared = map[string]bool{}
	for _, files := range candidates {
		if len(files) < 2 {
			continue
		}
		if err := shareEqual(ctx, tree, files, shared); err != nil {
			return nil, err
		}
	}
	return shared, nil
}

// shareEqual links those of the files that have equal content.
func shareEqual(ctx context.Context, tree *initramfs.Tree, files []initramfs.Entry, shared map[string]bool) error {
	first := map[[sha256.Size]byte]initramfs.Entry{}
	for _, e := range files {
		sum, err := sumOf(ctx, e)
		if err != nil {
			return fmt.Errorf("comparing %q of %s: %w", e.Path, e.Origin, err)
		}
		target, seen := first[sum]
		if !seen {
			first[sum] = e
			continue
		}
		tree.Remove(e.Path)
		if err := tree.Add(initramfs.Entry{Path: e.Path, Type: initramfs.HardLink, Target: target.Path, Origin: e.Origin}); err != nil {
			return err
		}
		shared[target.Path], shared[e.Path] = true, true
	}
	return nil
}

func sumOf(ctx context.Context, e initramfs.Entry) (sum [sha256.Size]byte, err error) {
	content, err := e.Open()
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	_, err = io.Copy(ctxio.Writer(ctx, h), content)
	h.Sum(sum[:0])
	return sum, errors.Join(err, content.Close())
}
