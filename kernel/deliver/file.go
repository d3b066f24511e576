package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/gzip"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/fault"
)

// archive is a file as docker save writes it, compressed by gzip if its name
// ends in .gz.
type archive string

func (a archive) String() string { return string(a) }

func (a archive) find(_ context.Context, ref string) (Producer, error) {
	tag, err := name.NewTag(ref)
	if err != nil {
		return nil, fault.Usagef("reading the image name %q: %w", ref, err)
	}
	manifest, err := tarball.LoadManifest(a.open)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fault.Invalidf("looking for the kernel image %q in %q: %w; remove the file or export to another", ref, a, err)
	case !slices.ContainsFunc(manifest, func(d tarball.Descriptor) bool { return slices.ContainsFunc(d.RepoTags, names(tag)) }):
		return nil, nil
	}
	return func(context.Context) (*Made, error) {
		image, err := tarball.Image(a.open, &tag)
		if err != nil {
			return nil, fault.Invalidf("reading the kernel image %q in %q: %w", ref, a, err)
		}
		return &Made{image, func() error { return nil }}, nil
	}, nil
}

// names returns a function that reports whether a text is the tag, in any of
// its spellings.
func names(tag name.Tag) func(string) bool {
	return func(text string) bool {
		other, err := name.NewTag(text)
		return err == nil && other.Name() == tag.Name()
	}
}

// open opens the archive for reading uncompressed.
func (a archive) open() (io.ReadCloser, error) {
	f, err := os.Open(string(a))
	if err != nil || !strings.HasSuffix(string(a), ".gz") {
		return f, err
	}
	plain, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, f}, nil
}

// put writes a file that appears complete or not at all.
func (a archive) put(ctx context.Context, ref string, image v1.Image) error {
	if err := a.write(ref, image); err != nil {
		return fmt.Errorf("exporting the kernel image %q to %q: %w", ref, a, err)
	}
	return ctx.Err()
}

func (a archive) write(ref string, image v1.Image) (err error) {
	dir := filepath.Dir(string(a))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return atomicfile.Write(string(a), atomicfile.Mode, func(w io.Writer) error {
		if !strings.HasSuffix(string(a), ".gz") {
			return writeArchive(w, ref, image)
		}
		zw := gzip.NewWriter(w)
		return errors.Join(writeArchive(zw, ref, image), zw.Close())
	})
}

// writeArchive writes the image as docker save does.
func writeArchive(w io.Writer, ref string, image v1.Image) error {
	parsed, err := parse(ref)
	if err != nil {
		return err
	}
	return tarball.Write(parsed, image, w)
}

func parse(ref string) (name.Reference, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, fault.Usagef("reading the image name %q: %w", ref, err)
	}
	return parsed, nil
}

// directory is an OCI layout, which holds images by name.
type directory string

func (d directory) String() string { return string(d) }

// refName is the annotation for an image's name in a layout.
const refName = "org.opencontainers.image.ref.name"

func named(ref string) func(v1.Descriptor) bool {
	return func(d v1.Descriptor) bool { return d.Annotations[refName] == ref }
}

func (d directory) find(_ context.Context, ref string) (Producer, error) {
	where, err := layout.FromPath(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list *v1.IndexManifest
	var index v1.ImageIndex
	if err == nil {
		index, err = where.ImageIndex()
	}
	if err == nil {
		list, err = index.IndexManifest()
	}
	if err != nil {
		return nil, fault.Invalidf("looking for the kernel image %q in the OCI layout %q: %w", ref, d, err)
	}
	for _, m := range list.Manifests {
		if !named(ref)(m) {
			continue
		}
		return func(context.Context) (*Made, error) {
			image, err := where.Image(m.Digest)
			if err != nil {
				return nil, fault.Invalidf("reading the kernel image %q in the OCI layout %q: %w", ref, d, err)
			}
			return &Made{image, func() error { return nil }}, nil
		}, nil
	}
	return nil, nil
}

// put adds the image to the layout, instead of any with the same name.
func (d directory) put(ctx context.Context, ref string, image v1.Image) error {
	where, err := layout.FromPath(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		where, err = layout.Write(string(d), empty.Index)
	}
	if err == nil {
		err = where.ReplaceImage(image, named(ref), layout.WithAnnotations(map[string]string{refName: ref}))
	}
	if err != nil {
		return fmt.Errorf("exporting the kernel image %q to %q: %w", ref, d, err)
	}
	return ctx.Err()
}

var (
	_ place = archive("")
	_ place = directory("")
)
