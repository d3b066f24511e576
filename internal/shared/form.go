package shared

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// artifactType is the artifact type of results.
const artifactType = "application/vnd.hookbuild.result.v1"

// layerType is the media type of the layer. It is that of an image's, which every
// registry takes.
const layerType = types.OCIUncompressedLayer

const block = 512 // of a tar archive

// header returns what is before a result in its layer.
func header(kind, key string, size int64) ([]byte, error) {
	var text bytes.Buffer
	err := tar.NewWriter(&text).WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: kind + "/" + key, Size: size, Mode: 0o644, ModTime: initramfs.Epoch(),
	})
	return text.Bytes(), err
}

// unwrap writes the result in a layer of at most most bytes to w. The layer must
// be for that key. An error of w is a [*writeError].
func unwrap(w io.Writer, layer io.Reader, kind, key string, most int64) error {
	in := tar.NewReader(layer)
	err := unwrapFile(w, in, kind+"/"+key, most)
	if err == nil {
		if _, next := in.Next(); !errors.Is(next, io.EOF) {
			err = errors.New("it has more than one file")
		}
	}
	var own *writeError
	if errors.As(err, &own) {
		return err
	}
	// Reading to the end compares the digest, which explains why the archive
	// could not be read.
	if _, wrong := io.Copy(io.Discard, layer); wrong != nil {
		return wrong
	}
	return fault.Mark(err, fault.Invalid)
}

// unwrapFile writes the first file of an archive to w.
func unwrapFile(w io.Writer, in *tar.Reader, name string, most int64) error {
	h, err := in.Next()
	switch {
	case err != nil:
		return fmt.Errorf("reading its archive: %w", err)
	case h.Typeflag != tar.TypeReg || h.Name != name:
		return fmt.Errorf("it is another result, %q", h.Name)
	case h.Size > most: // a sparse file
		return fmt.Errorf("%d bytes of it would be %d", most, h.Size)
	}
	_, err = io.Copy(writer{w}, in)
	return err
}

// writeError is an error of the place where a result is written to.
type writeError struct{ error }

// Unwrap returns the cause.
func (e *writeError) Unwrap() error { return e.error }

// writer marks its errors as [*writeError].
type writer struct{ io.Writer }

// Write implements [io.Writer].
func (w writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

// Write implements [io.Writer].
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// result is the image of a result in a file.
type result struct {
	offer
	task        *progress.Task // that counts what is sent; nil for none
	header      []byte
	size        int64 // of the layer
	digest      v1.Hash
	config, raw []byte
}

// newResult reads the file and makes the image, with an artifact type if typed.
func newResult(o offer, typed bool) (*result, error) {
	info, err := os.Stat(o.file)
	if err != nil {
		return nil, err
	}
	r := &result{offer: o}
	if r.header, err = header(o.kind, o.key, info.Size()); err != nil {
		return nil, err
	}
	layer, err := r.Compressed()
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	r.size, err = io.Copy(sum, layer)
	if err := errors.Join(err, layer.Close()); err != nil {
		return nil, err
	}
	r.digest = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return r, r.seal(typed)
}

// seal makes the configuration and the manifest.
func (r *result) seal(typed bool) (err error) {
	const none = "unknown" // the platform of what is not run
	r.config, err = json.Marshal(v1.ConfigFile{
		Architecture: none, OS: none, Created: v1.Time{Time: initramfs.Epoch()},
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{r.digest}},
	})
	if err != nil {
		return err
	}
	config, size, err := v1.SHA256(bytes.NewReader(r.config))
	if err != nil {
		return err
	}
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: config, Size: size},
		Layers: []v1.Descriptor{{MediaType: layerType, Digest: r.digest, Size: r.size}},
	}
	if typed {
		m.ArtifactType = artifactType
	}
	r.raw, err = json.Marshal(m)
	return err
}

// image returns the image in the form that is pushed.
func (r *result) image() (v1.Image, error) { return partial.CompressedToImage(r) }

// RawManifest implements [partial.CompressedImageCore].
func (r *result) RawManifest() ([]byte, error) { return r.raw, nil }

// RawConfigFile implements [partial.CompressedImageCore].
func (r *result) RawConfigFile() ([]byte, error) { return r.config, nil }

// LayerByDigest implements [partial.CompressedImageCore].
func (r *result) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h != r.digest {
		return nil, fs.ErrNotExist
	}
	return layer{r}, nil
}

// MediaType implements [partial.CompressedImageCore].
func (r *result) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// Compressed starts reading the layer.
func (r *result) Compressed() (io.ReadCloser, error) {
	f, err := os.Open(r.file)
	if err != nil {
		return nil, fmt.Errorf("reading a result: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	var in io.Reader = f
	if r.task != nil {
		in = r.task.Reader(f)
	}
	end := make([]byte, -info.Size()&(block-1)+2*block)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(r.header), in, bytes.NewReader(end)), f}, nil
}

// layer is the layer of a result.
type layer struct{ *result }

// Digest implements [partial.CompressedLayer].
func (l layer) Digest() (v1.Hash, error) { return l.digest, nil }

// Size implements [partial.CompressedLayer].
func (l layer) Size() (int64, error) { return l.size, nil }

// MediaType implements [partial.CompressedLayer].
func (l layer) MediaType() (types.MediaType, error) { return layerType, nil }

var (
	_ partial.CompressedImageCore = (*result)(nil)
	_ partial.CompressedLayer     = layer{}
)
