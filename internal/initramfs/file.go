package initramfs

import (
	"context"
	"fmt"
	"io"
)

// FileWriter writes an initramfs file: one segment after the other, each at a
// multiple of 4 bytes, where the kernel looks for an uncompressed one.
type FileWriter struct {
	w      io.Writer
	offset int64
}

// NewFileWriter begins a file in w.
func NewFileWriter(w io.Writer) *FileWriter { return &FileWriter{w: w} }

// Offset is the number of bytes written so far.
func (f *FileWriter) Offset() int64 { return f.offset }

// WriteSegment adds t as [WriteSegment] writes it.
func (f *FileWriter) WriteSegment(ctx context.Context, t *Tree, o SegmentOptions) error {
	if err := f.pad(); err != nil {
		return err
	}
	return WriteSegment(ctx, f.counted(), t, o)
}

// Append adds the segments that r holds, untouched: an existing initramfs or
// a segment written before.
func (f *FileWriter) Append(ctx context.Context, r io.Reader) error {
	if err := f.pad(); err != nil {
		return err
	}
	if _, err := io.Copy(f.counted(), &contextReader{ctx, r}); err != nil {
		return fmt.Errorf("appending to an initramfs: %w", err)
	}
	return nil
}

func (f *FileWriter) pad() error {
	if _, err := f.counted().Write(make([]byte, -f.offset&3)); err != nil {
		return fmt.Errorf("padding an initramfs: %w", err)
	}
	return nil
}

func (f *FileWriter) counted() io.Writer { return &countingWriter{f.w, &f.offset} }

type countingWriter struct {
	w io.Writer
	n *int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	*c.n += int64(n)
	return n, err
}
