package ship

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/build/artifact"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// member is a file in a layer.
type member struct {
	name string
	size int64
	sum  string // SHA-512 in hexadecimal, "" if it need not be checked
	link string // the file in the same layer that it is a hard link to
	open func() (io.ReadCloser, error)
}

func memory(name string, content []byte) member {
	return member{name: name, size: int64(len(content)), open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

func onDisk(dir string, f artifact.File) member {
	return member{name: f.Name, size: f.Size, sum: strings.ToLower(f.SHA512), open: func() (io.ReadCloser, error) { return os.Open(filepath.Join(dir, f.Name)) }}
}

// checked returns the content that r reads, with an error if it is not as listed.
func (m member) checked(r io.Reader) io.Reader {
	return &exactly{r, m.name, m.size, m.sum, sha512.New()}
}

// layer is a tar archive of files, written anew whenever it is read.
type layer struct {
	members []member
	digest  v1.Hash
	size    int64
	task    *progress.Task // that counts what is read; nil for none
}

const block = 512

// openTar starts reading the archive.
func openTar(members []member) (io.ReadCloser, error) {
	var parts []io.Reader
	var open closers
	for _, m := range members {
		header := &tar.Header{Name: m.name, Mode: 0o644, Size: m.size, ModTime: initramfs.Epoch(), Typeflag: tar.TypeReg}
		if m.link != "" {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, m.link, 0
		}
		var text bytes.Buffer
		if err := tar.NewWriter(&text).WriteHeader(header); err != nil {
			return nil, errors.Join(fmt.Errorf("writing %q into a layer: %w", m.name, err), open.Close())
		}
		parts = append(parts, &text)
		if m.link != "" {
			continue
		}
		f, err := m.open()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("writing %q into a layer: %w", m.name, err), open.Close())
		}
		open = append(open, f)
		parts = append(parts, m.checked(f), bytes.NewReader(make([]byte, -m.size&(block-1))))
	}
	parts = append(parts, bytes.NewReader(make([]byte, 2*block))) // the end
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(parts...), open}, nil
}

type closers []io.Closer

// Close closes all of them.
func (c closers) Close() error {
	var all []error
	for _, one := range c {
		all = append(all, one.Close())
	}
	return errors.Join(all...)
}

// exactly reads a file that must be as manifest.json lists it.
type exactly struct {
	io.Reader
	name string
	left int64
	sum  string
	hash hash.Hash
}

// Read implements [io.Reader].
func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	e.left -= int64(n)
	_, _ = e.hash.Write(p[:n]) // never fails
	ended := errors.Is(err, io.EOF)
	if e.left < 0 || ended && (e.left > 0 || e.sum != "" && hex.EncodeToString(e.hash.Sum(nil)) != e.sum) {
		return 0, fault.Invalidf("%s is not the file that %s lists; build it again, or copy it again", e.name, artifact.ManifestFile)
	}
	return n, err
}

// newLayer reads the files once, for their digest. Each must be as it is listed.
func newLayer(ctx context.Context, task *progress.Task, members []member) (*layer, error) {
	tr, err := openTar(members)
	if err != nil {
		return nil, err
	}
	defer tr.Close() // only read
	h := sha256.New()
	size, err := io.Copy(h, ctxio.Reader(ctx, task.Reader(tr)))
	if err != nil {
		return nil, err
	}
	return &layer{members: members, digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}, size: size}, nil
}

// Digest implements [v1.Layer].
func (l *layer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID implements [v1.Layer].
func (l *layer) DiffID() (v1.Hash, error) { return l.digest, nil }

// Size implements [v1.Layer].
func (l *layer) Size() (int64, error) { return l.size, nil }

// MediaType implements [v1.Layer].
func (l *layer) MediaType() (types.MediaType, error) { return layerType, nil }

// Uncompressed implements [v1.Layer].
func (l *layer) Uncompressed() (io.ReadCloser, error) { return openTar(l.members) }

// Compressed implements [v1.Layer]: the layer is pushed as it is.
func (l *layer) Compressed() (io.ReadCloser, error) {
	tr, err := openTar(l.members)
	if err != nil || l.task == nil {
		return tr, err
	}
	return struct {
		io.Reader
		io.Closer
	}{l.task.Reader(tr), tr}, nil
}

var _ v1.Layer = (*layer)(nil)
