package container

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"hookbuild/internal/fault"
	"hookbuild/kernel/patch"
)

// patchScript changes the files of the source that patches change.
const patchScript = "patch.sh"

// ensurePatched applies the target's patches to the source in its volume, which
// may have other ones. The patches are applied here, to the few files that they
// name, so that the builder image needs no program for it and a patch that does
// not fit changes nothing.
func (b *Builder) ensurePatched(ctx context.Context, t Target, image string) error {
	changed, err := b.patchedFiles(ctx, t, image)
	if err != nil || changed == nil {
		return err
	}
	touched := strings.Join(slices.Sorted(maps.Keys(changed)), "\n") + "\n"
	return b.run(ctx, job{
		target: t, step: "patch", script: patchScript, image: image, env: []string{"LC_ALL=C"},
		files: map[string][]byte{"touched": []byte(touched), "patches": []byte(t.PatchesID())},
		prepare: func(ctx context.Context, id string) error {
			return b.send(ctx, id, "/job", func(w *tar.Writer) error { return writeChanged(w, changed) })
		},
	})
}

func writeChanged(w *tar.Writer, changed map[string]*patch.Content) error {
	for _, name := range sortedKeys(changed) {
		c := changed[name]
		if c == nil {
			continue
		}
		header := &tar.Header{Name: path.Join("new", name), Mode: 0o644, Size: int64(len(c.Text))}
		if c.Executable {
			header.Mode = 0o755
		}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := w.Write(c.Text); err != nil {
			return err
		}
	}
	return nil
}

// patchedFiles returns the files that the patches change, with their new
// content. It returns nil if the source has these patches already. It reads the
// volume through a container that never runs.
func (b *Builder) patchedFiles(ctx context.Context, t Target, image string) (changed map[string]*patch.Content, err error) {
	id, err := b.create(ctx, job{target: t, step: "look", script: unpackScript, image: image})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.remove(ctx, id)) }()
	have, err := b.fileOf(ctx, id, "/src/patched")
	if err != nil || have != nil && string(have.Text) == t.PatchesID() {
		return nil, err
	}
	created, err := b.fileOf(ctx, id, "/src/created")
	if err != nil {
		return nil, err
	}
	changed, err = patch.Apply(t.Patches, func(name string) (*patch.Content, error) {
		c, err := b.fileOf(ctx, id, "/src/pristine/"+name)
		if err != nil || c != nil {
			return c, err
		}
		if created != nil && slices.Contains(strings.Split(string(created.Text), "\n"), name) {
			return nil, nil
		}
		return b.fileOf(ctx, id, "/src/linux/"+name)
	})
	if err != nil {
		return nil, fmt.Errorf("patching the kernel's source for %s: %w", t.Flavor, err)
	}
	return changed, nil
}

// fileOf reads a file of a container. It returns nil if there is no such file.
func (b *Builder) fileOf(ctx context.Context, id, name string) (_ *patch.Content, err error) {
	stream, _, err := b.docker.CopyFromContainer(ctx, id, name)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, outside("reading %q in the Docker engine: %w", name, err)
	}
	defer stream.Close()
	files := tar.NewReader(stream)
	header, err := files.Next()
	switch {
	case err != nil:
		return nil, outside("reading %q in the Docker engine: %w", name, err)
	case header.Typeflag != tar.TypeReg:
		return nil, fault.Invalidf("%q is not a file", strings.TrimPrefix(name, "/src/linux/"))
	case header.Size > mostSmall:
		return nil, fault.Invalidf("%q has %d bytes", name, header.Size)
	}
	text, err := io.ReadAll(files)
	if err != nil {
		return nil, outside("reading %q in the Docker engine: %w", name, err)
	}
	return &patch.Content{Text: text, Executable: header.Mode&0o100 != 0}, nil
}
