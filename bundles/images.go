package bundles

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/mod/semver"

	"hookbuild/internal/fault"
)

// Image is one image to embed. Two images may have the same digest.
type Image struct {
	// Key is the place in the manifest: "actions.imageToDisk",
	// "tink.tinkWorker"; for a line of images.txt its file and line.
	Key string `json:"key"`
	// Name is the short name: "image2disk".
	Name string `json:"name"`
	// Source is where to get it: a reference with a tag and without a digest,
	// or one of the forms that name a file ("oci:DIR", "docker-archive:FILE").
	Source string `json:"source"`
	// Digest is that of the (multi-architecture) manifest, "sha256:...", or ""
	// when it is not known.
	Digest string `json:"digest,omitempty"`
	// EmbedNames are the names at boot, the most important one first:
	// "127.0.0.1/embedded/image2disk:latest".
	EmbedNames []string `json:"embedNames"`
	// Arch lists the architectures the manifest promises ("amd64", "arm64");
	// empty when it says nothing.
	Arch []string `json:"arch,omitempty"`
	// Pinned is the source as a list wrote it, where it has a digest; "" where
	// it has none.
	Pinned string `json:"-"`
}

// Reference is the source pinned by its digest: "repo:tag@sha256:...", or the
// Source alone when there is no digest.
func (i Image) Reference() string {
	if i.Digest == "" {
		return i.Source
	}
	return i.Source + "@" + i.Digest
}

// KeepsSource tells whether the image is to have its source's name at boot.
func (i Image) KeepsSource() bool { return slices.Contains(i.EmbedNames, withTag(i.Source)) }

// SourceNames says whether images keep the names they have in the bundle
// beside the embedded ones.
type SourceNames int

// The choices. ByRelease keeps them for the releases that ask for them: up to
// v0.22.7, v0.23.0, v0.23.1, and those that are not known.
const (
	ByRelease SourceNames = iota
	Keep
	Drop
)

// Options say what [Bundle.Images] gives.
type Options struct {
	// WorkerImage is a reference that takes the place of the bundle's worker.
	WorkerImage string
	// NoWorker leaves the worker out. Such a HookOS runs no workflow until a
	// registry gives it one.
	NoWorker bool
	// KubeVersion chooses where the bundle's images differ between Kubernetes
	// versions ("1.31"); "" is enough when they do not.
	KubeVersion string
	// SourceNames says whether the bundle's own names are kept as well.
	SourceNames SourceNames
	// Mirrors are the registry mirrors of the site. Where source names are
	// kept, the names in the mirrors are given too: with a mirror EKS Anywhere
	// asks for those.
	Mirrors []Mirror
}

// Images lists what a HookOS for this bundle has on board: the actions by key,
// the worker last.
func (b *Bundle) Images(o Options) ([]Image, error) {
	images, err := b.images(o)
	if err != nil {
		return nil, fault.Invalidf("listing the images of %s: %w", b, err)
	}
	return images, nil
}

