package build

import (
	"archive/tar"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/pgzip"
	"golang.org/x/sys/unix"

	"hookbuild/internal/initramfs"
)

// Stage is where artifacts are written before they appear. All of them appear
// at once, when publish exchanges directories; until then, and after a
// failure, the output directory is as it was.
type Stage struct {
	out   string   // OUT
	root  string   // OUT/.hook-*
	lock  *os.File // root, locked while in use
	dir   string   // root/hook: becomes OUT/hook
	names []string
	// aside are artifacts that the tarball does not hold.
	aside map[string]bool
}

const stagePrefix = ".hook-"

// ChecksumsFile lists the artifacts' SHA-512 sums as sha512sum prints them.
const ChecksumsFile = "checksums.txt"

// NewStage begins to write artifacts into OUT/NAME, where NAME is "hook" for a
// HookOS. Discard must be called at the end.
func NewStage(out, name string) (*Stage, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("making the output directory: %w", err)
	}
	if err := removeStale(out); err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp(out, stagePrefix)
	if err != nil {
		return nil, fmt.Errorf("making a directory for the artifacts: %w", err)
	}
	s := &Stage{out: out, root: root, dir: filepath.Join(root, name), aside: map[string]bool{}}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("making a directory for the artifacts: %w", err), s.Discard())
	}
	return s, nil
}

func (s *Stage) open() (err error) {
	if s.lock, err = os.Open(s.root); err != nil {
		return err
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(s.dir, 0o755) // whatever the umask is
}

// Write makes one artifact from what fill writes.
func (s *Stage) Write(name string, fill func(io.Writer) error) error {
	if err := writeSynced(filepath.Join(s.dir, name), fill); err != nil {
		return fmt.Errorf("writing the artifact %q in %q: %w", name, s.out, err)
	}
	s.names = append(s.names, name)
	return nil
}

// WriteAside makes an artifact that goes beside the others but not into the
// tarball, which holds what machines boot over the network.
func (s *Stage) WriteAside(name string, fill func(io.Writer) error) error {
	s.aside[name] = true
	return s.Write(name, fill)
}

// writeSynced writes a new file through to the disk.
func writeSynced(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, artifactMode)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Chmod(artifactMode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Artifact is one published file.
type Artifact struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	SHA512 string `json:"sha512"`
}

// Artifacts lists what was written so far, in that order, with its sums.
func (s *Stage) Artifacts(ctx context.Context) ([]Artifact, error) {
	var all []Artifact
	for _, name := range s.names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a, err := s.sum(name)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func (s *Stage) sum(name string) (Artifact, error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return Artifact{}, fmt.Errorf("summing the artifact %q: %w", name, err)
	}
	defer f.Close()
	return Sum(name, f)
}

// Sum reads an artifact to its end.
func Sum(name string, r io.Reader) (Artifact, error) {
	h := sha512.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return Artifact{}, fmt.Errorf("summing the artifact %q: %w", name, err)
	}
	return Artifact{Name: name, Size: n, SHA512: hex.EncodeToString(h.Sum(nil))}, nil
}

// describe writes the tarball of this build, and for OUT/hook checksums and
// manifest over this build's artifacts and those that stay beside them.
func (s *Stage) describe(ctx context.Context, tarball string, record BuildRecord) error {
	if err := s.pack(ctx, tarball, record); err != nil {
		return err
	}
	if err := s.keepOthers(record); err != nil {
		return err
	}
	all, err := s.Artifacts(ctx)
	if err != nil {
		return err
	}
	return s.Write(ChecksumsFile, checksums(all))
}

// pack writes the tarball: this build's artifacts with checksums and manifest
// of their own.
func (s *Stage) pack(ctx context.Context, tarball string, record BuildRecord) error {
	record.Artifacts = slices.DeleteFunc(slices.Clone(record.Artifacts), func(a Artifact) bool { return s.aside[a.Name] })
	alone := Manifest{Schema: 1, Builds: []BuildRecord{record}}
	if err := writeSynced(filepath.Join(s.root, ManifestFile), alone.write); err != nil {
		return fmt.Errorf("writing %s: %w", ManifestFile, err)
	}
	if err := writeSynced(filepath.Join(s.root, ChecksumsFile), checksums(record.Artifacts)); err != nil {
		return fmt.Errorf("writing %s: %w", ChecksumsFile, err)
	}
	members := []string{filepath.Join(s.root, ChecksumsFile), filepath.Join(s.root, ManifestFile)}
	for _, a := range record.Artifacts {
		members = append(members, filepath.Join(s.dir, a.Name))
	}
	return s.writeTarball(ctx, tarball, members)
}

