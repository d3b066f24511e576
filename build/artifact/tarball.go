package artifact

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/pgzip"

	"hookbuild/internal/initramfs"
)

// pack writes the tarball of a build: its artifacts under upstream's names, with
// their own checksums and manifest. It leaves out links and what WriteAside wrote.
func (s *Stage) pack(ctx context.Context, name string, b Build) (File, error) {
	b.Artifacts = slices.DeleteFunc(slices.Clone(b.Artifacts), func(f File) bool { return s.aside[f.Name] || f.Link != "" })
	alone := Manifest{Schema: 1, Builds: []Build{b}}
	if err := writeSynced(filepath.Join(s.root, ManifestFile), alone.Write); err != nil {
		return File{}, fmt.Errorf("writing %s: %w", ManifestFile, err)
	}
	if err := writeSynced(filepath.Join(s.root, ChecksumsFile), Checksums(b.Artifacts)); err != nil {
		return File{}, fmt.Errorf("writing %s: %w", ChecksumsFile, err)
	}
	members := []string{filepath.Join(s.root, ChecksumsFile), filepath.Join(s.root, ManifestFile)}
	for _, f := range b.Artifacts {
		members = append(members, s.Path(f.Name))
	}
	if err := s.expect(members); err != nil {
		return File{}, err
	}
	path := filepath.Join(s.root, name)
	f, err := writeSummed(path, func(w io.Writer) error { return s.writeTarball(ctx, w, members) })
	if err != nil {
		return File{}, fmt.Errorf("writing the artifact %q in %q: %w", name, s.out, explainFull(err))
	}
	return f, nil
}

// expect sets the size of the task to that of the files.
func (s *Stage) expect(members []string) error {
	if s.Task == nil {
		return nil
	}
	total := int64(0)
	for _, member := range members {
		info, err := os.Stat(member)
		if err != nil {
			return fmt.Errorf("writing the tarball: %w", err)
		}
		total += info.Size()
	}
	s.Task.Expect(total)
	return nil
}

// writeTarball writes files into a gzip-compressed tar archive, at the fastest
// level, because the large files are compressed already.
func (s *Stage) writeTarball(ctx context.Context, w io.Writer, members []string) error {
	zw, err := pgzip.NewWriterLevel(w, pgzip.BestSpeed)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	for _, member := range members {
		if err := errors.Join(ctx.Err(), s.addMember(tw, member)); err != nil {
			return err
		}
	}
	return errors.Join(tw.Close(), zw.Close())
}

func (s *Stage) addMember(tw *tar.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: filepath.Base(path), Mode: 0o644, Size: info.Size(), ModTime: initramfs.Epoch(), Format: tar.FormatPAX}
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	var from io.Reader = f
	if s.Task != nil {
		from = s.Task.Reader(f)
	}
	_, err = io.Copy(tw, from)
	return err
}
