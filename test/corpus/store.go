package corpus

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// store keeps blobs by digest below a directory; the registry serves them from
// there.
type store struct{ dir string }

func openStore(dir string) (*store, error) {
	for _, d := range []string{"blobs", "layers"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("preparing the corpus in %q: %w", dir, err)
		}
	}
	return &store{dir}, nil
}

func (s *store) blob(h v1.Hash) string { return filepath.Join(s.dir, "blobs", h.Hex) }

var (
	_ registry.BlobHandler     = (*store)(nil)
	_ registry.BlobStatHandler = (*store)(nil)
	_ registry.BlobPutHandler  = (*store)(nil)
)

// Get implements [registry.BlobHandler].
func (s *store) Get(_ context.Context, _ string, h v1.Hash) (io.ReadCloser, error) {
	f, err := os.Open(s.blob(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, registry.ErrNotFound
	}
	return f, err
}

// Stat implements [registry.BlobStatHandler].
func (s *store) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	info, err := os.Stat(s.blob(h))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, registry.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Put implements [registry.BlobPutHandler]; the registry gives a reader that
// checks the digest.
func (s *store) Put(_ context.Context, _ string, h v1.Hash, content io.ReadCloser) (err error) {
	defer func() { err = errors.Join(err, content.Close()) }()
	tmp, err := os.CreateTemp(s.dir, "putting-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(tmp, content)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return os.Rename(tmp.Name(), s.blob(h))
}

// counter counts and hashes what goes through it.
type counter struct {
	w io.Writer
	h hash.Hash
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.h.Write(p[:n])
	return n, err
}

func (c *counter) hash() v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(c.h.Sum(nil))}
}

// blobLayer is a [layer] as images hold it.
type blobLayer struct {
	*layer
	docker bool
}

var _ v1.Layer = blobLayer{}

// Digest implements [v1.Layer].
func (b blobLayer) Digest() (v1.Hash, error) { return b.layer.Digest, nil }

// DiffID implements [v1.Layer].
func (b blobLayer) DiffID() (v1.Hash, error) { return b.layer.DiffID, nil }

// Size implements [v1.Layer].
func (b blobLayer) Size() (int64, error) { return b.Bytes, nil }

// MediaType implements [v1.Layer].
func (b blobLayer) MediaType() (types.MediaType, error) { return b.mediaType(b.docker), nil }

// Compressed implements [v1.Layer].
func (b blobLayer) Compressed() (io.ReadCloser, error) { return os.Open(b.path) }

// Uncompressed implements [v1.Layer].
func (b blobLayer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(b.path)
	if err != nil {
		return nil, err
	}
	switch b.Compression {
	case gzipped:
		z, err := gzip.NewReader(f)
		return &unpacking{z, f}, err
	case zstded:
		z, err := zstd.NewReader(f)
		return &unpacking{z, f}, err
	}
	return f, nil
}

type unpacking struct {
	io.Reader
	file *os.File
}

func (u *unpacking) Close() error { return u.file.Close() }
