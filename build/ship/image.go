package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/build/artifact"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// HookOS is a finished HookOS that can be pushed.
type HookOS struct {
	// Dir is the directory of the artifacts.
	Dir      string
	manifest artifact.Manifest
}

// Open reads the manifest of the HookOS in dir, or in its directory hook.
func Open(dir string) (*HookOS, error) {
	for _, candidate := range []string{dir, filepath.Join(dir, artifact.DefaultName)} {
		m, err := artifact.ReadManifest(filepath.Join(candidate, artifact.ManifestFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = records(m)
		}
		if err != nil {
			return nil, err
		}
		return &HookOS{candidate, m}, nil
	}
	return nil, fault.Invalidf("looking for a HookOS in %q: there is no %s; build one with `hookbuild all`, or name its directory", dir, artifact.ManifestFile)
}

// image is the image of one architecture.
type image struct {
	arch   string // in Go's terms
	layers []*layer
	config []byte
	raw    []byte
}

// image reads the files of an architecture and compares them with the manifest.
func (h *HookOS) image(ctx context.Context, sink progress.Sink, arch string) (*image, error) {
	part := ofArch(h.manifest, arch)
	files, err := records(part)
	if err != nil {
		return nil, err
	}
	listings, err := listings(part, nil)
	if err != nil {
		return nil, err
	}
	im := &image{arch: platforms()[arch]}
	groups := [][]member{listings}
	var total int64
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if files[name].Link == "" {
			groups = append(groups, withLinks(onDisk(h.Dir, files[name]), files))
			total += files[name].Size
		}
	}
	copies, err := h.copies(files)
	if err != nil {
		return nil, err
	}
	for _, f := range copies {
		total += f.Size
	}
	task := progress.Start(sink, total, "read the HookOS for %s", im.arch)
	for _, f := range copies {
		if err := h.compare(ctx, task, f); err != nil {
			return nil, task.End(err, "")
		}
	}
	for _, g := range groups {
		l, err := newLayer(ctx, task, g)
		if err != nil {
			return nil, task.End(err, "")
		}
		im.layers = append(im.layers, l)
	}
	if im.config, err = json.Marshal(im.configFile()); err != nil {
		return nil, task.End(err, "")
	}
	return im, task.End(nil, "")
}

// copies returns the listed hard links that are files of their own in the directory,
// such as after a copy that does not keep links. No layer has their bytes.
func (h *HookOS) copies(files map[string]artifact.File) ([]artifact.File, error) {
	var all []artifact.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		if f.Link == "" {
			continue
		}
		link, err := os.Stat(filepath.Join(h.Dir, name))
		if err != nil {
			return nil, fault.Invalidf("reading a file that %s lists: %w; build it again, or copy it again", artifact.ManifestFile, err)
		}
		if to, err := os.Stat(filepath.Join(h.Dir, f.Link)); err != nil || !os.SameFile(link, to) {
			all = append(all, f) // a missing target is reported when its layer is read
		}
	}
	return all, nil
}

// compare reads a file, which must be as manifest.json lists it.
func (h *HookOS) compare(ctx context.Context, task *progress.Task, f artifact.File) error {
	m := onDisk(h.Dir, f)
	r, err := m.open()
	if err != nil {
		return err
	}
	defer r.Close() // only read
	_, err = io.Copy(io.Discard, ctxio.Reader(ctx, task.Reader(m.checked(r))))
	return err
}

// listings returns manifest.json, the other files about the HookOS, and the
// checksums.txt of all.
func listings(m artifact.Manifest, others []member) ([]member, error) {
	var text bytes.Buffer
	if err := m.Write(&text); err != nil {
		return nil, err
	}
	all := append([]member{memory(artifact.ManifestFile, text.Bytes())}, others...)
	sums, err := checksums(m, all)
	if err != nil {
		return nil, err
	}
	return append([]member{memory(artifact.ChecksumsFile, sums)}, all...), nil
}

// checksums returns the checksums.txt of a manifest's files and of others.
func checksums(m artifact.Manifest, others []member) ([]byte, error) {
	var all []artifact.File
	for _, b := range m.Builds {
		all = append(all, b.Artifacts...)
	}
	for _, o := range others {
		r, err := o.open()
		if err != nil {
			return nil, err
		}
		f, err := artifact.Sum(o.name, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	var text bytes.Buffer
	err := artifact.Checksums(all)(&text)
	return text.Bytes(), err
}

func withLinks(m member, files map[string]artifact.File) []member {
	all := []member{m}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if files[name].Link == m.name {
			all = append(all, member{name: name, link: m.name})
		}
	}
	return all
}

func (im *image) configFile() v1.ConfigFile {
	c := v1.ConfigFile{Architecture: im.arch, OS: "linux", Created: v1.Time{Time: initramfs.Epoch()}, RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range im.layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.digest)
	}
	return c
}

// seal makes the image's manifest.
func (im *image) seal(typed bool, annotations map[string]string) (err error) {
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: annotations}
	if typed {
		m.ArtifactType = artifactType
	}
	hash, size, err := v1.SHA256(bytes.NewReader(im.config))
	if err != nil {
		return err
	}
	m.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: hash, Size: size}
	for _, l := range im.layers {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: layerType, Digest: l.digest, Size: l.size})
	}
	im.raw, err = json.Marshal(m)
	return err
}

// descriptor describes the image in an index.
func (im *image) descriptor() (v1.Descriptor, error) {
	hash, size, err := v1.SHA256(bytes.NewReader(im.raw))
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: hash, Size: size, Platform: &v1.Platform{OS: "linux", Architecture: im.arch}}, err
}

// RawManifest implements [partial.CompressedImageCore].
func (im *image) RawManifest() ([]byte, error) { return im.raw, nil }

// RawConfigFile implements [partial.CompressedImageCore].
func (im *image) RawConfigFile() ([]byte, error) { return im.config, nil }

// MediaType implements [partial.CompressedImageCore].
func (im *image) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// LayerByDigest implements [partial.CompressedImageCore].
func (im *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, l := range im.layers {
		if l.digest == h {
			return l, nil
		}
	}
	return nil, fs.ErrNotExist
}

var _ partial.CompressedImageCore = (*image)(nil)

// index is an index whose manifests are pushed already.
type index []byte

// RawManifest implements remote.Taggable.
func (x index) RawManifest() ([]byte, error) { return x, nil }

// MediaType returns the type that a registry is told.
func (x index) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }

// exists reports whether there is a file of that name.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Manifest returns the manifest of the HookOS.
func (h *HookOS) Manifest() artifact.Manifest { return h.manifest }
