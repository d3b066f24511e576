package ship

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
)

// LockTags returns the tags under which builds of hookbuild.lock are published, by
// architecture in Go's terms, or only that of the architecture asked for ("" for
// all). A build without one is an error.
func (h *HookOS) LockTags(only string) (map[string]string, error) {
	all, err := archs(h.manifest, only)
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for _, arch := range all {
		builds := ofArch(h.manifest, arch).Builds
		switch {
		case len(builds) > 1:
			return nil, fault.Invalidf("pushing %q by its lock: it has %d builds for %s; build each flavor with an --out of its own", h.Dir, len(builds), arch)
		case len(builds[0].Unlocked) > 0:
			return nil, fault.Invalidf("pushing %q by its lock: %s has no such tag, because hookbuild.lock does not hold %s, so that a tag made of the lock would stay the same when that changes; push it to a tag of your own, without --by-lock",
				h.Dir, builds[0].Flavor, strings.Join(builds[0].Unlocked, ", "))
		case builds[0].LockTag == "":
			return nil, fault.Invalidf("pushing %q by its lock: %s has no such tag, because it was not built with `hookbuild all --locked`; build it so, or push it to a tag of your own, without --by-lock",
				h.Dir, builds[0].Flavor)
		}
		tags[platforms()[arch]] = builds[0].LockTag
	}
	return tags, nil
}

// IsPublished reports whether the registry has something under the tag ref.
func IsPublished(ctx context.Context, ref string, r oci.Remote) (bool, error) {
	parsed, err := r.Parse(ref)
	if err != nil {
		return false, err
	}
	_, err = remote.Head(parsed, r.Options(ctx)...)
	switch {
	case oci.IsMissing(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking for the HookOS %q: %w", ref, oci.Explain(parsed.Context().RegistryStr(), err))
	}
	return true, nil
}
