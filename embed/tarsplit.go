package embed

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
)

// tarSplitVersion changes whenever [tarSplit] would produce different output
// for the same layer.
const tarSplitVersion = "tar-split 1"

// tarSplit returns the layer's tar-split.json.gz: the framing of its tar, from
// which "docker save" and "docker push" rebuild it byte for byte out of the
// unpacked files.
func tarSplit(ctx context.Context, c *cache.Cache, l *oci.Layer) (*cache.File, error) {
	f, _, err := c.Derived(ctx, "tar-split", derivedKey(tarSplitVersion, l.DiffID.String()), func(w io.Writer) error {
		tar, err := l.Tar(ctx)
		if err != nil {
			return err
		}
		err = writeTarSplit(w, io.NewSectionReader(tar, 0, tar.Size()))
		return errors.Join(err, tar.Close())
	})
	return f, err
}

func writeTarSplit(w io.Writer, tar io.Reader) error {
	packed := gzip.NewWriter(w)
	// The putter is nil: file contents are only hashed, not stored.
	stream, done, err := asm.NewInputTarStreamWithDone(tar, storage.NewJSONPacker(packed), nil)
	if err != nil {
		return fmt.Errorf("starting tar-split: %w", err)
	}
	// The data is complete only when the whole stream was read.
	_, err = io.Copy(io.Discard, stream)
	if err := errors.Join(err, <-done); err != nil {
		if errors.Is(err, storage.ErrDuplicatePath) {
			return fault.Invalidf("its tar holds one path twice, which Docker refuses; rebuild the image")
		}
		return fmt.Errorf("splitting the tar: %w", err)
	}
	return packed.Close()
}

// derivedKey returns the key of what was made from the inputs, for
// [cache.Cache.Derived].
func derivedKey(inputs ...string) string {
	sum := sha256.New()
	for _, in := range inputs {
		fmt.Fprintf(sum, "%d:%s\n", len(in), in)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
