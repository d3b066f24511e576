package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/ctxio"
	"hookbuild/internal/progress"
)

// File is a verified file of the cache, open for reading. It stays readable if
// the cache removes it in the meantime. A File that is no longer referenced
// closes itself.
type File struct {
	f    *os.File
	size int64
}

// ReadAt implements [io.ReaderAt].
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Size returns the file's length in bytes.
func (f *File) Size() int64 { return f.size }

// Path returns the path of the file.
func (f *File) Path() string { return f.f.Name() }

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// fileState distinguishes a verified file from one that changed since.
type fileState struct {
	size    int64
	modTime time.Time
}

// Blob opens the file of this kind with the hash h (sha256). If it is absent,
// or was damaged and removed, the error wraps [fs.ErrNotExist].
func (c *Cache) Blob(ctx context.Context, kind string, h v1.Hash) (*File, error) {
	path, err := c.blobPath(kind, h)
	if err != nil {
		return nil, err
	}
	unlock, err := c.lock(ctx, path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return c.open(ctx, path, h)
}

// open opens the file at path and checks its hash, unless this process has
// already checked it in its present state. The caller holds the file's lock.
func (c *Cache) open(ctx context.Context, path string, h v1.Hash) (*File, error) {
	f, err := c.openRegular(path)
	if err != nil {
		return nil, err
	}
	file, err := c.verify(ctx, f, h)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file, nil
}

func (c *Cache) verify(ctx context.Context, f *os.File, h v1.Hash) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	markUsed(f.Name(), info)
	state := fileState{info.Size(), info.ModTime()}
	if c.isVerified(f.Name(), state) {
		c.countReuse(f.Name(), state.size)
		return &File{f, state.size}, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, ctxio.Reader(ctx, f)); err != nil {
		return nil, fmt.Errorf("checking %q: %w", f.Name(), err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != h.Hex {
		return nil, c.discard(f.Name())
	}
	c.setVerified(f.Name(), state)
	c.countReuse(f.Name(), state.size)
	return &File{f, state.size}, nil
}

// openRegular opens a file of the cache. Anything else under its name, such as
// a directory or a FIFO without a writer, is removed.
func (c *Cache) openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket
		return nil, c.discard(path)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !info.Mode().IsRegular() {
		if err := f.Close(); err != nil {
			return nil, err
		}
		return nil, c.discard(path)
	}
	return f, nil
}

// discard removes a damaged file, or whatever is in its place, with a warning.
func (c *Cache) discard(path string) error {
	progress.Warnf(c.sink, "the cached file %q is damaged; it is removed, and made again when it is needed", path)
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("removing the damaged file %q: %w", path, err)
	}
	return &discardedError{path}
}

// discardedError says that a file was damaged and has been removed.
type discardedError struct{ path string }

func (e *discardedError) Error() string { return fmt.Sprintf("reading %q: it was damaged", e.path) }

// Unwrap makes the file count as absent.
func (e *discardedError) Unwrap() error { return fs.ErrNotExist }

// checkBlob hashes the file at path, even if this process already did.
func (c *Cache) checkBlob(ctx context.Context, path, hex string) error {
	unlock, err := c.lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	c.mu.Lock()
	delete(c.verified, path)
	c.mu.Unlock()
	f, err := c.open(ctx, path, v1.Hash{Algorithm: "sha256", Hex: hex})
	if err != nil {
		return err
	}
	return f.Close()
}

func (c *Cache) isVerified(path string, s fileState) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, ok := c.verified[path]
	return ok && was.size == s.size && was.modTime.Equal(s.modTime)
}

func (c *Cache) countReuse(path string, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ours := c.added[path]; !ours {
		c.reused[path] = size
	}
}

// Use counts files and their bytes.
type Use struct {
	Files int
	Bytes int64
}

// Uses returns what this process took from the cache, and what it added to it.
func (c *Cache) Uses() (reused, added Use) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return useOf(c.reused), useOf(c.added)
}

func useOf(sizes map[string]int64) Use {
	u := Use{Files: len(sizes)}
	for _, size := range sizes {
		u.Bytes += size
	}
	return u
}

func (c *Cache) setVerified(path string, s fileState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified[path] = s
}
