package serve

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"

	"hookbuild/internal/bounded"
	"hookbuild/internal/ctxio"
)

// Damaged returns the names of the files in dir that can be read and do not have their
// checksum in checksums.txt. Without a readable list there are none.
func Damaged(ctx context.Context, dir string) []string {
	text, err := bounded.ReadFile(filepath.Join(dir, checksums), mostChecksums)
	if err != nil {
		return nil
	}
	files, err := parseChecksums(string(text))
	if err != nil {
		return nil
	}
	var damaged []string
	for _, f := range files {
		if sum, err := sumOf(ctx, filepath.Join(dir, f.name)); err == nil && sum != f.sum {
			damaged = append(damaged, f.name)
		}
	}
	return damaged
}

// sumOf returns the SHA-512 checksum of a file in hex.
func sumOf(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // only read
	hash := sha512.New()
	if _, err := io.Copy(hash, ctxio.Reader(ctx, f)); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
