package container

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// unpackScript fills the volume of the source. It may run for several flavors
// at once.
const unpackScript = "unpack.sh"

// ensureSource puts the target's source into its volume, with its patches,
// unless it is already there.
func (b *Builder) ensureSource(ctx context.Context, t Target, image string) error {
	if err := b.ensureUnpacked(ctx, t, image); err != nil || len(t.Patches) == 0 {
		return err
	}
	return b.ensurePatched(ctx, t, image)
}

func (b *Builder) ensureUnpacked(ctx context.Context, t Target, image string) error {
	there, err := b.hasSource(ctx, t, image)
	if err != nil || there {
		return err
	}
	prepare := func(ctx context.Context, id string) error { return b.sendArchive(ctx, id, t.Source) }
	if t.Source.Dir != "" {
		prepare = func(ctx context.Context, id string) error { return b.sendDir(ctx, id, t.Source.Dir) }
	}
	err = b.run(ctx, job{target: t, step: "unpack", script: unpackScript, image: image, env: []string{"LC_ALL=C"}, prepare: prepare})
	if err == nil {
		b.sent.Store(t.sourceVolume(), true)
	}
	return err
}

// hasSource looks into the volume through a container that never runs. It
// returns false for a directory that this builder has not copied yet: only make
// knows what changed in it since the last build.
func (b *Builder) hasSource(ctx context.Context, t Target, image string) (there bool, err error) {
	if t.Source.Dir != "" {
		_, sent := b.sent.Load(t.sourceVolume())
		return sent, nil
	}
	id, err := b.create(ctx, job{target: t, step: "look", script: unpackScript, image: image})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, b.remove(ctx, id)) }()
	_, err = b.docker.ContainerStatPath(ctx, id, "/src/complete")
	switch {
	case err == nil:
		return true, nil
	case errdefs.IsNotFound(err):
		return false, nil
	}
	return false, outside("looking for the source of the kernel of %s: %w", t.Flavor, err)
}

// sendArchive copies the archive into the volume as /src/incoming.
func (b *Builder) sendArchive(ctx context.Context, id string, s Source) error {
	f, err := os.Open(s.Archive)
	if err != nil {
		return fault.Invalidf("sending the kernel's source: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("sending the kernel's source: %w", err)
	}
	task := progress.Start(b.o.Progress, info.Size(), "send the kernel's source %s to the Docker engine", filepath.Base(s.Archive))
	err = b.send(ctx, id, "/src", func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Name: "incoming", Mode: 0o644, Size: info.Size()}); err != nil {
			return err
		}
		_, err := io.Copy(w, task.Reader(f))
		return err
	})
	return task.End(err, "")
}

// sendDir copies a source directory to /src/linux.new and keeps the files'
// times, by which make finds what changed.
func (b *Builder) sendDir(ctx context.Context, id string, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fault.Invalidf("sending the kernel's source: %w", err)
	}
	defer root.Close()
	task := progress.Start(b.o.Progress, 0, "send the kernel's source %s to the Docker engine", dir)
	err = b.send(ctx, id, "/src", func(w *tar.Writer) error {
		return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == ".git" {
				return fs.SkipDir
			}
			return addFile(w, root, name, d, task)
		})
	})
	return task.End(err, "")
}

// addFile writes one file of a source. It skips sockets and devices.
func addFile(w *tar.Writer, root *os.Root, name string, d fs.DirEntry, task *progress.Task) (err error) {
	info, err := d.Info()
	if err != nil {
		return err
	}
	target := ""
	if info.Mode().Type() == fs.ModeSymlink {
		if target, err = root.Readlink(name); err != nil {
			return err
		}
	}
	if !info.Mode().IsRegular() && !d.IsDir() && target == "" {
		return nil
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name, header.Uid, header.Gid, header.Uname, header.Gname = filepath.ToSlash(filepath.Join("linux.new", name)), 0, 0, "", ""
	if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(w, task.Reader(f))
	return err
}

// send copies a tar archive into a container's directory.
func (b *Builder) send(ctx context.Context, id, to string, fill func(*tar.Writer) error) error {
	reader, writer := io.Pipe()
	go func() {
		w := tar.NewWriter(writer)
		err := fill(w)
		if err == nil {
			err = w.Close()
		}
		writer.CloseWithError(err)
	}()
	err := b.docker.CopyToContainer(ctx, id, to, reader, container.CopyToContainerOptions{})
	if err != nil {
		err = outside("sending files to the Docker engine: %w", err)
	}
	_ = reader.CloseWithError(err)
	return err
}
