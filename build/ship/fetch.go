package ship

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/build/artifact"
	"hookbuild/internal/cache"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
)

// Fetched is a HookOS of a registry, whose files are read from the cache.
type Fetched struct {
	Digest string // of what the reference names
	// Files are those that a pull would write, also manifest.json, checksums.txt and
	// what is attached.
	Files  []FetchedFile
	layers []*cache.File
}

// FetchedFile is a file of a HookOS.
type FetchedFile struct {
	artifact.File
	io.ReaderAt
}

// Fetch fetches what the HookOS that ref names has and the cache has not. Every layer
// is compared with its digest, and every file with its checksum. Where the registry does
// not tell what is attached, that is left out with a warning.
func Fetch(ctx context.Context, ref string, o PullOptions) (f *Fetched, err error) {
	found, err := o.Client.Copy(ctx, ref, v1.Hash{})
	if err != nil {
		return nil, err
	}
	f = &Fetched{Digest: found.Root.Digest.String()}
	defer func() {
		if err != nil {
			err = fmt.Errorf("fetching the HookOS %q: %w", ref, errors.Join(err, f.Close()))
		}
	}()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return f, fault.Mark(err, fault.Invalid)
	}
	wanted, err := images(ctx, found, o.Arch)
	if err != nil {
		return f, err
	}
	whole := artifact.Manifest{Schema: 1}
	for _, h := range wanted {
		if _, err := manifest(ctx, found, h); err != nil {
			return f, err
		}
		image, err := o.Client.Image(ctx, parsed.Context().Digest(h.String()).String(), v1.Platform{})
		if err != nil {
			return f, err
		}
		if err := f.image(ctx, image, &whole); err != nil {
			return f, err
		}
	}
	sortBuilds(whole)
	papers, err := attached(ctx, ref, found.Root.Digest, whole, o)
	if fault.KindOf(err) == fault.Outside && ctx.Err() == nil {
		// Machines boot without them.
		progress.Warnf(o.Progress, "%s and %s are left out: %v", artifact.SBOMFile, artifact.ProvenanceFile, err)
	} else if err != nil {
		return f, err
	}
	var about []member
	for _, one := range papers {
		about = append(about, memory(one.name, one.content))
	}
	listings, err := listings(whole, about)
	if err != nil {
		return f, err
	}
	for _, l := range listings {
		if err := f.listing(l); err != nil {
			return f, err
		}
	}
	return f, nil
}

// image adds the files of an image, and its builds to whole.
func (f *Fetched) image(ctx context.Context, image *oci.Image, whole *artifact.Manifest) error {
	if err := image.Fetch(ctx); err != nil {
		return err
	}
	var left map[string]artifact.File
	for i, l := range image.Layers {
		layer, err := l.Tar(ctx)
		if err != nil {
			return err
		}
		f.layers = append(f.layers, layer)
		if i > 0 {
			if err := f.layer(ctx, layer, l.DiffID, left); err != nil {
				return err
			}
			continue
		}
		part, err := readListings(io.NewSectionReader(layer, 0, layer.Size()), l.DiffID)
		if err != nil {
			return err
		}
		whole.Builds = append(whole.Builds, part.Builds...)
		if _, err := records(*whole); err != nil { // also across architectures
			return err
		}
		if left, err = records(part); err != nil {
			return err
		}
	}
	return allFound(left)
}

// layer adds the files of a layer, whose archive has their content as it is.
func (f *Fetched) layer(ctx context.Context, layer *cache.File, digest v1.Hash, left map[string]artifact.File) error {
	archive := io.NewSectionReader(layer, 0, layer.Size())
	return walk(archive, digest, func(h *tar.Header, _ io.Reader) error {
		want, err := takeListed(h, left)
		if err != nil {
			return err
		}
		for _, other := range f.Files {
			if want.Link != "" && other.Name == want.Link {
				f.Files = append(f.Files, FetchedFile{want, other.ReaderAt})
				return nil
			}
		}
		if want.Link != "" {
			return fault.Invalidf("%q is a link to %q, which comes later or not at all; push it again", h.Name, want.Link)
		}
		start, err := archive.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		content := io.NewSectionReader(layer, start, h.Size)
		got, err := artifact.Sum(want.Name, ctxio.Reader(ctx, content))
		if err != nil {
			return err
		}
		f.Files = append(f.Files, FetchedFile{want, content})
		return compare(got, want)
	})
}

// listing adds a file that is made anew.
func (f *Fetched) listing(m member) (err error) {
	r, err := m.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	sum, err := artifact.Sum(m.name, bytes.NewReader(text))
	f.Files = append(f.Files, FetchedFile{sum, bytes.NewReader(text)})
	return err
}

// Close closes the files of the cache.
func (f *Fetched) Close() error {
	var all []error
	for _, l := range f.layers {
		all = append(all, l.Close())
	}
	return errors.Join(all...)
}
