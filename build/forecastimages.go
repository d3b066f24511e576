package build

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/build/onboard"
	"hookbuild/internal/oci"
)

// What images are for.
const (
	forKernel   = "kernel"
	forFirmware = "firmware"
	forSystem   = "root file system"
	forLoader   = "boot loader"
	forStore    = "embedded"
)

// addImages adds all images but the kernel's.
func (f *forecaster) addImages(ctx context.Context) error {
	if p := f.Kernel; p != nil && p.Firmware != nil && p.Firmware.Image != nil {
		if err := f.addImage(ctx, forFirmware, p.Firmware.Image, nil); err != nil {
			return err
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(f.Images)) {
		if err := f.addImage(ctx, forSystem, f.Images[ref], nil); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(f.layouts)) {
		ref, _, _ := strings.Cut(key, " ")
		layout := f.layouts[key]
		if err := f.add(ctx, ForecastImage{For: forSystem, Reference: ref, Digest: layout.Digest.String()}, layout); err != nil {
			return err
		}
	}
	if f.loader != nil {
		if err := f.addImage(ctx, forLoader, f.loader, nil); err != nil {
			return err
		}
	}
	if f.Embedded == nil {
		return nil
	}
	for i, item := range f.Embedded.Items {
		if err := f.addImage(ctx, forStore, item.Image, f.Embedded.Images[i].EmbedNames); err != nil {
			return err
		}
	}
	return nil
}

func (f *forecaster) addImage(ctx context.Context, what string, img *oci.Image, as []string) error {
	l := lockImage(strings.TrimPrefix(img.Source, "daemon:"), img)
	return f.add(ctx, ForecastImage{For: what, Reference: onboard.SourceName(img.Source), Digest: l.Digest, ID: l.ID, As: as}, img)
}

// add adds an image and counts its parts.
func (f *forecaster) add(ctx context.Context, image ForecastImage, from interface {
	Parts(ctx context.Context) ([]oci.Part, error)
},
) error {
	parts, err := from.Parts(ctx)
	if err != nil {
		return fmt.Errorf("looking for the parts of %q in the cache: %w", image.Reference, err)
	}
	own := map[v1.Hash]bool{}
	for _, p := range parts {
		count := func(cached, download *Amount, seen map[v1.Hash]bool) {
			switch {
			case seen[p.Key]:
			case p.Cached:
				cached.add(p)
			default:
				download.add(p)
			}
			seen[p.Key] = true
		}
		count(&image.Cached, &image.Download, own)
		count(&f.out.Cached, &f.out.Download, f.counted)
	}
	f.out.Images = append(f.out.Images, image)
	return nil
}
