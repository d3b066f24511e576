package linuxkit

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// ExpandReference returns the long form of an image reference as Docker
// understands the short one: "linuxkit/init:v1" is
// "docker.io/linuxkit/init:v1", "redis" is "docker.io/library/redis". A tag
// that is not there is not added.
func ExpandReference(ref string) string {
	first, _, found := strings.Cut(ref, "/")
	switch {
	case !found:
		return "docker.io/library/" + ref
	case strings.ContainsAny(first, ".:") || first == "localhost":
		return ref
	}
	return "docker.io/" + ref
}

// checkReference refuses what no registry could know.
func checkReference(ref string, line int, where string) error {
	switch {
	case ref == "":
		return faultAt(line, where, "the image reference is empty")
	case strings.HasPrefix(ref, "@pkg:"):
		return faultAt(line, where, "%q names a package of LinuxKit's source tree: give the reference of its image", ref)
	}
	if _, err := name.ParseReference(ExpandReference(ref)); err != nil {
		return faultAt(line, where, "%q is no image reference: %v", ref, err)
	}
	return nil
}
