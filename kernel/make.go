package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"hookbuild/kernel/deliver"
	"hookbuild/kernel/flavor"
)

// Make puts the kernel image of the flavor in o.Plan into the places that d
// names and returns the image's name. For an Armbian flavor it packs the
// prebuilt kernel; any other kernel is compiled unless one of the places
// already has it.
func Make(ctx context.Context, o OpenOptions, d deliver.Options) (ref string, err error) {
	ref, certain, open, err := o.name(ctx)
	if err != nil {
		return "", err
	}
	d.Force = d.Force || !certain
	return ref, deliver.Deliver(ctx, ref, d, func(ctx context.Context) (*deliver.Made, error) {
		m, err := o.selected(ctx, open)
		if err != nil {
			return nil, err
		}
		return o.pack(ctx, m)
	})
}

// Published returns the name of the image that [Make] makes, and whether the
// registry has it. An image whose name does not identify its content counts as
// not published. If only the registry's answer is an error, the name is returned
// with it.
func Published(ctx context.Context, o OpenOptions, r deliver.Registry) (ref string, found bool, err error) {
	ref, certain, _, err := o.name(ctx)
	if err != nil || !certain {
		return ref, false, err
	}
	found, err = r.Has(ctx, ref)
	return ref, found, err
}

// name returns the name of the kernel image of the flavor in o.Plan, whether it
// identifies the content, and a function that builds or fetches the kernel.
func (o OpenOptions) name(ctx context.Context) (ref string, certain bool, open func() (*Image, error), err error) {
	if o.Plan.Flavor.Method == flavor.Armbian {
		return o.armbianKernel(ctx)
	}
	return o.sourceKernel(ctx)
}

// sourceKernel returns the image name of a kernel that is compiled. Certain is
// false if the name does not identify the content; see [plan.Plan.Certain].
func (o OpenOptions) sourceKernel(ctx context.Context) (ref string, certain bool, open func() (*Image, error), err error) {
	p, err := o.resolve(ctx)
	if err != nil {
		return "", false, nil, err
	}
	return p.Reference, p.Certain(), func() (*Image, error) { return o.compile(ctx, p) }, nil
}

// armbianKernel returns the image name of a prebuilt kernel. The name does not
// identify chosen modules and added firmware.
func (o OpenOptions) armbianKernel(ctx context.Context) (ref string, certain bool, open func() (*Image, error), err error) {
	artifact, err := o.armbianRef(ctx)
	if err != nil {
		return "", false, nil, err
	}
	tag := artifact[strings.LastIndex(artifact, ":")+1:]
	ref = fmt.Sprintf("%s-armbian:%s-%s", o.Plan.ImageRepository(), tag, strings.TrimPrefix(o.Plan.Flavor.ID, "armbian-"))
	chosen := len(o.Drivers) + len(o.Plan.Modules.Include) + len(o.Plan.Modules.Exclude) + len(o.Plan.Firmware)
	return ref, chosen == 0, func() (*Image, error) { return fromArmbian(ctx, o.Client, artifact, o.Options) }, nil
}

// pack makes the kernel image. Its layer is a temporary file.
func (o OpenOptions) pack(ctx context.Context, m *Image) (*deliver.Made, error) {
	dir, err := os.MkdirTemp("", "hookbuild-kernel-")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("packing the kernel: %w", err), m.Close())
	}
	discard := func() error { return os.RemoveAll(dir) }
	image, err := m.Pack(ctx, PackOptions{Dir: dir, Time: o.Time})
	if err := errors.Join(err, m.Close()); err != nil {
		return nil, errors.Join(err, discard())
	}
	return &deliver.Made{Image: image, Discard: discard}, nil
}
