package linuxkit

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"hookbuild/internal/oci"
)

// ExpandReference returns the long form of an image reference as Docker
// interprets the short one: "linuxkit/init:v1" becomes
// "docker.io/linuxkit/init:v1", "redis" becomes "docker.io/library/redis". It
// adds no tag.
func ExpandReference(ref string) string {
	host, _, found := strings.Cut(ref, "/")
	switch {
	case !found:
		return "docker.io/library/" + ref
	case oci.IsRegistry(host):
		return ref
	}
	return "docker.io/" + ref
}

// checkReference rejects a reference that no registry could resolve.
func checkReference(ref string, line int, where string) error {
	switch {
	case ref == "":
		return faultAt(line, where, "the image reference is empty")
	case strings.HasPrefix(ref, "@pkg:"):
		return faultAt(line, where, "%q names a package of LinuxKit's source tree; use the reference of its image", ref)
	}
	if _, err := name.ParseReference(ExpandReference(ref)); err != nil {
		return faultAt(line, where, "%q is not an image reference: %v", ref, err)
	}
	return nil
}