func (b *Bundle) images(o Options) ([]Image, error) {
	if o.NoWorker && o.WorkerImage != "" {
		return nil, fault.Usagef("both a worker image and no worker are asked for; give one of --worker-image and --no-worker")
	}
	s, err := b.stack(o.KubeVersion)
	if err != nil {
		return nil, err
	}
	if len(s.Actions) == 0 {
		return nil, errors.New("it names no action images (tinkerbellStack.actions); give the complete manifest of the release")
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

// worker gives the one image of the agent, or none.
func (b *Bundle) worker(s *stack, o Options, keep bool) ([]Image, error) {
	const key = "tink.tinkWorker"
	inBundle := s.Tink.Worker.URI
	if o.NoWorker {
		return nil, nil
	}
	if o.WorkerImage == "" && inBundle == "" {
		return nil, b.missingWorker(s)
	}
	img, err := s.Tink.Worker.image(key)
	if o.WorkerImage != "" {
		img, err = workerImage(o.WorkerImage)
	}
	if err != nil {
		return nil, err
	}
	// HookOS is told the name in the bundle, so a replacement answers to it.
	keep = keep && inBundle != ""
	return []Image{img.named(embedPrefix+workerName+":latest", keep, inBundle, o.Mirrors)}, nil
}

// missingWorker explains a bundle without an agent. Boots is tagged with the
// commit of the repository that the agent is made from.
func (b *Bundle) missingWorker(s *stack) error {
	if r := b.Release(); semver.IsValid(r) && semver.Compare(semver.MajorMinor(r), "v0.25") < 0 {
		return fmt.Errorf("it names no tink-worker (tinkerbellStack.tink.tinkWorker), as the manifests of %s do: get the complete manifest again, "+
			"or give the worker's image with --worker-image REF", r)
	}
	commit, image := "", "REF"
	if tag := s.Boots.tag(); len(tag) >= 40 {
		commit = fmt.Sprintf(", made from commit %s of tinkerbell/tinkerbell as boots is", tag[:40])
		image = "ghcr.io/tinkerbell/tink-agent@DIGEST of that commit"
	}
	return fmt.Errorf("it names no tink-worker: since EKS Anywhere v0.25.0 the worker is tink-agent%s, and no bundle names it; "+
		"add --worker-image %s (it is named tink-worker at boot), take it from the HookOS of the same release with --worker-from FILE|URL "+
		"(a tink-worker of v0.24 or older never gets work from this release's server), or continue without it with --no-worker", commit, image)
}

func workerImage(ref string) (Image, error) {
	img, err := artifact{URI: ref}.image("--worker-image")
	img.Name = workerName
	return img, err
}

// image makes the entry for key an Image without names at boot.
func (a artifact) image(key string) (Image, error) {
	if a.URI == "" {
		return Image{}, fmt.Errorf("%s has no uri; give the complete manifest of the release", key)
	}
	source, digest, err := splitSource(a.URI)
	if err != nil {
		return Image{}, fmt.Errorf("%s: %w", key, err)
	}
	switch {
	case a.ImageDigest == "" || a.ImageDigest == digest:
	case digest != "":
		return Image{}, fmt.Errorf("%s: the digest in its uri %q is not its imageDigest %s; correct the manifest", key, a.URI, a.ImageDigest)
	default:
		if err := checkDigest(a.ImageDigest); err != nil {
			return Image{}, fmt.Errorf("%s: %w; correct the manifest", key, err)
		}
		digest = a.ImageDigest
	}
	return Image{Key: key, Name: baseName(source), Source: source, Digest: digest, Arch: a.Arch}, nil
}

// tag is the tag of the uri, or "".
func (a artifact) tag() string {
	_, tag, _ := strings.Cut(a.URI[strings.LastIndex(a.URI, "/")+1:], ":")
	return tag
}

// splitSource parts a source into its tag form and digest. A form that names a
// file or a daemon ("oci:DIR") is left as it is.
func splitSource(source string) (string, string, error) {
	if isLocal(source) {
		return source, "", nil
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

// isLocal tells the sources that are not in a registry.
func isLocal(source string) bool {
	for _, scheme := range []string{"oci:", "oci-archive:", "docker-archive:", "daemon:"} {
		if strings.HasPrefix(source, scheme) {
			return true
		}
	}
	return false
}

// named gives the image its names at boot: first, then with keep the source's
// and those in the mirrors.
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

// checkNames refuses two different images that want one name.
func checkNames(images []Image) error {
	owner := map[string]Image{}
	for _, img := range images {
		for _, n := range img.EmbedNames {
			if other, taken := owner[n]; taken && other.Reference() != img.Reference() {
				return fmt.Errorf("%s (%s) and %s (%s) would both be %q at boot; rename one", other.Key, other.Source, img.Key, img.Source, n)
			}
			owner[n] = img
		}
	}
	return nil
}
