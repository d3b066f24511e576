package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// mostNote bounds a note file. A repository's list of tags is the longest.
const mostNote = 16 << 20

// note is the second line of a note file; the first is its sha256 in hex.
type note struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Note returns the value last stored under key. If there is no such note, or it
// was damaged and removed, the error wraps [fs.ErrNotExist].
func (c *Cache) Note(kind, key string) (string, error) {
	path, err := c.notePath(kind, key)
	if err != nil {
		return "", err
	}
	n, err := c.readNote(path)
	if err != nil {
		return "", err
	}
	if n.Key != key {
		return "", c.discard(path)
	}
	if info, err := os.Lstat(path); err == nil { // else another process has removed it
		markUsed(path, info)
	}
	return n.Value, nil
}

// Keys returns the keys that have notes of a kind, in no order. It skips damaged
// notes.
func (c *Cache) Keys(kind string) ([]string, error) {
	pattern, err := c.path(kind, "note-*")
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("listing the cache %q: %w", c.dir, err)
	}
	var keys []string
	for _, path := range paths {
		if n, err := c.readNote(path); err == nil {
			keys = append(keys, n.Key)
		}
	}
	return keys, nil
}

// readNote reads the note at path; a damaged one is discarded.
func (c *Cache) readNote(path string) (note, error) {
	f, err := c.openRegular(path)
	if err != nil {
		return note{}, err
	}
	data, err := io.ReadAll(io.LimitReader(f, mostNote))
	if err := errors.Join(err, f.Close()); err != nil {
		return note{}, fmt.Errorf("reading %q: %w", path, err)
	}
	n, ok := parseNote(string(data))
	if !ok {
		return note{}, c.discard(path)
	}
	return n, nil
}

// checkNote reports whether the note at path is complete and matches its name,
// as [Cache.Note] requires.
func (c *Cache) checkNote(path string) error {
	n, err := c.readNote(path)
	if err != nil {
		return err
	}
	if filepath.Base(path) != "note-"+sumOf(n.Key) {
		return c.discard(path)
	}
	return nil
}

// SetNote stores value under key, replacing any earlier value. Notes are for
// facts that may change at their source, such as the digest behind a tag.
func (c *Cache) SetNote(kind, key, value string) error {
	path, err := c.notePath(kind, key)
	if err != nil {
		return err
	}
	if was, err := c.Note(kind, key); err == nil && was == value {
		return nil
	}
	body, err := json.Marshal(note{key, value})
	if err != nil {
		return fmt.Errorf("keeping a note of %q: %w", key, err)
	}
	f, err := c.write(context.Background(), kind, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\n%s\n", sumOf(string(body)), body)
		return err
	}, func(v1.Hash) (string, error) { return path, nil })
	if err != nil {
		return err
	}
	return f.Close()
}

func (c *Cache) notePath(kind, key string) (string, error) {
	return c.path(kind, "note-"+sumOf(key))
}

func parseNote(text string) (note, bool) {
	sum, body, _ := strings.Cut(text, "\n")
	body = strings.TrimSuffix(body, "\n")
	var n note
	if sumOf(body) != sum || json.Unmarshal([]byte(body), &n) != nil {
		return note{}, false
	}
	return n, true
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
