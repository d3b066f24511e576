package linuxkit

import (
	"slices"
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

// otherSchemes returns the schemes of images and kernels that are not in a registry. To
// Docker these are repositories of Docker Hub, which has none of these names, unlike
// "docker".
func otherSchemes() []string {
	return []string{"oci", "oci-archive", "docker-archive", "daemon", "image", "deb", "dir"}
}

// checkReference rejects a reference that no registry could resolve.
func checkReference(ref string, line int, where string) error {
	switch {
	case ref == "":
		return faultAt(line, where, "the image reference is empty")
	case strings.HasPrefix(ref, "@pkg:"):
		return faultAt(line, where, "%q names a package of LinuxKit's source tree; use the reference of its image", ref)
	}
	scheme, rest, found := strings.Cut(ref, ":")
	if found && slices.Contains(otherSchemes(), scheme) && !beginsWithPort(rest) {
		if where == "kernel.image" {
			return faultAt(line, where, "%q is not an image in a registry; name such a kernel with --kernel, or as kernel.from in hookbuild.yaml", ref)
		}
		return faultAt(line, where, "%q is not an image in a registry; push it to one and name it there, or, if HookOS' Docker is to have it, embed it with --image, or under embed.images in hookbuild.yaml", ref)
	}
	if _, err := name.ParseReference(ExpandReference(ref)); err != nil {
		return faultAt(line, where, "%q is not an image reference: %v", ref, err)
	}
	return nil
}

// beginsWithPort reports whether text, which follows a colon, begins with a port and a
// path: what precedes it is a registry's host, also if it has the name of a scheme.
func beginsWithPort(text string) bool {
	port, _, found := strings.Cut(text, "/")
	return found && port != "" && strings.Trim(port, "0123456789") == ""
}
