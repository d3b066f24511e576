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

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
)

// layerFiles opens the files of a layer by their path in it.
type layerFiles interface {
	Get(name string) (io.ReadCloser, error)
}

// treeFiles finds a layer's files in the initramfs.
type treeFiles struct {
	store *Store
	dir   string
}

// Get implements [storage.FileGetter].
func (f treeFiles) Get(name string) (io.ReadCloser, error) {
	clean, err := initramfs.CleanPath(name)
	if err != nil {
		return nil, err
	}
	return f.store.open(path.Join(f.dir, clean))
}

// tar writes the layer's tar as it was when the image was pulled, put together
// from its tar-split data and its files.
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
	files, err := s.filesOf(l)
	if err != nil {
		return err
	}
	return asm.WriteOutputTarStream(files, storage.NewJSONUnpacker(plain), &contextWriter{ctx, w})
}

// filesOf gives access to a layer's files.
func (s *Store) filesOf(l *storedLayer) (layerFiles, error) {
	return treeFiles{s, path.Join(StorePath, graphDir, l.cacheID, "diff")}, nil
}

type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// errDiffID says that what the store holds is not the layer it claims to be.
var errDiffID = errors.New("the layer cannot be put together as it was")

// verify puts a layer together and compares it with its diffID.
func (s *Store) verify(ctx context.Context, l *storedLayer) error {
	sum := sha256.New()
	if err := s.tar(ctx, l, sum); err != nil {
		return errors.Join(errDiffID, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != l.diffID.Hex {
		return fmt.Errorf("%w: its digest is sha256:%s", errDiffID, got)
	}
	return nil
}

// Verify puts every layer of every image together, byte for byte, and compares
// it with the digest in the image's configuration. That "docker save" works
// afterwards is proof that no file is missing or changed. The error is of kind
// [fault.Invalid] and tells all layers that are wrong.
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
				wrong = append(wrong, fmt.Errorf("checking the layer %s of the embedded image %s: %w", l.diffID, im.id, err))
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return fault.Mark(errors.Join(wrong...), fault.Invalid)
}
