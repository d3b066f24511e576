package embed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
)

// Strip removes the store and its boot script from an initramfs, to make room
// for another, and reports whether there was one. Dockerd reads only one store,
// so a second one that is merely appended would mix with the first.
func Strip(tree *initramfs.Tree) bool {
	_, found := tree.Lookup(StorePath)
	tree.Remove(StorePath)
	tree.Remove(ScriptPath)
	return found
}

// Items returns all images of the store as items for another, with all their
// names and digests. Each passes through an archive in dir, which must be kept
// until the items have been used. The notes list what could not be preserved
// exactly: see [Store.Extract].
func (s *Store) Items(ctx context.Context, client *oci.Client, dir string) (items []Item, notes []string, err error) {
	for _, im := range s.Images() {
		it, said, err := s.item(ctx, client, dir, im)
		if err != nil {
			return nil, nil, fmt.Errorf("taking over the embedded image %s: %w", im.label(), err)
		}
		if len(it.Names)+len(it.Digests) > 0 {
			items = append(items, it)
		}
		notes = append(notes, said...)
	}
	return items, notes, nil
}

// label returns the image's name for messages.
func (e Embedded) label() string {
	return slices.Concat(e.Names, e.Digests, []string{e.ID.String()})[0]
}

func (s *Store) item(ctx context.Context, client *oci.Client, dir string, im Embedded) (Item, []string, error) {
	file := filepath.Join(dir, im.ID.Hex+".tar")
	w, err := os.Create(file)
	if err != nil {
		return Item{}, nil, err
	}
	x, err := s.Extract(ctx, im.ID.String(), w)
	if err := errors.Join(err, w.Close()); err != nil {
		return Item{}, nil, err
	}
	stored, err := s.find(im.ID.String())
	if err != nil {
		return Item{}, nil, err
	}
	platform, err := stored.platform()
	if err != nil {
		return Item{}, nil, err
	}
	image, err := client.Image(ctx, "docker-archive:"+file, platform)
	if err != nil {
		return Item{}, nil, err
	}
	image.Source = "the store's " + im.label()
	digests := im.Digests
	if x.ID != im.ID {
		digests = nil // they are the digests of the unchanged image
	}
	return Item{Image: image, Names: im.Names, Digests: digests}, x.Notes, nil
}

func (im *storedImage) platform() (v1.Platform, error) {
	config, err := im.parse()
	if err != nil {
		return v1.Platform{}, err
	}
	return v1.Platform{OS: config.OS, Architecture: config.Architecture}, nil
}
