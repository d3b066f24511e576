package bundles

import (
	"fmt"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/mod/semver"
)

const (
	// embedPrefix is the registry that EKS Anywhere's templates name: nothing
	// listens there, so what is on board is used.
	embedPrefix = "127.0.0.1/embedded/"
	// workerName is what HookOS starts, whatever program is in it.
	workerName = "tink-worker"
)

// Mirror is a place where names that begin with From are found under To
// instead. It matches whole path elements: From "public.ecr.aws" with To
// "mirror.example:443/ns" turns "public.ecr.aws/eks-anywhere/x:1" into
// "mirror.example:443/ns/eks-anywhere/x:1".
type Mirror struct{ From, To string }

func (m Mirror) apply(name string) (string, bool) {
	from := strings.TrimSuffix(m.From, "/")
	rest, ok := strings.CutPrefix(name, from)
	if !ok || from == "" || rest != "" && rest[0] != '/' {
		return name, false
	}
	return strings.TrimSuffix(m.To, "/") + rest, true
}

// embedName gives an image's name at boot from its repository's last element.
func embedName(source string) string {
	name := baseName(source)
	if name == "tink-agent" {
		name = workerName // tink-worker's successor answers to its name
	}
	return embedPrefix + name + ":latest"
}

// baseName is the last path element of a reference, without tag and digest.
func baseName(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	name, _, _ := strings.Cut(path.Base(ref), ":")
	return name
}

// splitDigest parts "repo:tag@sha256:..." into its tag form and its digest.
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
	if err != nil {
		return fmt.Errorf("digest %q: %w", digest, err)
	}
	if h.Algorithm != "sha256" || h.String() != digest {
		return fmt.Errorf("digest %q is not sha256:<64 hexadecimal digits>", digest)
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

// needsSourceNames tells whether an EKS Anywhere release asks HookOS for
// images by the names in the bundle: those of before v0.21 do for all of them,
// later ones up to v0.22.7 and v0.23.1 for the worker. A release that is not
// known counts as one: a further name does no harm, a missing one does.
func needsSourceNames(release string) bool {
	switch {
	case !semver.IsValid(release), semver.Compare(release, "v0.22.8") < 0:
		return true
	case semver.MajorMinor(release) == "v0.23":
		return semver.Compare(release, "v0.23.2") < 0
	}
	return false
}
