package ship

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/build/artifact"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/tarball"
)

// PullOptions say how a HookOS is pulled.
type PullOptions struct {
	Client *oci.Client
	// Arch is the only architecture to pull, in Go's terms; "" means all.
	Arch     string
	Progress progress.Sink
}

// Pulled is what a pull wrote.
type Pulled struct {
	Dir    string
	Digest string // of what the reference names
	Files  []string
	// Attached are the names of the files about it, which are in Files too.
	Attached []string
	// Replaced reports that Dir had another HookOS.
	Replaced bool
}

// Pull fetches the HookOS that ref names and puts it at dir, which must be empty,
// hold another HookOS, or not exist. Every blob is compared with its digest, and every
// file with its checksum; until all of them agree, dir is as it was.
func Pull(ctx context.Context, ref, dir string, o PullOptions) (p Pulled, err error) {
	final, err := destination(dir)
	if err != nil {
		return p, err
	}
	found, err := o.Client.Copy(ctx, ref, v1.Hash{})
	if err != nil {
		return p, err
	}
	all, err := manifests(ctx, found, o.Arch)
	if err != nil {
		return p, fmt.Errorf("reading the HookOS %q: %w", ref, err)
	}
	stage, err := artifact.NewStage(filepath.Dir(final), filepath.Base(final))
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, stage.Discard()) }()
	u := &unpacker{stage: stage, blobs: found, sink: o.Progress, whole: artifact.Manifest{Schema: 1}}
	for _, m := range all {
		if err := u.image(ctx, m); err != nil {
			return p, fmt.Errorf("pulling the HookOS %q: %w", ref, err)
		}
	}
	sortBuilds(u.whole)
	p = Pulled{Dir: final, Digest: found.Root.Digest.String(), Files: u.files, Replaced: exists(filepath.Join(final, artifact.ManifestFile))}
	papers, err := attached(ctx, ref, found.Root.Digest, u.whole, o)
	if err != nil {
		return p, fmt.Errorf("pulling what is attached to the HookOS %q: %w", ref, err)
	}
	for _, one := range papers {
		if err := stage.Write(one.name, func(w io.Writer) error { _, err := w.Write(one.content); return err }); err != nil {
			return p, err
		}
		p.Attached = append(p.Attached, one.name)
	}
	p.Files = append(p.Files, p.Attached...)
	return p, stage.Replace(ctx, u.whole)
}

// sortBuilds puts the builds into the order of a manifest.json.
func sortBuilds(m artifact.Manifest) {
	slices.SortFunc(m.Builds, func(a, b artifact.Build) int { return strings.Compare(a.Arch+" "+a.ID, b.Arch+" "+b.ID) })
}

// destination returns the absolute path of dir, if a HookOS may be put there.
func destination(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the directory %q: %w", dir, err)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && !exists(path):
		return path, nil
	case err != nil:
		return "", fault.Usagef("pulling to %q: %w; name a directory that is empty, that has a HookOS, or that does not exist", dir, err)
	case len(entries) > 0 && !exists(filepath.Join(path, artifact.ManifestFile)):
		return "", fault.Usagef("pulling to %q: it has files and no HookOS; name a directory that is empty, that has a HookOS, or that does not exist", dir)
	}
	return path, nil
}

// manifests returns the manifests of the architectures that are asked for.
func manifests(ctx context.Context, found *oci.Copy, arch string) ([]*v1.Manifest, error) {
	wanted, err := images(ctx, found, arch)
	if err != nil {
		return nil, err
	}
	var all []*v1.Manifest
	for _, h := range wanted {
		m, err := manifest(ctx, found, h)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// images returns the digests of the images of the architectures that are asked for.
func images(ctx context.Context, found *oci.Copy, arch string) ([]v1.Hash, error) {
	if !found.Root.MediaType.IsIndex() {
		return []v1.Hash{found.Root.Digest}, nil
	}
	raw, err := small(ctx, found, found.Root.Digest)
	if err != nil {
		return nil, err
	}
	list, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.Invalidf("its index: %w", err)
	}
	var wanted []v1.Hash
	for _, d := range list.Manifests {
		if d.Platform != nil && d.Platform.OS == "linux" && (arch == "" || d.Platform.Architecture == arch) {
			wanted = append(wanted, d.Digest)
		}
	}
	if len(wanted) == 0 {
		return nil, fault.Invalidf("its index has no HookOS for %s; choose another --arch", orAny(arch))
	}
	return wanted, nil
}

// manifest returns the manifest of one image.
func manifest(ctx context.Context, found *oci.Copy, h v1.Hash) (*v1.Manifest, error) {
	raw, err := small(ctx, found, h)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.Invalidf("its manifest %s: %w", h, err)
	}
	foreign := func(d v1.Descriptor) bool { return d.MediaType != layerType }
	if len(m.Layers) == 0 || slices.ContainsFunc(m.Layers, foreign) {
		return nil, fault.Invalidf("it is not a HookOS that `hookbuild push` pushed: its layers are not plain tar archives; name another reference")
	}
	return m, nil
}

// open starts reading a blob.
func open(ctx context.Context, found *oci.Copy, h v1.Hash) (io.ReadCloser, error) {
	i := slices.IndexFunc(found.Blobs, func(b oci.CopyBlob) bool { return b.Digest == h })
	if i < 0 {
		return nil, fault.Invalidf("it lacks %s, which its index names", h)
	}
	return found.Blobs[i].Open(ctx)
}

