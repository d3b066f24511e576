package kernel

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"hookbuild/internal/initramfs"
)

// PackOptions configure how a kernel image is packed.
type PackOptions struct {
	// Dir is the directory for the image's layer, a file that must stay as
	// long as the image is used.
	Dir string
	// Time is the time of the image and of all its files; the zero time means
	// 1970.
	Time time.Time
	// Labels are added to the image's configuration.
	Labels map[string]string
}

// Pack makes an OCI kernel image: one layer with kernel, kernel.tar,
// dtbs.tar.gz, System.map and config at its root, for the kernel's own
// architecture, on any machine. The same inputs make the same image.
func (m *Image) Pack(ctx context.Context, o PackOptions) (v1.Image, error) {
	if o.Time.IsZero() {
		o.Time = initramfs.Epoch()
	}
	layerFile := filepath.Join(o.Dir, "layer.tar")
	if err := m.writeLayer(ctx, layerFile, o); err != nil {
		return nil, fmt.Errorf("packing the kernel %s: %w", m.Release, err)
	}
	layer, err := tarball.LayerFromFile(layerFile, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("packing the kernel %s: %w", m.Release, err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.AppendLayers(image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", DockerArch(m.Arch)
	config.Created = v1.Time{Time: o.Time.UTC()}
	config.Config.Labels = map[string]string{"org.opencontainers.image.version": m.Release, "org.hookbuild.source": m.Source}
	if len(m.drivers) > 0 {
		config.Config.Labels[driversLabel] = strings.Join(m.drivers, " ")
	}
	if m.choice != "" {
		config.Config.Labels[choiceLabel] = m.choice
	}
	for key, value := range o.Labels {
		config.Config.Labels[key] = value
	}
	return mutate.ConfigFile(image, config)
}

// part is one file of the layer; write writes its content.
type part struct {
	name  string
	write func(ctx context.Context, w io.Writer) error
}

func (m *Image) parts(o PackOptions) []part {
	parts := []part{
		{ociSystemMap, fileWriter(m.SystemMap)},
		{ociConfig, fileWriter(m.Config)},
		{ociDTBs, func(ctx context.Context, w io.Writer) error { return writeGzipTar(ctx, w, m.DTBs, o.Time) }},
		{ociKernel, fileWriter(&m.Kernel)},
		{ociModules, func(ctx context.Context, w io.Writer) error { return writeTree(ctx, w, m.Modules, o.Time) }},
	}
	if m.Config == nil {
		parts = append(parts[:1], parts[2:]...)
	}
	if m.SystemMap == nil {
		parts = parts[1:]
	}
	return parts
}

func fileWriter(e *initramfs.Entry) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error { return initramfs.CopyContent(ctx, w, *e) }
}

// writeLayer writes the layer's tar archive. It first writes each part to a
// file, because a tar header needs a file's size before its content.
func (m *Image) writeLayer(ctx context.Context, name string, o PackOptions) (err error) {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := tar.NewWriter(out)
	for _, p := range m.parts(o) {
		if err := p.add(ctx, w, o); err != nil {
			return fmt.Errorf("writing %q: %w", p.name, err)
		}
	}
	return w.Close()
}

func (p part) add(ctx context.Context, w *tar.Writer, o PackOptions) (err error) {
	f, err := os.CreateTemp(o.Dir, "part-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if err := p.write(ctx, f); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: p.name, Size: size, Mode: 0o644, ModTime: o.Time.Truncate(time.Second), Format: tar.FormatUSTAR}
	if size >= 8<<30 {
		header.Format = tar.FormatPAX
	}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(f, 0, size))
	return err
}

func writeGzipTar(ctx context.Context, w io.Writer, t *initramfs.Tree, clamp time.Time) error {
	packed := gzip.NewWriter(w)
	if err := writeTree(ctx, packed, t, clamp); err != nil {
		return err
	}
	return packed.Close()
}

// writeTree writes a tree as a tar archive, including the root directory, so
// that unpacking it over another tree sets that directory's permissions.
func writeTree(ctx context.Context, w io.Writer, t *initramfs.Tree, clamp time.Time) error {
	archive := tar.NewWriter(w)
	root := &tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, ModTime: clamp.Truncate(time.Second)}
	if err := archive.WriteHeader(root); err != nil {
		return err
	}
	var links []initramfs.Entry
	for e := range t.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Type == initramfs.HardLink {
			links = append(links, e) // its target may come later
			continue
		}
		if err := addEntry(ctx, archive, e, clamp); err != nil {
			return err
		}
	}
	for _, e := range links {
		if err := addEntry(ctx, archive, e, clamp); err != nil {
			return err
		}
	}
	return archive.Close()
}

func addEntry(ctx context.Context, archive *tar.Writer, e initramfs.Entry, clamp time.Time) error {
	when := e.ModTime
	if when.After(clamp) {
		when = clamp
	}
	header := &tar.Header{Name: "./" + e.Path, Mode: int64(e.Mode), Uid: int(e.UID), Gid: int(e.GID), ModTime: when.Truncate(time.Second)}
	switch e.Type {
	case initramfs.Regular:
		header.Typeflag, header.Size = tar.TypeReg, e.Size
	case initramfs.Dir:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	case initramfs.Symlink:
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.Target
	case initramfs.HardLink:
		header.Typeflag, header.Linkname = tar.TypeLink, "./"+e.Target
	default:
		return invalid("packing %q of %s: a kernel does not contain a %s", e.Path, e.Origin, e.Type)
	}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("packing %q of %s: %w", e.Path, e.Origin, err)
	}
	return initramfs.CopyContent(ctx, archive, e)
}
