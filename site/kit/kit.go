// Package kit keeps every input of a lock in one tar archive, for sites without
// a network, and answers from it in the place of the network.
//
// The archive is an OCI image layout (OCI image specification, "Image Layout")
// with two more files:
//
//	oci-layout, index.json, blobs/sha256/HEX
//	hookbuild.lock   the lock that the kit was made for
//	sha256sums       the checksum of each other file, for sha256sum -c
//
// The index lists images under their references, as their registries have them,
// and one artifact whose layers are files under their URLs or, for files of the
// machine that made the kit, their paths. The index comes
// last but one, so an archive that was cut off has none.
//
//	Save    Plan -> archive, resumable, each blob once
//	Open    archives -> Kit
//	Kit     an http.RoundTripper: registries and servers, from the archive
//
// What a kit must hold is decided by package build.
package kit

import (
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/fault"
	"hookbuild/site/lock"
)

// The names of files in the archive.
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	sumsFile   = "sha256sums"
	blobPrefix = "blobs/sha256/"

	layoutText = `{"imageLayoutVersion":"1.0.0"}`
)

// The words of the index.
const (
	refName   = "org.opencontainers.image.ref.name"
	filesType = "application/vnd.hookbuild.kit.files.v1"
	urlKey    = "hookbuild.url"
)

// The bounds on a kit from elsewhere.
const (
	mostSmall = 16 << 20 // of index.json and its like, in bytes
	mostFiles = 1 << 20  // in an archive
)

// Image is an image or artifact under the reference that it is asked for by.
type Image struct {
	Reference string
	// Root describes the index or manifest.
	Root v1.Descriptor
}

// File is a file under the URL that it is asked for by.
type File struct {
	URL    string
	Digest v1.Hash
	Size   int64
}

// contents is what index.json and the manifest of the files say.
type contents struct {
	images []Image
	files  []File
	locals []Local
}

// encodeIndex returns index.json and the manifest of the files, with its
// configuration.
func (c contents) encode() (index, manifest, config []byte, err error) {
	config = []byte("{}")
	files := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{
		MediaType: filesType, Digest: hashOf(config), Size: int64(len(config)),
	}, Layers: []v1.Descriptor{}}
	for _, f := range c.files {
		files.Layers = append(files.Layers, v1.Descriptor{
			MediaType: "application/octet-stream", Digest: f.Digest, Size: f.Size, Annotations: map[string]string{urlKey: f.URL},
		})
	}
	for _, l := range c.locals {
		files.Layers = append(files.Layers, v1.Descriptor{
			MediaType: "application/octet-stream", Digest: l.Digest, Size: l.Size, Annotations: map[string]string{pathKey: l.Name, kindKey: string(l.Kind)},
		})
	}
	if manifest, err = json.Marshal(files); err != nil {
		return nil, nil, nil, err
	}
	list := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: files.MediaType, Digest: hashOf(manifest), Size: int64(len(manifest)), ArtifactType: filesType,
	}}}
	for _, image := range c.images {
		list.Manifests = append(list.Manifests, v1.Descriptor{
			MediaType: image.Root.MediaType, Digest: image.Root.Digest, Size: image.Root.Size, Annotations: map[string]string{refName: image.Reference},
		})
	}
	index, err = json.MarshalIndent(list, "", "  ")
	return index, manifest, config, err
}

// parseIndex reads index.json. It returns the descriptor of the files' manifest.
func parseIndex(raw []byte) (images []Image, files v1.Descriptor, err error) {
	var list v1.IndexManifest
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, files, fmt.Errorf("reading %s: %w", indexFile, err)
	}
	for _, d := range list.Manifests {
		if err := checkDescriptor(d); err != nil {
			return nil, files, fmt.Errorf("reading %s: %w", indexFile, err)
		}
		switch name := d.Annotations[refName]; {
		case d.ArtifactType == filesType:
			files = d
		case name == "":
			return nil, files, fmt.Errorf("reading %s: %s has no name", indexFile, d.Digest)
		default:
			images = append(images, Image{name, v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}})
		}
	}
	if files.Digest == (v1.Hash{}) {
		return nil, files, fmt.Errorf("reading %s: it lists no files of a kit, so it is another OCI layout", indexFile)
	}
	return images, files, nil
}

// parseFiles reads the manifest of the files.
func parseFiles(raw []byte) ([]File, []Local, error) {
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, nil, fmt.Errorf("reading the list of files: %w", err)
	}
	var files []File
	var locals []Local
	for _, d := range m.Layers {
		if err := checkDescriptor(d); err != nil {
			return nil, nil, fmt.Errorf("reading the list of files: %w", err)
		}
		url, name := d.Annotations[urlKey], d.Annotations[pathKey]
		switch {
		case name != "":
			l := Local{name, Kind(d.Annotations[kindKey]), d.Digest, d.Size}
			if err := checkLocal(l); err != nil {
				return nil, nil, fmt.Errorf("reading the list of files: %w", err)
			}
			locals = append(locals, l)
		case url != "":
			files = append(files, File{url, d.Digest, d.Size})
		default:
			return nil, nil, fmt.Errorf("reading the list of files: %s has neither a URL nor a path", d.Digest)
		}
	}
	return files, locals, nil
}

func checkDescriptor(d v1.Descriptor) error {
	if d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 64 || strings.Trim(d.Digest.Hex, "0123456789abcdef") != "" || d.Size < 0 {
		return fmt.Errorf("%q with %d bytes is not a blob", d.Digest, d.Size)
	}
	return nil
}

// innerBlobs lists what an image's index or manifest names.
func innerBlobs(raw []byte) (children []v1.Descriptor, isIndex bool, err error) {
	var m struct {
		Config    v1.Descriptor   `json:"config"`
		Layers    []v1.Descriptor `json:"layers"`
		Manifests []v1.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, false, err
	}
	if m.Manifests != nil {
		return m.Manifests, true, nil
	}
	return append([]v1.Descriptor{m.Config}, m.Layers...), false, nil
}

// isLock reports whether a file of the archive is the lock.
func isLock(name string) bool { return name == lock.Name }

func invalid(format string, args ...any) error { return fault.Invalidf(format, args...) }