func small(ctx context.Context, found *oci.Copy, h v1.Hash) (_ []byte, err error) {
	r, err := open(ctx, found, h)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// unpacker puts the files of images into a stage.
type unpacker struct {
	stage *artifact.Stage
	blobs *oci.Copy
	sink  progress.Sink
	whole artifact.Manifest // of all images so far
	files []string
}

// image unpacks the image of one architecture.
func (u *unpacker) image(ctx context.Context, m *v1.Manifest) error {
	part, err := u.listings(ctx, m.Layers[0])
	if err != nil {
		return err
	}
	u.whole.Builds = append(u.whole.Builds, part.Builds...)
	if _, err := records(u.whole); err != nil { // also across architectures
		return err
	}
	left, err := records(part)
	if err != nil {
		return err
	}
	for _, d := range m.Layers[1:] {
		if err := u.layer(ctx, d, left); err != nil {
			return err
		}
	}
	return allFound(left)
}

// allFound returns an error if a file that the manifest lists is left.
func allFound(left map[string]artifact.File) error {
	if len(left) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(left)))
	return fault.Invalidf("%s, which its %s lists, is in no layer; push it again", first, artifact.ManifestFile)
}

// listings reads the first layer of an image.
func (u *unpacker) listings(ctx context.Context, d v1.Descriptor) (m artifact.Manifest, err error) {
	blob, err := open(ctx, u.blobs, d.Digest)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	return readListings(ctxio.Reader(ctx, blob), d.Digest)
}

// readListings reads a first layer, and checks its checksums.txt.
func readListings(r io.Reader, layer v1.Hash) (m artifact.Manifest, err error) {
	texts := map[string][]byte{}
	var others []member
	err = walk(r, layer, func(h *tar.Header, r io.Reader) error {
		if _, twice := texts[h.Name]; twice || h.Typeflag != tar.TypeReg || h.Size > mostListing || !isListing(h.Name) {
			return fault.Invalidf("it is not a HookOS that `hookbuild push` pushed: %q is in its first layer; name another reference", h.Name)
		}
		text, err := io.ReadAll(r)
		texts[h.Name] = text
		if h.Name != artifact.ChecksumsFile {
			others = append(others, memory(h.Name, text))
		}
		return err
	})
	if err != nil {
		return m, err
	}
	if m, err = parse(texts[artifact.ManifestFile]); err != nil {
		return m, err
	}
	sums, err := checksums(m, others)
	if err == nil && !bytes.Equal(sums, texts[artifact.ChecksumsFile]) {
		err = fault.Invalidf("its %s is not that of the files that its %s lists; push it again", artifact.ChecksumsFile, artifact.ManifestFile)
	}
	return m, err
}

func isListing(name string) bool {
	return name == artifact.ManifestFile || name == artifact.ChecksumsFile
}

// layer unpacks a layer, and takes what it has from left.
func (u *unpacker) layer(ctx context.Context, d v1.Descriptor, left map[string]artifact.File) (err error) {
	task := progress.Start(u.sink, d.Size, "pull the layer %.12s", d.Digest.Hex)
	defer func() { err = task.End(err, "") }()
	blob, err := open(ctx, u.blobs, d.Digest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	return walk(task.Reader(ctxio.Reader(ctx, blob)), d.Digest, func(h *tar.Header, r io.Reader) error {
		want, err := takeListed(h, left)
		if err != nil {
			return err
		}
		u.files = append(u.files, h.Name)
		if want.Link == "" {
			return u.file(want, r)
		}
		if !exists(u.stage.Path(want.Link)) {
			return fault.Invalidf("%q is a link to %q, which comes later or not at all; push it again", h.Name, want.Link)
		}
		return u.stage.Link(want.Name, want.Link)
	})
}

// takeListed takes the file of an entry from left, where it must be as the entry says.
func takeListed(h *tar.Header, left map[string]artifact.File) (artifact.File, error) {
	want, listed := left[h.Name]
	link := h.Typeflag == tar.TypeLink
	if !listed || !link && h.Typeflag != tar.TypeReg || link != (want.Link != "") || h.Linkname != want.Link {
		return want, fault.Invalidf("%q is in a layer, and not as its %s lists it; push it again", h.Name, artifact.ManifestFile)
	}
	delete(left, h.Name)
	return want, nil
}

// file stages one file, which must be the one that the manifest lists.
func (u *unpacker) file(want artifact.File, r io.Reader) error {
	var got artifact.File
	err := u.stage.Write(want.Name, func(w io.Writer) (err error) {
		got, err = artifact.Sum(want.Name, io.TeeReader(r, w))
		return err
	})
	if err != nil {
		return err
	}
	return compare(got, want)
}

// compare returns an error if a file is not the one that the manifest lists.
func compare(got, want artifact.File) error {
	if got.Size != want.Size || !strings.EqualFold(got.SHA512, want.SHA512) {
		return fault.Invalidf("%s has %d bytes and the SHA-512 checksum %.16s..., unlike in its %s; push it again", want.Name, got.Size, got.SHA512, artifact.ManifestFile)
	}
	return nil
}

// walk calls each for the entries of a layer, and reads the layer to its end, where
// its digest is compared.
func walk(r io.Reader, layer v1.Hash, each func(*tar.Header, io.Reader) error) error {
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, tar.ErrHeader) {
			err = fault.Invalidf("layer %s: %w", layer, err)
		}
		if err == nil && tarball.IsSparse(header) { // it could fill the disk
			err = fault.Invalidf("it is not a HookOS that `hookbuild push` pushed: %q in layer %s is a sparse file; name another reference", header.Name, layer)
		}
		if err == nil {
			err = each(header, archive)
		}
		if err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, r)
	return err
}
