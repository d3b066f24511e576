package bundles

import (
	"fmt"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/mod/semver"
)

const (
	// EmbedPrefix begins the names of images in EKS Anywhere's templates. No registry
	// listens there, so the embedded images are used.
	EmbedPrefix = "127.0.0.1/embedded/"
	// workerName is the name of the image that HookOS starts as the worker.
	workerName = "tink-worker"
)

// Mirror replaces From by To at the beginning of names. It matches whole path
// elements: From "public.ecr.aws" and To "mirror.example:443/ns" turn
// "public.ecr.aws/eks-anywhere/x:1" into "mirror.example:443/ns/eks-anywhere/x:1".
type Mirror struct{ From, To string }

func (m Mirror) apply(name string) (string, bool) {
	from := strings.TrimSuffix(m.From, "/")
	rest, ok := strings.CutPrefix(name, from)
	if !ok || from == "" || rest != "" && rest[0] != '/' {
		return name, false
	}
	return strings.TrimSuffix(m.To, "/") + rest, true
}

// embedName returns an image's name at boot, from the last element of its repository.
func embedName(source string) string {
	name := baseName(source)
	if name == "tink-agent" {
		name = workerName // tink-worker's successor has its name
	}
	return EmbedPrefix + name + ":latest"
}

// baseName returns the last path element of a reference, without tag and digest.
func baseName(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	name, _, _ := strings.Cut(path.Base(ref), ":")
	return name
}

// splitDigest splits "repo:tag@sha256:..." into the reference without digest and the
// digest.
func splitDigest(ref string) (string, string, error) {
	name, digest, found := strings.Cut(ref, "@")
	if !found {
		return ref, "", nil
	}
	if err := checkDigest(digest); err != nil {
		return "", "", err
	}
	return name, digest, nil
}

func checkDigest(digest string) error {
	h, err := v1.NewHash(digest)
	if err != nil || h.Algorithm != "sha256" || h.String() != digest {
		return fmt.Errorf("digest %q is not sha256:<64 hexadecimal digits>; copy the whole digest", digest)
	}
	return nil
}

// withTag adds ":latest" to a reference that has no tag.
func withTag(ref string) string {
	if strings.Contains(path.Base(ref), ":") {
		return ref
	}
	return ref + ":latest"
}

// needsSourceNames reports whether an EKS Anywhere release asks HookOS for images by
// the names in the bundle. Those before v0.21 do so for all images, later ones up to
// v0.22.7 and v0.23.1 for the worker. needsSourceNames returns true for a release that
// is not known, because an additional name does no harm.
func needsSourceNames(release string) bool {
	switch {
	case !semver.IsValid(release), semver.Compare(release, "v0.22.8") < 0:
		return true
	case semver.MajorMinor(release) == "v0.23":
		return semver.Compare(release, "v0.23.2") < 0
	}
	return false
}
