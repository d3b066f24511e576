package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is a regular file of an archive.
type entry struct {
	name    string
	mode    int64
	content []byte
}

// writeArchive writes the entries below the directory root as a gzipped tar:
// sorted by name, owned by root, all of one time.
func writeArchive(path, root string, entries []entry, stamp time.Time) error {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	if err := writeEntries(t, root+"/", entries, stamp); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("ending the archive: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("ending the archive: %w", err)
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}

// writeEntries adds the entries to a tar, each name after prefix.
func writeEntries(t *tar.Writer, prefix string, entries []entry, stamp time.Time) error {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for _, e := range entries {
		h := &tar.Header{Name: prefix + e.name, Mode: e.mode, Size: int64(len(e.content)), ModTime: stamp, Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("adding %s: %w", e.name, err)
		}
		if _, err := t.Write(e.content); err != nil {
			return fmt.Errorf("adding %s: %w", e.name, err)
		}
	}
	return nil
}

// writeSums writes the SHA-256 of the files in dir, in the form of sha256sum.
func writeSums(dir, name string, files []string) error {
	var sums strings.Builder
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			return fmt.Errorf("summing up the release: %w", err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), f)
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(sums.String()), 0o644)
}