// checksums writes the lines of checksums.txt, sorted by name.
func checksums(artifacts []Artifact) func(io.Writer) error {
	sorted := slices.SortedFunc(slices.Values(artifacts), func(a, b Artifact) int { return strings.Compare(a.Name, b.Name) })
	return func(w io.Writer) error {
		for _, a := range sorted {
			if _, err := fmt.Fprintf(w, "%s  %s\n", a.SHA512, a.Name); err != nil {
				return err
			}
		}
		return nil
	}
}

// keepOthers links what else OUT/hook holds (the other architecture's
// artifacts) into the stage, without the artifacts that record replaces, and
// writes the manifest of all.
func (s *Stage) keepOthers(record BuildRecord) error {
	final := s.final()
	manifest, replaced, err := mergeManifest(filepath.Join(final, ManifestFile), record)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(final)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the artifacts that are there: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || name == ChecksumsFile || name == ManifestFile || slices.Contains(replaced, name) || slices.Contains(s.names, name) {
			continue
		}
		if err := os.Link(filepath.Join(final, name), filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("keeping the artifact %q: %w", name, err)
		}
		s.names = append(s.names, name)
	}
	return s.Write(ManifestFile, manifest.write)
}

// writeTarball writes files into a gzip-compressed tar, which publish puts
// beside OUT/hook.
func (s *Stage) writeTarball(ctx context.Context, name string, members []string) error {
	err := writeSynced(filepath.Join(s.root, name), func(w io.Writer) error {
		zw, err := pgzip.NewWriterLevel(w, pgzip.BestSpeed) // what is large in it is compressed already
		if err != nil {
			return err
		}
		tw := tar.NewWriter(zw)
		for _, member := range members {
			if err := errors.Join(ctx.Err(), addMember(tw, member)); err != nil {
				return err
			}
		}
		return errors.Join(tw.Close(), zw.Close())
	})
	if err != nil {
		return fmt.Errorf("writing the artifact %q: %w", name, err)
	}
	return nil
}

func addMember(tw *tar.Writer, path string) error {
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
	_, err = io.Copy(tw, f)
	return err
}

// final is where the artifacts appear.
func (s *Stage) final() string { return filepath.Join(s.out, filepath.Base(s.dir)) }

// publish lets the artifacts appear as OUT/hook, and the tarball beside it.
func (s *Stage) publish(tarball string) error {
	final := s.final()
	if err := exchange(s.dir, final); err != nil {
		return fmt.Errorf("publishing the artifacts as %q: %w; nothing there was changed", final, err)
	}
	if err := s.giveBack(final); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(s.root, tarball), filepath.Join(s.out, tarball)); err != nil {
		return fmt.Errorf("publishing %q: %w", tarball, err)
	}
	return syncDir(s.out)
}

// giveBack moves what cannot be linked, such as directories that a user made
// in OUT/hook, from the exchanged directory to the new one.
func (s *Stage) giveBack(final string) error {
	left, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range left {
		if !e.Type().IsRegular() {
			err = errors.Join(err, os.Rename(filepath.Join(s.dir, e.Name()), filepath.Join(final, e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("keeping what else is in %q: %w", final, err)
	}
	return nil
}

// exchange puts the directory staged in the place of final; what stood there
// is then at staged, if anything.
func exchange(staged, final string) error {
	if _, err := os.Lstat(final); errors.Is(err, fs.ErrNotExist) {
		return os.Rename(staged, final)
	}
	return swap(staged, final)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %q: %w", dir, err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// Discard removes what was not published, or what the published files
// replaced. It may be called again.
func (s *Stage) Discard() error {
	err := os.RemoveAll(s.root)
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	if err != nil {
		return fmt.Errorf("cleaning up %q: %w", s.root, err)
	}
	return nil
}

// removeStale removes the stages that a killed run left in out. One that is in
// use is locked by its owner and stays.
func removeStale(out string) error {
	left, err := filepath.Glob(filepath.Join(out, stagePrefix+"*"))
	if err != nil {
		return fmt.Errorf("looking for what an interrupted run left: %w", err)
	}
	for _, path := range left {
		dir, err := os.Open(path)
		if err != nil {
			continue // its owner has just published or discarded it
		}
		if unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = os.RemoveAll(path)
		}
		if err := errors.Join(err, dir.Close()); err != nil {
			return fmt.Errorf("removing what an interrupted run left: %w", err)
		}
	}
	return nil
}
