package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Derived returns the content made from the inputs that key identifies: the
// lower case hex sha256 of all inputs, options and the version of the code that
// makes it. If the cache does not have it, fill makes it; the result reports
// whether the cache had it. Equal contents of one kind are stored once.
func (c *Cache) Derived(ctx context.Context, kind, key string, fill func(io.Writer) error) (*File, bool, error) {
	if !isSHA256(key) {
		return nil, false, fmt.Errorf("using the cache %q: %q is not a key: it must be a sha256 in hex", c.dir, key)
	}
	path, err := c.path(kind, key)
	if err != nil {
		return nil, false, err
	}
	unlock, err := c.lock(ctx, path)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	if f, err := c.madeBefore(ctx, kind, key); !errors.Is(err, fs.ErrNotExist) {
		return f, err == nil, err
	}
	f, err := c.make(ctx, kind, key, fill)
	return f, false, err
}

func (c *Cache) madeBefore(ctx context.Context, kind, key string) (*File, error) {
	digest, err := c.Note(kind, key)
	if err != nil {
		return nil, err
	}
	h, err := v1.NewHash(digest)
	if err != nil {
		return nil, fmt.Errorf("reading the note of %q: %w", key, err)
	}
	return c.Blob(ctx, kind, h)
}

func (c *Cache) make(ctx context.Context, kind, key string, fill func(io.Writer) error) (*File, error) {
	var made v1.Hash
	f, err := c.write(ctx, kind, fill, func(got v1.Hash) (string, error) {
		made = got
		return c.blobPath(kind, got)
	})
	if err != nil {
		return nil, err
	}
	if err := c.SetNote(kind, key, made.String()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
