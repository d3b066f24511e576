package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"hookbuild/internal/tarball"
)

// decompress opens an archive member by its content. The name is used only to
// recognize a compression that is not supported.
func decompress(r io.Reader, name string) (io.ReadCloser, error) {
	switch suffix := strings.TrimPrefix(path.Ext(name), "."); suffix {
	case "tar", "gz", "xz", "zst":
		return tarball.Decompress(r)
	default:
		return nil, fmt.Errorf("%s is compressed with %q; only gz, xz, zst and uncompressed are supported: %w", name, suffix, errFormat)
	}
}

// readControl returns the fields of the file "control" in the control archive.
func readControl(r io.Reader, name string) (map[string]string, error) {
	plain, err := decompress(r, name)
	if err != nil {
		return nil, fmt.Errorf("opening its %s: %w", name, err)
	}
	defer plain.Close()
	files := tar.NewReader(io.LimitReader(plain, mostControl))
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("its %s holds no control file: %w", name, errFormat)
		}
		if err != nil {
			return nil, fmt.Errorf("reading its %s: %w", name, err)
		}
		if path.Clean(header.Name) != "control" {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(files, 1<<20))
		if err != nil {
			return nil, fmt.Errorf("reading its control file: %w", err)
		}
		return parseFields(text)
	}
}
