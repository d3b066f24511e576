package linuxkit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// loadImages loads every image with a file system for the document, each once,
// by its long reference.
func loadImages(ctx context.Context, doc *Document, o Options) (map[string]*Image, error) {
	wanted := doc.wantedImages(o)
	if len(wanted) > 0 && o.Images == nil {
		return nil, errors.New("assembling the document: it names images, but there is no source of images")
	}
	jobs := o.Jobs
	if jobs < 1 {
		jobs = 4
	}
	images := map[string]*Image{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for _, ref := range slices.Sorted(maps.Keys(wanted)) {
		g.Go(func() error {
			img, err := o.Images.Image(ctx, ref)
			if err != nil {
				return fmt.Errorf("loading the image %q of %s: %w", ref, wanted[ref], err)
			}
			mu.Lock()
			defer mu.Unlock()
			images[ref] = img
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return images, nil
}

// wantedImages returns the long references with the first place of each.
func (d *Document) wantedImages(o Options) map[string]string {
	wanted := map[string]string{}
	want := func(ref, what, line string) {
		long := ExpandReference(ref)
		if _, ok := wanted[long]; !ok {
			wanted[long] = fmt.Sprintf("%s (%s)", what, line)
		}
	}
	if d.Kernel.Image != "" && o.Kernel == nil {
		want(d.Kernel.Image, "kernel", place(d.Kernel.Line, d.Kernel.from))
	}
	replaced := o.replacements()
	for i, ref := range d.Init {
		if _, ok := replaced[ExpandReference(ref.Name)]; !ok {
			want(ref.Name, fmt.Sprintf("init[%d]", i), place(ref.Line, ref.from))
		}
	}
	for i, v := range d.Volumes {
		if v.Image != "" && v.Format != "oci" {
			want(v.Image, fmt.Sprintf("volumes[%d]", i), place(v.Line, v.from))
		}
	}
	for _, s := range d.sections() {
		for i, c := range s.containers {
			want(c.Image, fmt.Sprintf("%s[%d]", s.name, i), place(c.Line, c.from))
		}
	}
	return wanted
}
