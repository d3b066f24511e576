package embed

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
)

// Extracted describes what [Store.Extract] wrote.
type Extracted struct {
	// ID is the image's ID: the stored one, unless Notes say otherwise.
	ID    v1.Hash
	Names []string
	// Notes tell the user what could not be restored exactly.
	Notes []string
}

// layerKind is the kind under which [oci.Layer] keeps uncompressed layers in
// the cache: a layer reassembled here need not be pulled there.
const layerKind = "layers"

// Extract writes the image with that name (see "docker images", or its ID) to
// w, as an archive for "docker load".
//
// A layer whose files have changed in the store (upstream's pipeline does
// that), so that it cannot be reassembled exactly, is archived from the files
// that are there: the image gets another ID, and Notes say so.
func (s *Store) Extract(ctx context.Context, name string, w io.Writer) (*Extracted, error) {
	im, err := s.find(name)
	if err != nil {
		return nil, err
	}
	x := &extraction{store: s, archive: tar.NewWriter(w), written: map[string]bool{}}
	result, err := x.image(ctx, im)
	if err != nil {
		return nil, fmt.Errorf("extracting the embedded image %q: %w", name, err)
	}
	return result, nil
}

// extraction writes one docker archive.
type extraction struct {
	store   *Store
	archive *tar.Writer
	written map[string]bool
	notes   []string
}

func (x *extraction) image(ctx context.Context, im *storedImage) (*Extracted, error) {
	config := im.config
	var diffIDs []v1.Hash
	var files []string
	for _, l := range im.layers {
		diffID, file, err := x.layer(ctx, l)
		if err != nil {
			return nil, err
		}
		diffIDs, files = append(diffIDs, diffID), append(files, file)
	}
	if len(x.notes) > 0 {
		var err error
		if config, err = withDiffIDs(config, diffIDs); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(config)
	id := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	if id != im.id {
		x.notes = append(x.notes, fmt.Sprintf("the image has the ID %s instead of %s", id, im.id))
	}
	names, _ := x.store.names.of(im.id)
	err := errors.Join(x.file(id.Hex+".json", config), x.manifest(id.Hex+".json", names, files))
	if err != nil {
		return nil, err
	}
	return &Extracted{ID: id, Names: names, Notes: x.notes}, x.archive.Close()
}

// layer writes a layer's tar and returns its diffID and its name in the
// archive.
func (x *extraction) layer(ctx context.Context, l *storedLayer) (v1.Hash, string, error) {
	diffID := l.diffID
	content, err := x.store.cache.PutBlob(ctx, layerKind, l.diffID, func(w io.Writer) error { return x.store.tar(ctx, l, w) })
	if err != nil {
		if ctx.Err() != nil {
			return diffID, "", ctx.Err()
		}
		if content, diffID, err = x.again(ctx, l, err); err != nil {
			return diffID, "", err
		}
	}
	file := diffID.Hex + ".tar"
	if x.written[file] {
		return diffID, file, content.Close()
	}
	x.written[file] = true
	err = x.header(file, content.Size())
	if err == nil {
		_, err = io.Copy(ctxio.Writer(ctx, x.archive), io.NewSectionReader(content, 0, content.Size()))
	}
	return diffID, file, errors.Join(err, content.Close())
}

// again archives the files of a layer that cannot be reassembled exactly.
func (x *extraction) again(ctx context.Context, l *storedLayer, cause error) (*cache.File, v1.Hash, error) {
	if x.store.made() {
		return nil, v1.Hash{}, fault.Invalidf("reassembling the layer %s: the store is damaged: %w", l.diffID, cause)
	}
	// Once for the digest, once to store it.
	sum := sha256.New()
	if err := x.store.archiveFiles(ctx, l, sum); err != nil {
		return nil, v1.Hash{}, err
	}
	diffID := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	content, err := x.store.cache.PutBlob(ctx, layerKind, diffID, func(w io.Writer) error { return x.store.archiveFiles(ctx, l, w) })
	x.notes = append(x.notes, fmt.Sprintf("the layer %s could not be reassembled exactly (%v); it was archived again from the files in the store, as %s", l.diffID, cause, diffID))
	return content, diffID, err
}

func (x *extraction) manifest(config string, names, layers []string) error {
	if layers == nil {
		layers = []string{}
	}
	body, err := json.Marshal([]struct {
		Config           string
		RepoTags, Layers []string
	}{{config, names, layers}})
	if err != nil {
		return err
	}
	return x.file("manifest.json", body)
}

func (x *extraction) file(name string, body []byte) error {
	if err := x.header(name, int64(len(body))); err != nil {
		return err
	}
	_, err := x.archive.Write(body)
	return err
}

func (x *extraction) header(name string, size int64) error {
	return x.archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644})
}

// withDiffIDs returns the configuration with other layers.
func withDiffIDs(config []byte, diffIDs []v1.Hash) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, fmt.Errorf("reading its configuration: %w", err)
	}
	rootFS, err := json.Marshal(v1.RootFS{Type: "layers", DiffIDs: diffIDs})
	if err != nil {
		return nil, err
	}
	all["rootfs"] = rootFS
	return json.Marshal(all)
}
