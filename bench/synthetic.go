package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/pgzip"
)

// The sizes of the parts of a synthetic image.
const (
	mib       = 1 << 20
	smallFile = 16 << 10
	largeFile = 64 * mib
)

// synthesize makes an image of two layers with mib MiB of files: half of it
// large files of noise and half small ones of words, no two alike. Its blobs
// are written front to back to a directory in the layout of
// [registry.NewDiskBlobHandler], and never held in memory.
func synthesize(ctx context.Context, blobs, arch string, size int64) (v1.Image, error) {
	noise, err := writeLayer(ctx, blobs, func(w *tar.Writer) error {
		return writeFiles(ctx, w, "noise", size/2, largeFile, func(n uint64) io.Reader { return newNoise(n) })
	})
	if err != nil {
		return nil, err
	}
	words, err := writeLayer(ctx, blobs, func(w *tar.Writer) error {
		return writeFiles(ctx, w, "words", size-size/2, smallFile, func(n uint64) io.Reader { return &words{noise: newNoise(n)} })
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, noise, words)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	return mutate.ConfigFile(image, config)
}

// writeFiles adds files with a total size of size bytes, each of up to each.
func writeFiles(ctx context.Context, w *tar.Writer, kind string, size, each int64, content func(n uint64) io.Reader) error {
	const perDirectory = 1000
	for n := uint64(0); size > 0 && ctx.Err() == nil; n++ {
		length := min(size, each)
		name := fmt.Sprintf("%s/%03d/%03d", kind, n/perDirectory, n%perDirectory)
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: length, ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		if _, err := io.CopyN(w, content(n), length); err != nil {
			return err
		}
		size -= length
	}
	return ctx.Err()
}

// newNoise returns incompressible bytes, different for each n.
func newNoise(n uint64) *rand.ChaCha8 {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("hookbuild bench %d", n))
	return rand.NewChaCha8(seed)
}

// words returns bytes that compress to about half.
type words struct{ noise *rand.ChaCha8 }

// Read implements io.Reader.
func (w *words) Read(p []byte) (int, error) {
	n, err := w.noise.Read(p)
	const letters = "etaoinshrdlu cm\n"
	for i := range p[:n] {
		p[i] = letters[p[i]%byte(len(letters))]
	}
	return n, err
}

// diskLayer is a layer in a file.
type diskLayer struct {
	file           string
	digest, diffID v1.Hash
	size           int64
}

var _ v1.Layer = (*diskLayer)(nil)

// Digest implements [v1.Layer].
func (l *diskLayer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID implements [v1.Layer].
func (l *diskLayer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Size implements [v1.Layer].
func (l *diskLayer) Size() (int64, error) { return l.size, nil }

// MediaType implements [v1.Layer].
func (l *diskLayer) MediaType() (types.MediaType, error) { return types.DockerLayer, nil }

// Compressed implements [v1.Layer].
func (l *diskLayer) Compressed() (io.ReadCloser, error) { return os.Open(l.file) }

// Uncompressed implements [v1.Layer]. It is not used.
func (l *diskLayer) Uncompressed() (io.ReadCloser, error) {
	return nil, errors.New("a synthetic layer is served compressed only")
}

// writeLayer makes a gzipped layer in blobs.
func writeLayer(ctx context.Context, blobs string, fill func(*tar.Writer) error) (_ *diskLayer, err error) {
	dir := filepath.Join(blobs, "sha256")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(blobs, "making-")
	if err != nil {
		return nil, err
	}
	packedSum, plainSum := sha256.New(), sha256.New()
	z, err := pgzip.NewWriterLevel(io.MultiWriter(f, packedSum), gzip.BestSpeed)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	w := tar.NewWriter(io.MultiWriter(z, plainSum))
	if err := errors.Join(fill(w), w.Close(), z.Close(), f.Close(), ctx.Err()); err != nil {
		return nil, fmt.Errorf("making a synthetic layer: %w", err)
	}
	l := &diskLayer{digest: hashOf(packedSum), diffID: hashOf(plainSum)}
	l.file = filepath.Join(dir, l.digest.Hex)
	if l.size, err = sizeOf(f.Name()); err != nil {
		return nil, err
	}
	return l, os.Rename(f.Name(), l.file)
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}
