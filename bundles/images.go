package bundles

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"

	"hookbuild/internal/fault"
)

// Image is one image to embed. Two images may have the same digest.
type Image struct {
	// Key is the place in the manifest, such as "actions.imageToDisk" or
	// "tink.tinkWorker", or the file and line in an images.txt.
	Key string `json:"key"`
	// Name is the short name, such as "image2disk".
	Name string `json:"name"`
	// Source is where to get the image: a reference with a tag and without a
	// digest, or a form that names a file ("oci:DIR", "docker-archive:FILE").
	Source string `json:"source"`
	// Digest is the digest of the (multi-architecture) manifest, "sha256:...", or
	// "" if it is not known.
	Digest string `json:"digest,omitempty"`
	// EmbedNames are the names at boot, such as
	// "127.0.0.1/embedded/image2disk:latest". The most important one is first.
	EmbedNames []string `json:"embedNames"`
	// Arch lists the architectures ("amd64", "arm64") in the manifest. It is empty
	// if the manifest does not list them.
	Arch []string `json:"arch,omitempty"`
	// Pinned is the source as written in a list, if it has a digest there, or "".
	Pinned string `json:"-"`
}

// Reference returns the source pinned by its digest, "repo:tag@sha256:...", or the
// Source if there is no digest.
func (i Image) Reference() string {
	if i.Digest == "" {
		return i.Source
	}
	return i.Source + "@" + i.Digest
}

// KeepsSource reports whether the image has its source's name at boot.
func (i Image) KeepsSource() bool { return slices.Contains(i.EmbedNames, withTag(i.Source)) }

// The keys of the worker: the bundle's, and one that was given.
const (
	workerKey      = "tink.tinkWorker"
	givenWorkerKey = "--worker-image"
)

// IsWorker reports whether the image is a bundle's worker, or takes its place.
func (i Image) IsWorker() bool { return i.Key == workerKey || i.Key == givenWorkerKey }

// SourceNames says whether images also keep the names that they have in the bundle.
type SourceNames int

// The choices. ByRelease keeps the names for the releases that ask for them: up to
// v0.22.7, v0.23.0, v0.23.1, and if the release is not known.
const (
	ByRelease SourceNames = iota
	Keep
	Drop
)

// Options are options for [Bundle.Images].
type Options struct {
	// WorkerImage is a reference, or another image source, that replaces the
	// bundle's worker.
	WorkerImage string
	// NoWorker leaves out the worker. Such a HookOS can run workflows only if it
	// can pull a worker from a registry.
	NoWorker bool
	// KubeVersion is the Kubernetes version, such as "1.31". It may be "" unless
	// the bundle's images differ between versions.
	KubeVersion string
	// SourceNames says whether the names in the bundle are kept too.
	SourceNames SourceNames
	// Mirrors are the registry mirrors of the site. If source names are kept, so
	// are the names in the mirrors, which EKS Anywhere asks for at such a site.
	Mirrors []Mirror
}

// Images returns the images to embed in a HookOS for this bundle: the actions sorted
// by key, and the worker last.
func (b *Bundle) Images(o Options) ([]Image, error) {
	images, err := b.images(o)
	if err != nil {
		return nil, fault.Invalidf("listing the images of %s: %w", b, err)
	}
	return images, nil
}

func (b *Bundle) images(o Options) ([]Image, error) {
	if o.NoWorker && o.WorkerImage != "" {
		return nil, fault.Usagef("--worker-image and --no-worker are mutually exclusive; use one of them")
	}
	s, err := b.stack(o.KubeVersion)
	if err != nil {
		return nil, err
	}
	if len(s.Actions) == 0 {
		return nil, errors.New("it names no action images (tinkerbellStack.actions); use the complete manifest of the release")
	}
	keep := o.SourceNames == Keep || o.SourceNames == ByRelease && needsSourceNames(b.Release())
	var images []Image
	for _, key := range slices.Sorted(maps.Keys(s.Actions)) {
		img, err := s.Actions[key].image("actions." + key)
		if err != nil {
			return nil, err
		}
		images = append(images, img.named(embedName(img.Source), keep, img.Source, o.Mirrors))
	}
	worker, err := b.worker(s, o, keep)
	if err != nil {
		return nil, err
	}
	images = append(images, worker...)
	return images, checkNames(images)
}

