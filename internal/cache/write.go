package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// DigestError reports content that does not have the expected digest.
type DigestError struct {
	Want, Got v1.Hash
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("the content has the digest %s instead of %s", e.Got, e.Want)
}

// PutBlob returns the file of this kind with the hash want. If the cache does
// not have it, fill writes it; if the content has another hash, PutBlob returns
// a [*DigestError] and leaves nothing behind, and likewise if fill fails. Fill
// runs once even if several goroutines ask for the same file; its writes may be
// buffered.
func (c *Cache) PutBlob(ctx context.Context, kind string, want v1.Hash, fill func(io.Writer) error) (*File, error) {
	path, err := c.blobPath(kind, want)
	if err != nil {
		return nil, err
	}
	unlock, err := c.lock(ctx, path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if f, err := c.open(ctx, path, want); !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	return c.write(ctx, kind, fill, func(got v1.Hash) (string, error) {
		if got != want {
			return "", &DigestError{Want: want, Got: got}
		}
		return path, nil
	})
}

// Scratch returns a file, written by fill, that is private to this process and
// disappears when it is closed. It is for input that arrives as a stream but
// must be read in random order.
func (c *Cache) Scratch(ctx context.Context, fill func(io.Writer) error) (*File, error) {
	t, err := c.newTemp("scratch")
	if err != nil {
		return nil, c.explain(err)
	}
	_, err = t.fill(ctx, fill)
	if err := errors.Join(err, os.Remove(t.f.Name())); err != nil {
		return nil, c.explain(errors.Join(err, t.f.Close()))
	}
	return t.file()
}

// write stores what fill writes under the path that name returns for its hash.
func (c *Cache) write(ctx context.Context, kind string, fill func(io.Writer) error, name func(v1.Hash) (string, error)) (*File, error) {
	t, err := c.newTemp(kind)
	if err != nil {
		return nil, c.explain(err)
	}
	got, err := t.fill(ctx, fill)
	if err != nil {
		return nil, c.explain(t.discard(err))
	}
	path, err := name(got)
	if err != nil {
		return nil, t.discard(err)
	}
	err = os.Rename(t.f.Name(), path)
	if info, statErr := os.Lstat(path); err != nil && statErr == nil && info.IsDir() { // not a file of the cache
		if err = c.discard(path); errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(t.f.Name(), path)
		}
	}
	if err != nil {
		return nil, c.explain(t.discard(err))
	}
	file, err := t.reopen(path)
	if err != nil {
		return nil, err
	}
	return c.remember(file)
}

// remember records that a file just written needs no check.
func (c *Cache) remember(file *File) (*File, error) {
	info, err := file.f.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	c.setVerified(file.Path(), fileState{info.Size(), info.ModTime()})
	c.mu.Lock()
	c.added[file.Path()] = info.Size()
	c.mu.Unlock()
	return file, nil
}

// temp is a file that has no final name yet. Its lock tells other processes
// that it is still being written.
type temp struct{ f *os.File }

func (c *Cache) newTemp(kind string) (*temp, error) {
	dir, err := c.path(kind, "")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return nil, err
	}
	tryLock(f) // if this fails, sweep cannot lock the file either and leaves it alone
	return &temp{f}, nil
}

// fill writes the content and returns its hash.
func (t *temp) fill(ctx context.Context, fill func(io.Writer) error) (v1.Hash, error) {
	sum := sha256.New()
	w := newAsyncWriter(ctx, io.MultiWriter(t.f, sum))
	err := fill(w)
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return v1.Hash{}, err
	}
	return hashOf(sum), ctx.Err()
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// reopen opens the published file read-only.
func (t *temp) reopen(path string) (*File, error) {
	if err := t.f.Close(); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return (&temp{f}).file()
}

func (t *temp) file() (*File, error) {
	info, err := t.f.Stat()
	if err != nil {
		return nil, errors.Join(err, t.f.Close())
	}
	return &File{t.f, info.Size()}, nil
}

// discard removes the file and returns err, joined with any error of the
// removal.
func (t *temp) discard(err error) error {
	return errors.Join(err, os.Remove(t.f.Name()), t.f.Close())
}
