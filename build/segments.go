package build

import (
	"context"
	"io"

	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
)

// concatenate writes the segments that are not nil as one initramfs.
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
