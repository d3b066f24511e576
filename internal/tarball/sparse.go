package tarball

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"
)

// blockSource is an archive that remembers where the header in reading began.
type blockSource struct {
	*io.SectionReader
	header    int64 // the offset of the header, -1 until its first block is read
	beginning bool
	err       error // of the archive's reader, other than its end
}

// expectHeader says that the next member is about to be read. What is left of
// the present one is skipped first, by seeking and by reads of less than a
// block: the first whole block begins the next header, with the PAX and GNU
// extensions that stand before it.
func (s *blockSource) expectHeader() { s.header, s.beginning = -1, true }

// Read implements [io.Reader].
func (s *blockSource) Read(p []byte) (int, error) {
	const block = 512
	if s.beginning && len(p) == block {
		at, err := s.Seek(0, io.SeekCurrent)
		if err != nil {
			return 0, err
		}
		s.header, s.beginning = at, false
	}
	n, err := s.SectionReader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// IsSparse reports whether a file's bytes in the archive differ from its
// content: GNU tar's own format, and the three that it writes with PAX. Such a
// file may have any number of zeros that the archive does not have.
func IsSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// sparseOpener opens the sparse file whose header h was just read from s, by
// reading the header again: only archive/tar knows the map of its holes.
func sparseOpener(s *blockSource, h *tar.Header) func() (io.ReadCloser, error) {
	at, size := s.header, h.Size
	r, _, length := s.Outer()
	return func() (io.ReadCloser, error) {
		again := tar.NewReader(io.NewSectionReader(r, at, length-at))
		found, err := again.Next()
		if err != nil {
			return nil, fmt.Errorf("reading the header of the sparse file %q: %w", h.Name, err)
		}
		if found.Name != h.Name || found.Size != size {
			return nil, fmt.Errorf("reading the sparse file %q: %q lies in its place", h.Name, found.Name)
		}
		return io.NopCloser(again), nil
	}
}
