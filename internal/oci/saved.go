package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/internal/fault"
	"hookbuild/internal/tarball"
)

// savedManifest is the file of docker save that lists its images.
const savedManifest = "manifest.json"

// saved is an image in the manifest.json of docker save. The format is Docker's
// own; newer versions add an OCI layout.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (c *Client) dockerArchiveImage(ctx context.Context, src, rest string, p v1.Platform) (*Image, error) {
	file, ref := splitPath(rest)
	open, err := c.openSaved(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("opening image %q: %w", src, err)
	}
	s, raw, err := chooseSaved(open, ref, p)
	if err != nil {
		return nil, fmt.Errorf("opening image %q: %w", src, err)
	}
	return c.savedImage(src, raw, len(s.Layers), func(_ context.Context, i int) (io.ReadCloser, error) {
		r, err := open(s.Layers[i])
		return r, incomplete(err)
	})
}

// howToSave says what docker-archive: takes.
const howToSave = "docker-archive:FILE takes what `docker save IMAGE -o FILE` writes"

func (c *Client) openSaved(ctx context.Context, file string) (opener, error) {
	open, err := c.openArchive(ctx, file)
	if errors.Is(err, tarball.ErrNotTar) {
		return nil, fault.Invalidf("%w; %s", err, howToSave)
	}
	return open, err
}

// SavedNames returns the distinct names (RepoTags) in an archive, in order, of which
// src is docker-archive:FILE. With docker-archive:FILE:REF it returns the names of
// the archive that mean REF.
func (c *Client) SavedNames(ctx context.Context, src string) ([]string, error) {
	file, ref := splitPath(strings.TrimPrefix(src, DockerArchive))
	open, err := c.openSaved(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("opening image %q: %w", src, err)
	}
	all, err := readSaved(open)
	if err != nil {
		return nil, fmt.Errorf("opening image %q: %w", src, err)
	}
	if ref != "" {
		if all, err = chooseNamed(all, func(s saved) []string { return s.RepoTags }, ref); err != nil {
			return nil, fmt.Errorf("opening image %q: %w", src, err)
		}
	}
	var names []string
	for _, s := range all {
		for _, name := range s.RepoTags {
			if ref == "" || sameName(name, ref) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// DockerArchive is the prefix of sources that are the output of docker save.
const DockerArchive = "docker-archive:"

// chooseSaved finds an image of an archive, by name and then by platform, and
// returns its configuration too.
func chooseSaved(open opener, ref string, p v1.Platform) (saved, []byte, error) {
	all, err := readSaved(open)
	if err != nil {
		return saved{}, nil, err
	}
	found, err := chooseNamed(all, func(s saved) []string { return s.RepoTags }, ref)
	if err != nil {
		return saved{}, nil, err
	}
	var offered []string
	for _, s := range found {
		raw, err := readFile(open, s.Config, mostConfig)
		if err != nil {
			return saved{}, nil, incomplete(err)
		}
		config, err := parseConfig(raw, len(s.Layers))
		if err != nil {
			return saved{}, nil, fmt.Errorf("reading its configuration: %w", err)
		}
		is := v1.Platform{OS: config.OS, Architecture: config.Architecture}
		if len(found) == 1 || fits(&is, v1.Platform{OS: p.OS, Architecture: p.Architecture}) {
			return s, raw, nil
		}
		offered = append(offered, is.String())
	}
	slices.Sort(offered)
	return saved{}, nil, platformError{invalid("it is not available for %s, only for %s", p.String(), strings.Join(slices.Compact(offered), ", "))}
}

func readSaved(open opener) ([]saved, error) {
	raw, err := readFile(open, savedManifest, mostManifest)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := readFile(open, layoutIndex, mostManifest); err == nil {
			return nil, invalid("it is an OCI image layout, without the manifest.json of docker save; name it as oci-archive:FILE")
		}
		return nil, fault.Invalidf("it is not the output of docker save: %w; %s", err, howToSave)
	}
	if err != nil {
		return nil, err
	}
	var all []saved
	if err := unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("reading manifest.json: %w", err)
	}
	return all, nil
}

// savedImage returns an image with a configuration and a way to open its
// layers, whose digests are not known beforehand.
func (c *Client) savedImage(src string, raw []byte, layers int, open func(ctx context.Context, i int) (io.ReadCloser, error)) (*Image, error) {
	config, err := parseConfig(raw, layers)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of image %q: %w", src, err)
	}
	m := &Image{Source: src, ID: hashOf(raw), RawConfig: raw, Config: config}
	for i, diffID := range config.RootFS.DiffIDs {
		m.Layers = append(m.Layers, &Layer{
			DiffID: diffID, MediaType: types.DockerUncompressedLayer,
			client: c, image: src, number: i + 1, count: layers,
			open: func(ctx context.Context) (io.ReadCloser, v1.Descriptor, error) {
				r, err := open(ctx, i)
				return r, v1.Descriptor{}, err
			},
		})
	}
	return m, nil
}
