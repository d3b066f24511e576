package remaster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/initramfs"
)

// holds reports whether path is a regular file with exactly the bytes that fill
// writes and the mode that package atomicfile sets.
func holds(path string, fill func(*initramfs.FileWriter) error) (_ bool, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode() != atomicfile.Mode {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at the existing file: %w", err)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return false, nil // replacing it needs no permission to read it
	}
	if err != nil {
		return false, fmt.Errorf("reading the existing file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := initramfs.NewFileWriter(&comparer{there: f})
	if err := fill(out); errors.Is(err, errDiffers) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return out.Offset() == info.Size(), nil
}

var errDiffers = errors.New("the bytes differ")

// comparer is a writer that returns errDiffers if the bytes written differ from
// those that there reads.
type comparer struct {
	there  io.Reader
	buffer []byte
}

// Write implements [io.Writer].
func (c *comparer) Write(p []byte) (int, error) {
	if len(c.buffer) < len(p) {
		c.buffer = make([]byte, len(p))
	}
	same := c.buffer[:len(p)]
	n, err := io.ReadFull(c.there, same)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, fmt.Errorf("reading the existing file: %w", err)
	}
	if n < len(p) || !bytes.Equal(same, p) {
		return 0, errDiffers
	}
	return len(p), nil
}
