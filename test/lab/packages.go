package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
)

// Packages returns the files of Debian packages and of all that they depend on,
// for arch.
func (l *Lab) Packages(ctx context.Context, arch string, packages ...string) ([]string, error) {
	packages = slices.Sorted(slices.Values(packages))
	sum := sha256.Sum256([]byte(strings.Join(packages, " ")))
	dir, list, err := l.debs(ctx, "packages-"+hex.EncodeToString(sum[:4]), arch, func(ctx context.Context, a apt) ([]string, error) {
		return a.closure(ctx, packages...)
	})
	if err != nil {
		return nil, err
	}
	var files []string
	for _, d := range list {
		files = append(files, filepath.Join(dir, d.File))
	}
	return files, nil
}

// Dir is the directory that the lab keeps things in; programs that work with it
// may have directories of their own there.
func (l *Lab) Dir() string { return l.dir }
