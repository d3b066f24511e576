package embed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/squashfs"
	"hookbuild/internal/tarball"
)

// layerFiles opens the files of a layer by their path in it.
type layerFiles interface {
	Get(name string) (io.ReadCloser, error)
}

// treeFiles finds a layer's files in the initramfs, or in the squashfs there.
type treeFiles struct {
	tree *initramfs.Tree
	dir  string
}

// Get implements [storage.FileGetter].
func (f treeFiles) Get(name string) (io.ReadCloser, error) {
	clean, err := initramfs.CleanPath(name)
	if err != nil {
		return nil, err
	}
	return openFile(f.tree, path.Join(f.dir, clean))
}

// tar writes the layer's original tar, reassembled from its tar-split data and
// its files.
func (s *Store) tar(ctx context.Context, l *storedLayer, w io.Writer) (err error) {
	packed, err := s.open(path.Join(StorePath, layerDB, "sha256", l.chain.Hex, "tar-split.json.gz"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, packed.Close()) }()
	plain, err := tarball.Decompress(packed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	files, err := s.filesOf(ctx, l)
	if err != nil {
		return err
	}
	return asm.WriteOutputTarStream(files, storage.NewJSONUnpacker(plain), ctxio.Writer(ctx, w))
}

// filesOf returns access to a layer's files.
func (s *Store) filesOf(ctx context.Context, l *storedLayer) (layerFiles, error) {
	if s.Layout() == Directory {
		return treeFiles{s.tree, path.Join(StorePath, graphDir, l.cacheID, "diff")}, nil
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.packed == nil {
		var err error
		if s.packed, err = s.openLayers(ctx); err != nil {
			return nil, fmt.Errorf("opening %q: %w", layersFile, err)
		}
	}
	return treeFiles{s.packed, l.cacheID}, nil
}

// openLayers reads the squashfs of a packed store, which must be copied to a
// file to be read in any order.
func (s *Store) openLayers(ctx context.Context) (*initramfs.Tree, error) {
	file, err := s.cache.Scratch(ctx, func(w io.Writer) error {
		content, err := s.open(path.Join(StorePath, layersFile))
		if err != nil {
			return err
		}
		_, err = io.Copy(w, content)
		return errors.Join(err, content.Close())
	})
	if err != nil {
		return nil, err
	}
	image, err := squashfs.Open(file, file.Size())
	if err == nil {
		var tree *initramfs.Tree
		if tree, err = image.Tree(ctx, layersFile); err == nil {
			return tree, nil
		}
	}
	return nil, errors.Join(err, file.Close())
}

// errDiffID reports a layer whose content in the store does not match its
// diffID.
var errDiffID = errors.New("the layer cannot be reassembled exactly")

// verify reassembles a layer and compares it with its diffID.
func (s *Store) verify(ctx context.Context, l *storedLayer) error {
	sum := sha256.New()
	if err := s.tar(ctx, l, sum); err != nil {
		return fmt.Errorf("%w: %w", errDiffID, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != l.diffID.Hex {
		return fmt.Errorf("%w: its digest is sha256:%s", errDiffID, got)
	}
	return nil
}

// Verify reassembles every layer of every image, byte for byte, and compares it
// with the digest in the image's configuration. Success proves that "docker
// save" works and that no file is missing or changed. The error has the kind
// [fault.Invalid] and names every wrong layer.
func (s *Store) Verify(ctx context.Context) error {
	var wrong []error
	done := map[v1.Hash]bool{}
	for _, im := range s.images {
		for _, l := range im.layers {
			if done[l.chain] {
				continue
			}
			done[l.chain] = true
			if err := s.verify(ctx, l); err != nil {
				wrong = append(wrong, fmt.Errorf("checking the layer %s of the embedded image %s: %w", l.diffID, s.embedded(im).label(), err))
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return fault.Mark(errors.Join(wrong...), fault.Invalid)
}
