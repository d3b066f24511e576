package build

import (
	"context"
	"io"

	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// segmentsKind is the cache's name for finished archives.
const segmentsKind = "segments"

// derive gives the cached result for key, or makes it and keeps it.
func (b *Builder) derive(ctx context.Context, what, key string, fill func(io.Writer) error) (*cache.File, error) {
	task := progress.Start(b.Progress, 0, "%s", what)
	f, hit, err := b.Cache.Derived(ctx, segmentsKind, key, fill)
	if err != nil {
		return nil, task.End(err, "")
	}
	state := "made"
	if hit {
		state = "nothing changed"
	}
	return f, task.End(nil, state)
}

// concatenate writes the segments as one initramfs.
func concatenate(ctx context.Context, w io.Writer, segments []*cache.File) error {
	out := initramfs.NewFileWriter(w)
	for _, s := range segments {
		if s == nil {
			continue
		}
		if err := out.Append(ctx, io.NewSectionReader(s, 0, s.Size())); err != nil {
			return err
		}
	}
	return nil
}
