// Package cache keeps files by their content under one directory: downloads
// ([Cache.Blob], [Cache.PutBlob]), results computed from known inputs
// ([Cache.Derived]) and small facts such as the digest behind a tag
// ([Cache.Note]).
//
// Nothing is trusted: a file's hash is checked while it is written and before a
// process first reads it; a damaged file is removed with a warning and counts
// as absent. A file appears under its name complete or not at all (it is
// written to a temporary file in the same directory and renamed), so any number
// of processes may share the directory without coordination. Files are not
// synced to disk: one that a power failure truncates counts as damaged.
//
// The directory holds DIR/KIND/sha256-HEX (contents) and DIR/KIND/note-HEX
// (notes, named by the hash of their key). Everything in it may be deleted at
// any time; [Cache.Prune] deletes what has not been used for a while.
//
// A [Remote] shares results among machines: [Cache.Derived] asks it before it
// makes a result.
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

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/progress"
)

// Cache is a directory of verified files. It is safe for concurrent use.
type Cache struct {
	dir    string
	sink   progress.Sink
	remote Remote // nil for none

	mu sync.Mutex
	// locks holds a token for every file that this process has looked at; only
	// the holder of the token may check or write the file.
	locks map[string]chan struct{}
	// verified holds the state of each file at the time its hash was verified.
	verified map[string]fileState
	// added and reused hold the sizes of the files that this process wrote, and
	// of those that it found.
	added, reused map[string]int64
}

// Open opens the cache in dir, creating it if necessary. It removes temporary
// files that interrupted processes left there. S may be nil.
func Open(dir string, s progress.Sink) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the cache directory %q: %w; choose another place with --cache-dir", dir, atomicfile.WithOwner(dir, err))
	}
	return OpenExisting(dir, s)
}

// OpenExisting opens the cache in dir as [Open] does, without creating it: a
// directory that does not exist is a cache without files.
func OpenExisting(dir string, s progress.Sink) (*Cache, error) {
	c := &Cache{dir: dir, sink: progress.Or(s), locks: map[string]chan struct{}{}, verified: map[string]fileState{}, added: map[string]int64{}, reused: map[string]int64{}}
	if err := c.sweep(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, c.explain(err)
	}
	return c, nil
}

// Dir returns the directory of the cache.
func (c *Cache) Dir() string { return c.dir }

// path returns the path of a file. It ensures that kind and name are single
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

// lock waits for the file's token and returns a function that releases it.
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

// explain adds the remedy to errors of a cache directory that is full or not
// writable.
func (c *Cache) explain(err error) error {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) {
			return fmt.Errorf("writing to the cache directory %q: %w: free some space there or choose another place with --cache-dir", c.dir, full)
		}
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("writing to the cache directory %q: %w; make it writable or choose another place with --cache-dir", c.dir, atomicfile.WithOwner(c.dir, err))
	}
	return err
}
