package embed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Config returns the configuration of the image called name.
func (s *Store) Config(name string) (*v1.ConfigFile, error) {
	im, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return im.parse()
}

// OpenFile opens a file of the image called name: that of the highest layer that
// has the path. What a layer takes away is not looked at. Where no layer has it,
// the error wraps [fs.ErrNotExist].
func (s *Store) OpenFile(ctx context.Context, name, path string) (io.ReadCloser, error) {
	im, err := s.find(name)
	if err != nil {
		return nil, err
	}
	for i := len(im.layers) - 1; i >= 0; i-- {
		files, err := s.filesOf(ctx, im.layers[i])
		if err != nil {
			return nil, err
		}
		r, err := files.Get(strings.TrimPrefix(path, "/"))
		if !errors.Is(err, fs.ErrNotExist) {
			return r, err
		}
	}
	return nil, fmt.Errorf("opening %q of the embedded image %q: %w", path, name, fs.ErrNotExist)
}
