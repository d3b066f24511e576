package oci

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// manifest is a manifest or an index; which of them shows in the fields that
// are set, because OCI's own media type is optional.
type manifest struct {
	Config       v1.Descriptor     `json:"config"`
	Layers       []v1.Descriptor   `json:"layers"`
	Manifests    []v1.Descriptor   `json:"manifests"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations"`
	// FSLayers are the layers of schema 1.
	FSLayers json.RawMessage `json:"fsLayers"`
}

// selectManifest follows root, through indexes, to the manifest for p, which
// may be of an image or of something else.
func selectManifest(ctx context.Context, s source, root v1.Hash, p v1.Platform) (v1.Hash, *manifest, error) {
	const deepest = 3 // indexes within indexes
	at := root
	for range deepest {
		raw, err := s.manifest(ctx, at)
		if err != nil {
			return v1.Hash{}, nil, err
		}
		m, err := parseManifest(raw)
		if err != nil {
			return v1.Hash{}, nil, err
		}
		if m.Manifests == nil {
			return at, m, nil
		}
		next, err := choose(m.Manifests, p)
		if err != nil {
			return v1.Hash{}, nil, err
		}
		at = next.Digest
	}
	return v1.Hash{}, nil, invalid("its indexes are nested more than %d deep", deepest)
}

// parseManifest rejects a text that could be taken for both a manifest and an
// index: such texts have been used to attack readers that disagree on them
// (CVE-2021-41190).
func parseManifest(raw []byte) (*manifest, error) {
	var m manifest
	if err := unmarshal(raw, &m); err != nil {
		return nil, err
	}
	if m.FSLayers != nil {
		return nil, invalid("its manifest has Docker's schema 1 format of before 2016, whose layers no digest protects; push the image again with a current Docker")
	}
	if m.Manifests != nil && (m.Layers != nil || m.Config.Digest != v1.Hash{}) {
		return nil, invalid("its manifest is an index and an image at once")
	}
	return &m, nil
}

// checkManifest checks that a manifest is that of a container image. Old
// registries gave configurations the other types, and Docker accepts them too.
func checkManifest(m *manifest) error {
	others := []types.MediaType{"", "application/octet-stream", "application/json", "text/html"}
	if m.Config.MediaType.IsConfig() || m.ArtifactType == "" && slices.Contains(others, m.Config.MediaType) {
		return nil
	}
	return invalid("it is not a container image but an artifact of type %q", m.kind())
}

// kind returns the type of what a manifest describes.
func (m *manifest) kind() string { return cmp.Or(m.ArtifactType, string(m.Config.MediaType)) }

// choose picks the image for p out of an index. If several variants of the
// architecture are offered, it picks the requested variant, or else the
// baseline.
func choose(offered []v1.Descriptor, p v1.Platform) (v1.Descriptor, error) {
	images := slices.DeleteFunc(slices.Clone(offered), isNoImage)
	if len(images) == 1 && images[0].Platform == nil {
		return images[0], nil // its configuration decides
	}
	fitting := slices.DeleteFunc(images, func(d v1.Descriptor) bool { return !fits(d.Platform, p) })
	if len(fitting) == 0 {
		return v1.Descriptor{}, platformError{invalid("it is not available for %s, only for %s", p.String(), listPlatforms(offered))}
	}
	return slices.MinFunc(fitting, func(a, b v1.Descriptor) int {
		return rankVariant(a.Platform.Variant, p) - rankVariant(b.Platform.Variant, p)
	}), nil
}

// platformError reports an image that does not exist for the requested
// platform.
type platformError struct{ error }

func (e platformError) Unwrap() error { return e.error }

// LacksPlatform reports whether err says that an image does not exist for the
// requested platform.
func LacksPlatform(err error) bool {
	var lacks platformError
	return errors.As(err, &lacks)
}

// isNoImage recognises attestations, signatures and the like, which indexes
// list among the images.
func isNoImage(d v1.Descriptor) bool {
	unknown := d.Platform != nil && d.Platform.OS == "unknown"
	known := d.MediaType == "" || d.MediaType.IsImage() || d.MediaType.IsIndex() || d.MediaType.IsSchema1()
	return unknown || d.ArtifactType != "" && !types.MediaType(d.ArtifactType).IsConfig() || !known
}

func fits(offered *v1.Platform, p v1.Platform) bool {
	if offered == nil || offered.OS != p.OS || p.Architecture != "" && offered.Architecture != p.Architecture {
		return false
	}
	return p.Variant == "" || rankVariant(offered.Variant, p) < unfit
}

// unfit is the rank of a variant that is not the best one, or does not match
// the requested one.
const unfit = 2

func rankVariant(variant string, p v1.Platform) int {
	baselines := map[string]string{"arm64": "v8", "amd64": "v1"}
	switch {
	case variant == p.Variant:
		return 0
	case variant == "" || p.Variant == "" && variant == baselines[p.Architecture]:
		return 1
	}
	return unfit
}

func listPlatforms(offered []v1.Descriptor) string {
	var all []string
	for _, d := range offered {
		if d.Platform != nil && !isNoImage(d) {
			all = append(all, d.Platform.String())
		}
	}
	if len(all) == 0 {
		return "no platform at all"
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// checkLayer rejects layers that cannot be fetched, with the reason.
func checkLayer(d v1.Descriptor) error {
	const dockerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd" // as BuildKit writes it
	if !d.MediaType.IsDistributable() || strings.Contains(string(d.MediaType), "nondistributable") {
		return invalid("it is a foreign layer (%s), whose licence keeps it out of registries; embed an image without such layers", d.MediaType)
	}
	if !d.MediaType.IsLayer() && d.MediaType != dockerZstd {
		return invalid("its media type %q is not that of a file system layer", d.MediaType)
	}
	if d.Size < 0 {
		return invalid("its size %d is invalid", d.Size)
	}
	return nil
}
