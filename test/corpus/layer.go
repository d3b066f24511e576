package corpus

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"hookbuild/test/corpus/expect"
)

// format is part of a layer's key: increment it when recipes change.
const format = "1"

// Compressions of layers.
const (
	gzipped = "gzip"
	zstded  = "zstd"
	plain   = "none"
)

// recipe makes one layer, of files or of what stream adds.
type recipe struct {
	name        string
	compression string
	// tarFormat is PAX unless it says otherwise.
	tarFormat tar.Format
	files     []file
	// stream adds files, parents before children; inputs are what they depend
	// on beside the name: digests of packages.
	stream func(ctx context.Context, add func(file) error) error
	inputs []string
}

// layer is a finished layer; it is among the blobs of the store.
type layer struct {
	Digest, DiffID v1.Hash
	Bytes          int64
	Compression    string
	Files          []fact
	path           string
}

// fact is an entry of a layer as an unpacker sees it.
type fact struct {
	expect.File
	Whiteout bool `json:",omitempty"`
	Opaque   bool `json:",omitempty"`
}

// layer returns the layer of a recipe, reusing an existing one.
func (s *store) layer(ctx context.Context, r recipe) (*layer, error) {
	key, err := r.key()
	if err != nil {
		return nil, fmt.Errorf("naming the layer %q: %w", r.name, err)
	}
	index := filepath.Join(s.dir, "layers", key+".json")
	l, err := s.find(index)
	if errors.Is(err, fs.ErrNotExist) {
		l, err = s.write(ctx, r, index)
	}
	if err != nil {
		return nil, fmt.Errorf("making the layer %q: %w", r.name, err)
	}
	return l, nil
}

// key identifies the content of the layer.
func (r recipe) key() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %q %q %d %q", format, r.name, r.compression, r.tarFormat, r.inputs)
	for _, f := range r.files {
		fmt.Fprintf(h, "%+v", f.header)
		if err := copyContent(h, f); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (s *store) find(index string) (*layer, error) {
	data, err := os.ReadFile(index)
	if err != nil {
		return nil, err
	}
	var l layer
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, err
	}
	l.path = s.blob(l.Digest)
	_, err = os.Stat(l.path)
	return &l, err
}

func (s *store) write(ctx context.Context, r recipe, index string) (*layer, error) {
	tmp, err := os.CreateTemp(s.dir, "making-*")
	if err != nil {
		return nil, err
	}
	l, err := r.pack(ctx, tmp)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(tmp.Name()))
	}
	l.path = s.blob(l.Digest)
	if err := os.Rename(tmp.Name(), l.path); err != nil {
		return nil, err
	}
	data, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	return l, writeFile(index, data)
}

// writeFile makes a file that appears complete or not at all, whatever else
// makes the same one.
func writeFile(name string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "making-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return os.Rename(tmp.Name(), name)
}

// pack writes the layer to w and returns everything known about it.
func (r recipe) pack(ctx context.Context, w io.Writer) (*layer, error) {
	blob := &counter{w: w, h: sha256.New()}
	z, err := r.compressor(blob)
	if err != nil {
		return nil, err
	}
	diff := &counter{w: z, h: sha256.New()}
	p := packer{tar: tar.NewWriter(diff), format: r.tarFormat}
	if err := r.addAll(ctx, p.add); err != nil {
		return nil, err
	}
	if err := errors.Join(p.tar.Close(), z.Close()); err != nil {
		return nil, err
	}
	return &layer{Digest: blob.hash(), DiffID: diff.hash(), Bytes: blob.n, Compression: r.compression, Files: p.facts}, nil
}

func (r recipe) addAll(ctx context.Context, add func(file) error) error {
	for _, f := range r.files {
		if err := add(f); err != nil {
			return err
		}
	}
	if r.stream == nil {
		return nil
	}
	return r.stream(ctx, add)
}

func (r recipe) compressor(w io.Writer) (io.WriteCloser, error) {
	switch r.compression {
	case gzipped:
		return gzip.NewWriter(w), nil
	case zstded:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return nopCloser{w}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// packer writes files into a tar archive and notes what they are.
type packer struct {
	tar    *tar.Writer
	format tar.Format
	facts  []fact
}

func (p *packer) add(f file) error {
	header := f.header
	header.Format = tar.FormatPAX
	if p.format != 0 {
		header.Format = p.format
	}
	if err := p.tar.WriteHeader(&header); err != nil {
		return fmt.Errorf("packing %q: %w", header.Name, err)
	}
	h := sha256.New()
	if err := copyContent(io.MultiWriter(p.tar, h), f); err != nil {
		return fmt.Errorf("packing %q: %w", header.Name, err)
	}
	p.facts = append(p.facts, factOf(header, hex.EncodeToString(h.Sum(nil))))
	return nil
}

func copyContent(w io.Writer, f file) (err error) {
	if f.open == nil {
		return nil
	}
	content, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	_, err = io.Copy(w, content)
	return err
}

func factOf(h tar.Header, sum string) fact {
	name := strings.TrimSuffix(h.Name, "/")
	parent, base := split(name)
	if base == ".wh..wh..opq" {
		return fact{File: expect.File{Path: expect.Name(strings.TrimSuffix(parent, "/"))}, Opaque: true}
	}
	if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
		return fact{File: expect.File{Path: expect.Name(parent + hidden)}, Whiteout: true}
	}
	f := expect.File{
		Path: expect.Name(name), Type: typeOf(h.Typeflag), Mode: uint32(h.Mode), UID: uint32(h.Uid), GID: uint32(h.Gid),
		Seconds: h.ModTime.Unix(), Nanoseconds: int64(h.ModTime.Nanosecond()),
		Major: uint32(h.Devmajor), Minor: uint32(h.Devminor), Capability: []byte(h.PAXRecords["SCHILY.xattr.security.capability"]),
	}
	switch h.Typeflag {
	case tar.TypeReg:
		f.Size, f.SHA256 = h.Size, sum
	case tar.TypeSymlink:
		f.Target = expect.Name(h.Linkname)
	case tar.TypeLink:
		f.SameAs = expect.Name(h.Linkname)
	}
	return fact{File: f}
}

func typeOf(flag byte) string {
	switch flag {
	case tar.TypeDir:
		return expect.Directory
	case tar.TypeSymlink:
		return expect.Symlink
	case tar.TypeFifo:
		return expect.Fifo
	case tar.TypeChar:
		return expect.CharDev
	case tar.TypeBlock:
		return expect.BlockDev
	}
	return expect.Regular
}

// mediaType is that of the layer in an image of Docker's or OCI's form.
func (l *layer) mediaType(docker bool) types.MediaType {
	switch {
	case docker:
		return types.DockerLayer
	case l.Compression == zstded:
		return types.OCILayerZStd
	case l.Compression == plain:
		return types.OCIUncompressedLayer
	}
	return types.OCILayer
}
