package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/internal/tarball"
)

// opener opens a file of a directory or archive by its slash-separated path.
type opener func(name string) (io.ReadCloser, error)

// layoutSource reads an OCI image layout (OCI image specification, "Image
// Layout").
type layoutSource struct{ open opener }

// layoutIndex is the file of a layout that lists its images.
const layoutIndex = "index.json"

func (c *Client) layoutImage(ctx context.Context, src, rest string, p v1.Platform) (*Image, error) {
	dir, ref := splitPath(rest)
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fault.Invalidf("opening image %q: %q is not a directory; name an archive as oci-archive:FILE, or docker-archive:FILE if docker save wrote it", src, dir)
	}
	open := func(name string) (io.ReadCloser, error) { return os.OpenInRoot(dir, name) }
	return c.imageOfLayout(ctx, src, open, ref, p)
}

func (c *Client) layoutArchiveImage(ctx context.Context, src, rest string, p v1.Platform) (*Image, error) {
	file, ref := splitPath(rest)
	open, err := c.openArchive(ctx, file)
	if errors.Is(err, tarball.ErrNotTar) {
		err = fault.Invalidf("%w; oci-archive:FILE takes what `docker buildx build --output type=oci,dest=FILE` or skopeo writes", err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening image %q: %w", src, err)
	}
	return c.imageOfLayout(ctx, src, open, ref, p)
}

func (c *Client) imageOfLayout(ctx context.Context, src string, open opener, ref string, p v1.Platform) (*Image, error) {
	root, err := layoutRoot(open, ref, p)
	if errors.Is(err, errSaved) {
		err = fault.Invalidf("%w; name it as docker-archive:FILE", err)
		if strings.HasPrefix(src, "oci:") { // a directory, which docker-archive does not take
			err = fault.Invalidf("%w, unpacked; name the archive that docker save wrote as docker-archive:FILE", errSaved)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening image %q: %w", src, err)
	}
	return c.load(ctx, src, &layoutSource{open}, root, p)
}

// errSaved is the error about the output of docker save in the place of a layout.
var errSaved = errors.New("it is not an OCI image layout but the output of docker save")

// layoutRoot chooses among the manifests in a layout's index.json: by name, and
// then by platform.
func layoutRoot(open opener, ref string, p v1.Platform) (v1.Hash, error) {
	raw, err := readFile(open, layoutIndex, mostManifest)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := readFile(open, savedManifest, mostManifest); err == nil {
			return v1.Hash{}, errSaved
		}
		return v1.Hash{}, fault.Invalidf("it is not an OCI image layout: %w", err)
	}
	if err != nil {
		return v1.Hash{}, err
	}
	index, err := parseManifest(raw)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("reading index.json: %w", err)
	}
	found, err := chooseNamed(index.Manifests, layoutName, ref)
	if err != nil {
		return v1.Hash{}, err
	}
	if len(found) == 1 {
		return found[0].Digest, nil
	}
	d, err := choose(found, p)
	return d.Digest, err
}

// layoutName returns the name of an image in a layout. Skopeo, BuildKit and the
// specification write a tag or a whole reference there.
func layoutName(d v1.Descriptor) []string {
	const containerd, spec = "io.containerd.image.name", "org.opencontainers.image.ref.name"
	return slices.DeleteFunc([]string{d.Annotations[containerd], d.Annotations[spec]}, func(s string) bool { return s == "" })
}

// chooseNamed returns the images named ref, or, if ref is empty, all images,
// which must then have the same name.
func chooseNamed[T any](all []T, namesOf func(T) []string, ref string) ([]T, error) {
	var found []T
	var offered []string
	distinct := map[string]bool{}
	for _, image := range all {
		names := namesOf(image)
		offered = append(offered, names...)
		distinct[strings.Join(names, " ")] = true
		if ref == "" || slices.ContainsFunc(names, func(n string) bool { return sameName(n, ref) }) {
			found = append(found, image)
		}
	}
	slices.Sort(offered)
	list := cmp.Or(strings.Join(slices.Compact(offered), ", "), "images without names")
	switch {
	case len(found) == 0:
		return nil, invalid("it does not contain %q, only %s", ref, list)
	case ref == "" && len(distinct) > 1:
		return nil, invalid("it contains several images; add one of their names after a colon: %s", list)
	}
	return found, nil
}

// sameName compares image names, in full or as written.
func sameName(a, b string) bool {
	if a == b {
		return true
	}
	full, err := name.ParseReference(a)
	if err != nil {
		return false
	}
	other, err := name.ParseReference(b)
	return err == nil && full.Name() == other.Name()
}

// splitPath separates a path from the name after a colon. Both may contain
// colons; the path is the shortest part that exists or that permissions hide.
func splitPath(text string) (path, rest string) {
	for i := range len(text) {
		if text[i] != ':' {
			continue
		}
		if _, err := os.Stat(text[:i]); err == nil || errors.Is(err, fs.ErrPermission) {
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

func (s *layoutSource) manifest(_ context.Context, h v1.Hash) ([]byte, error) {
	return s.verified(h, mostManifest)
}

func (s *layoutSource) config(_ context.Context, d v1.Descriptor) ([]byte, error) {
	return s.verified(d.Digest, mostConfig)
}

func (s *layoutSource) verified(h v1.Hash, most int64) ([]byte, error) {
	r, err := s.open(blobPath(h))
	if err != nil {
		return nil, incomplete(err)
	}
	raw, err := readSmall(r, h, most)
	return raw, closing(err, r)
}

func (s *layoutSource) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	r, err := s.open(blobPath(d.Digest))
	return r, incomplete(err)
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// incomplete marks the error about a file that an archive or layout should
// contain.
func incomplete(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Invalidf("a part of it is missing: %w", err)
	}
	return err
}

func readFile(open opener, name string, most int64) ([]byte, error) {
	r, err := open(name)
	if err != nil {
		return nil, err
	}
	raw, err := readBounded(r, most)
	return raw, closing(err, r)
}

var _ source = (*layoutSource)(nil)