// worker returns the image of the worker, or nothing with NoWorker.
func (b *Bundle) worker(s *stack, o Options, keep bool) ([]Image, error) {
	inBundle := s.Tink.Worker.URI
	if o.NoWorker {
		return nil, nil
	}
	if o.WorkerImage == "" && inBundle == "" {
		return nil, b.missingWorker()
	}
	img, err := s.Tink.Worker.image(workerKey)
	if o.WorkerImage != "" {
		img, err = workerImage(o.WorkerImage)
	}
	if err != nil {
		return nil, err
	}
	// HookOS looks for the name in the bundle, so a replacement has it too.
	keep = keep && inBundle != ""
	return []Image{img.named(EmbedPrefix+workerName+":latest", keep, inBundle, o.Mirrors)}, nil
}

func workerImage(ref string) (Image, error) {
	img, err := artifact{URI: ref}.image(givenWorkerKey)
	img.Name = workerName
	return img, err
}

// image returns the entry for key as an Image without names at boot.
func (a artifact) image(key string) (Image, error) {
	if a.URI == "" {
		return Image{}, fmt.Errorf("%s has no uri; use the complete manifest of the release", key)
	}
	source, digest, err := splitSource(a.URI)
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", key, err)
	}
	switch {
	case a.ImageDigest == "" || a.ImageDigest == digest:
	case digest != "":
		return Image{}, fmt.Errorf("%s: the digest in its uri %q differs from its imageDigest %s; correct the manifest", key, a.URI, a.ImageDigest)
	default:
		if err := checkDigest(a.ImageDigest); err != nil {
			return Image{}, fmt.Errorf("%s: %w; correct the manifest", key, err)
		}
		digest = a.ImageDigest
	}
	return Image{Key: key, Name: baseName(source), Source: source, Digest: digest, Arch: a.Arch}, nil
}

// tag returns the tag of the uri, or "".
func (a artifact) tag() string {
	_, tag, _ := strings.Cut(a.URI[strings.LastIndex(a.URI, "/")+1:], ":")
	return tag
}

// splitSource splits a source into the reference without digest and the digest. A
// form that names a file or a daemon ("oci:DIR") is returned unchanged.
func splitSource(source string) (string, string, error) {
	if IsLocal(source) {
		return source, "", nil
	}
	if strings.ContainsFunc(source, unicode.IsSpace) {
		return "", "", fmt.Errorf("reference %q: it has a space; write it as host/repository:tag", source)
	}
	tagged, digest, err := splitDigest(source)
	if err != nil {
		return "", "", fmt.Errorf("reference %q: %w", source, err)
	}
	if _, err := name.NewTag(tagged); err != nil {
		return "", "", fmt.Errorf("reference %q: %w; write it as host/repository:tag", source, err)
	}
	return tagged, digest, nil
}

// IsLocal reports whether a source is a file or a daemon, not a registry.
func IsLocal(source string) bool {
	for _, scheme := range []string{"oci:", "oci-archive:", "docker-archive:", "daemon:"} {
		if strings.HasPrefix(source, scheme) {
			return true
		}
	}
	return false
}

// named returns the image with its names at boot: first and, with keep, the source's
// name and those in the mirrors.
func (i Image) named(first string, keep bool, source string, mirrors []Mirror) Image {
	i.EmbedNames = []string{first}
	if !keep {
		return i
	}
	tagged, _, _ := strings.Cut(source, "@")
	i.EmbedNames = append(i.EmbedNames, withTag(tagged))
	for _, m := range mirrors {
		if mirrored, ok := m.apply(tagged); ok {
			i.EmbedNames = append(i.EmbedNames, withTag(mirrored))
		}
	}
	return i
}

// checkNames returns an error if two different images have the same name.
func checkNames(images []Image) error {
	owner := map[string]Image{}
	for _, img := range images {
		for _, n := range img.EmbedNames {
			if other, taken := owner[n]; taken && other.Reference() != img.Reference() {
				return fmt.Errorf("%s (%s) and %s (%s) would have the same name %q at boot; rename one", other.Key, other.Source, img.Key, img.Source, n)
			}
			owner[n] = img
		}
	}
	return nil
}
