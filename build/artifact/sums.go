package artifact

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// ChecksumsFile is the name of the file that lists the artifacts' SHA-512 sums
// as sha512sum prints them.
const ChecksumsFile = "checksums.txt"

// Sum reads an artifact to its end and returns its size and checksum.
func Sum(name string, r io.Reader) (File, error) {
	h := sha512.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return File{}, fmt.Errorf("computing the checksum of the artifact %q: %w", name, err)
	}
	return File{Name: name, Size: n, SHA512: hex.EncodeToString(h.Sum(nil))}, nil
}

// Checksums returns a function that writes checksums.txt, sorted by name.
func Checksums(artifacts []File) func(io.Writer) error {
	sorted := slices.SortedFunc(slices.Values(artifacts), func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return func(w io.Writer) error {
		for _, a := range sorted {
			if _, err := fmt.Fprintf(w, "%s  %s\n", a.SHA512, a.Name); err != nil {
				return err
			}
		}
		return nil
	}
}

// IsPlain reports whether name is a file name without directories.
func IsPlain(name string) bool { return name == filepath.Base(name) && name != ".." && name != "." }
