// Package cache keeps files by their content under one directory: what was
// fetched ([Cache.Blob], [Cache.PutBlob]), what was made from known inputs
// ([Cache.Derived]) and small facts such as the digest behind a tag
// ([Cache.Note]).
//
// Nothing is trusted: a file's hash is checked while it is written and before
// it is first read by a process; a damaged one is thrown away with a warning
// and counts as absent. A file appears under its name complete or not at all
// (a temporary file beside it, rename), so any number of processes may share the
// directory without asking each other. Nothing waits for the disk: what a power
// failure tears counts as damaged.
//
// The directory holds DIR/KIND/sha256-HEX (contents) and DIR/KIND/note-HEX
// (notes, named by the hash of their key). Everything in it may be deleted at
// any time; [Cache.Prune] deletes what was not used for long.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/progress"
)

// Cache is a directory of verified files. It is safe for concurrent use.
type Cache struct {
	dir  string
	sink progress.Sink

	mu sync.Mutex
	// locks holds a token for every file that this process looked at; who has
	// it may check or write the file.
	locks map[string]chan struct{}
	// verified holds the state in which a file's hash was found right.
	verified map[string]fileState
}

// Open gives the cache in dir, which is made if it is missing. Temporary files
// that interrupted processes left there are removed. S may be nil.
func Open(dir string, s progress.Sink) (*Cache, error) {
	c := &Cache{dir: dir, sink: progress.Or(s), locks: map[string]chan struct{}{}, verified: map[string]fileState{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the cache directory %q: %w; name another place with --cache-dir", dir, err)
	}
	if err := c.sweep(); err != nil {
		return nil, fmt.Errorf("cleaning the cache directory %q: %w", dir, err)
	}
	return c, nil
}

// Dir is the directory of the cache.
func (c *Cache) Dir() string { return c.dir }

// path gives a file's place, after making sure that kind and name are single
// path elements.
func (c *Cache) path(kind, name string) (string, error) {
	if kind == "" || strings.HasPrefix(kind, ".") || filepath.Base(kind) != kind {
		return "", fmt.Errorf("using the cache %q: %q is not a kind of content", c.dir, kind)
	}
	return filepath.Join(c.dir, kind, name), nil
}

func (c *Cache) blobPath(kind string, h v1.Hash) (string, error) {
	if h.Algorithm != "sha256" || !isSHA256(h.Hex) {
		return "", fmt.Errorf("using the cache %q: %q is not a sha256 digest, the only kind that is supported", c.dir, h)
	}
	return c.path(kind, "sha256-"+h.Hex)
}

func isSHA256(hex string) bool {
	return len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// lock waits for the file's token and gives the function that returns it.
func (c *Cache) lock(ctx context.Context, path string) (unlock func(), err error) {
	c.mu.Lock()
	token, ok := c.locks[path]
	if !ok {
		token = make(chan struct{}, 1)
		c.locks[path] = token
	}
	c.mu.Unlock()
	select {
	case token <- struct{}{}:
		return func() { <-token }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// explain adds the remedy to the errors of a cache directory that cannot take
// more.
func (c *Cache) explain(err error) error {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) {
			return fmt.Errorf("writing to the cache directory %q: %w: free some space there or name another place with --cache-dir", c.dir, full)
		}
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("writing to the cache directory %q: %w; make it writable or name another place with --cache-dir", c.dir, err)
	}
	return err
}
