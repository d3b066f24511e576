// Package digest hashes files, readers and the inputs of derived content.
//
// Digests are written as registries write them, "sha256:" and 64 lower-case hex
// digits. Keys, which name content in a cache, are the hex digits alone.
package digest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"hookbuild/internal/ctxio"
)

// prefix names the only algorithm in use.
const prefix = "sha256:"

// OfBytes returns the digest of b.
func OfBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return prefix + hex.EncodeToString(sum[:])
}

// OfReader reads r to its end and returns the digest of what it read. It stops when
// ctx ends.
func OfReader(ctx context.Context, r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, ctxio.Reader(ctx, r)); err != nil {
		return "", err
	}
	return prefix + hex.EncodeToString(h.Sum(nil)), nil
}

// OfFile returns the digest of the file at path. It stops when ctx ends.
func OfFile(ctx context.Context, path string) (_ string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return OfReader(ctx, f)
}

// Hex returns a digest's hex digits, as checksum files have them.
func Hex(digest string) string { return strings.TrimPrefix(digest, prefix) }

// OfStrings returns the SHA-256 of texts in lower-case hex, without a prefix: the
// key of content that a few names and digests decide. No text may hold a zero
// byte.
func OfStrings(parts ...string) string {
	return Hex(OfBytes([]byte(strings.Join(parts, "\x00"))))
}

// Key returns the name under which content made from parts is cached: the
// SHA-256 of their JSON. Parts hold digests and options, never paths or times of
// this machine.
func Key(parts ...any) (string, error) {
	text, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("naming a cached result: %w", err)
	}
	return Hex(OfBytes(text)), nil
}
