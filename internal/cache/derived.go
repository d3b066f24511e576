package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Origin tells where a result came from.
type Origin int

const (
	// Made says that the result was made by this call.
	Made Origin = iota
	// Kept says that the cache had the result.
	Kept
	// Shared says that the result came from the cache's [Remote].
	Shared
)

// Remote keeps results for several machines. Its faults cost only time: it
// reports them itself, and the result is then made here.
type Remote interface {
	// Get writes the result of this kind for key to w. If it has none that can be
	// used, the error wraps [fs.ErrNotExist], and what was written counts for
	// nothing; any other error ends the work.
	Get(ctx context.Context, kind, key string, w io.Writer) error
	// Has reports where a result is, and its size in bytes; "" means nowhere.
	Has(ctx context.Context, kind, key string) (place string, size int64, err error)
	// Offer tells of a result that the cache has.
	Offer(kind, key string, f *File, from Origin)
}

// WithRemote makes the cache look for results in r before it makes them, and
// offer to r those that it has.
func (c *Cache) WithRemote(r Remote) { c.remote = r }

// HasRemote reports whether the cache has a remote.
func (c *Cache) HasRemote() bool { return c.remote != nil }

// Shared returns the place that [Cache.Derived] would take a result from, and its
// size in bytes there. The place is "" if the cache has the result, or nobody has it.
func (c *Cache) Shared(ctx context.Context, kind, key string) (place string, size int64, err error) {
	if c.remote == nil {
		return "", 0, nil
	}
	if _, err := c.Note(kind, key); !errors.Is(err, fs.ErrNotExist) {
		return "", 0, err
	}
	return c.remote.Has(ctx, kind, key)
}

// Derived returns the content made from the inputs that key identifies: the
// lower case hex sha256 of all inputs, options and the version of the code that
// makes it. If neither the cache nor its remote has it, fill makes it. Equal
// contents of one kind are stored once.
func (c *Cache) Derived(ctx context.Context, kind, key string, fill func(io.Writer) error) (*File, Origin, error) {
	if !isSHA256(key) {
		return nil, Made, fmt.Errorf("using the cache %q: %q is not a key: it must be a sha256 in hex", c.dir, key)
	}
	path, err := c.path(kind, key)
	if err != nil {
		return nil, Made, err
	}
	unlock, err := c.lock(ctx, path)
	if err != nil {
		return nil, Made, err
	}
	defer unlock()
	from := Kept
	f, err := c.madeBefore(ctx, kind, key)
	if errors.Is(err, fs.ErrNotExist) && c.remote != nil {
		from = Shared
		f, err = c.make(ctx, kind, key, func(w io.Writer) error { return c.remote.Get(ctx, kind, key, w) })
	}
	if errors.Is(err, fs.ErrNotExist) {
		from = Made
		f, err = c.make(ctx, kind, key, fill)
	}
	if err == nil && c.remote != nil {
		c.remote.Offer(kind, key, f, from)
	}
	return f, from, err
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
