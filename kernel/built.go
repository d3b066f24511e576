package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/plan"
)

// defaultSource reads the kernel image that this checkout builds of the
// requested or pinned release. Without such a release it reads the newest
// published image that has the checkout's configuration.
func defaultSource() source {
	return source{
		names:   []string{defaultReference},
		flavors: true,
		pin: func(ctx context.Context, _, _ string, o OpenOptions) (*Pinned, error) {
			point, err := o.pointRelease()
			switch {
			case err != nil:
				return nil, err
			case point == "":
				return o.pinLatest(ctx, true)
			}
			image, err := o.findBuilt(ctx, point)
			return pinnedImage(image), err
		},
		open: func(ctx context.Context, _, _ string, o OpenOptions) (*Image, error) {
			point, err := o.pointRelease()
			switch {
			case err != nil:
				return nil, err
			case point == "":
				return o.latest(ctx, true)
			}
			return o.built(ctx, point)
		},
	}
}

// pointRelease returns the last number of the release that was requested or
// that the checkout's lock pins, or "" if neither specifies one.
func (o OpenOptions) pointRelease() (string, error) {
	r := o.Plan
	if r.Flavor.Method != flavor.Source || r.PointRelease != "" {
		return r.PointRelease, nil
	}
	lock, err := plan.ReadLock(r.HookDir)
	if err != nil {
		return "", err
	}
	pin, pinned := lock.Find(r.Flavor.Series)
	if !pinned {
		return "", nil
	}
	return strconv.Itoa(pin.Version.Point), nil
}

// built reads the kernel image that this checkout builds.
func (o OpenOptions) built(ctx context.Context, point string) (*Image, error) {
	image, err := o.findBuilt(ctx, point)
	if err != nil {
		return nil, err
	}
	return fromKernelImage(ctx, image, o.Options)
}

// findBuilt finds the kernel image that this checkout builds, in its registry or
// else in the Docker engine.
func (o OpenOptions) findBuilt(ctx context.Context, point string) (*oci.Image, error) {
	hash, err := o.checkoutHash()
	if err != nil {
		return nil, err
	}
	f := o.Plan.Flavor
	ref := fmt.Sprintf("%s:%s.%s-%s", o.Plan.ImageRepository(), f.Series, point, hash)
	image, err := o.Client.Image(ctx, ref, o.platform())
	if err != nil {
		local, missing := o.Client.Image(ctx, "daemon:"+ref, o.platform())
		if missing != nil {
			return nil, fault.Outsidef("finding the kernel %s.%s: %w; Docker does not have it either: %w; build it with `hookbuild kernel %s KERNEL_POINT_RELEASE=%s`, or use --kernel latest for the newest published one",
				f.Series, point, err, missing, f.ID, point)
		}
		image = local
	}
	return image, nil
}

// checkoutHash returns the end of the tags of kernels that are built from the
// checkout in its current state. It is an error if the checkout lacks the flavor's
// configuration.
func (o OpenOptions) checkoutHash() (string, error) {
	hash, err := plan.TagHash(plan.Request{Flavor: o.Plan.Flavor, HookDir: o.Plan.HookDir, Strip: true})
	if errors.Is(err, fs.ErrNotExist) && !o.Plan.Flavor.Own { // --kernel latest takes a flavor of the checkout's own by this hash, too
		err = fmt.Errorf("%w; or use --kernel latest, which takes the newest published kernel with any configuration", err)
	}
	return hash, err
}
