package build

import (
	"context"
	"io"

	"hookbuild/internal/cache"
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

// concatenate writes segments one after the other, each beginning at a
// multiple of four bytes, as the kernel wants an uncompressed one.
func concatenate(ctx context.Context, w io.Writer, segments []*cache.File) error {
	for _, s := range segments {
		if s == nil {
			continue
		}
		n, err := io.Copy(w, io.NewSectionReader(s, 0, s.Size()))
		if err != nil {
			return err
		}
		if _, err := w.Write(make([]byte, (4-n%4)%4)); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
