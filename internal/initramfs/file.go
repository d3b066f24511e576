package initramfs

import (
	"context"
	"fmt"
	"io"
)

// FileWriter writes an initramfs file: a sequence of segments, each at a
// multiple of 4 bytes, where the kernel looks for an uncompressed one.
type FileWriter struct {
	w      io.Writer
	offset int64
}

// NewFileWriter returns a writer of an initramfs file to w.
func NewFileWriter(w io.Writer) *FileWriter { return &FileWriter{w: w} }

// Offset returns the number of bytes written so far.
func (f *FileWriter) Offset() int64 { return f.offset }

// WriteSegment appends t as a segment; see [WriteSegment].
func (f *FileWriter) WriteSegment(ctx context.Context, t *Tree, o SegmentOptions) error {
	if err := f.pad(); err != nil {
		return err
	}
	return WriteSegment(ctx, f.counted(), t, o)
}

// Append copies the segments in r unchanged: an existing initramfs or a segment
// written earlier.
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
