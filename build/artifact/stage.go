// Package artifact publishes the results of a build: the directory OUT/hook with
// checksums.txt and manifest.json, and the tarball next to it.
//
// Everything is written into a stage first. Publishing exchanges directories in
// one step, then renames the tarball, whose checksum is in the new manifest, and last
// links ISO images next to it. A run that is killed in between leaves a tarball that
// does not match, which package verify reports, and an ISO image of the build before,
// which the next run replaces.
package artifact

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
	"syscall"

	"golang.org/x/sys/unix"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// Stage is a directory for artifacts that are not published yet. All of them
// appear at once, when Publish exchanges directories. Until then, and after a
// failure, the output directory is unchanged.
type Stage struct {
	// Task counts the bytes that are put into the tarball. Nil means none.
	Task  *progress.Task
	out   string   // OUT
	root  string   // OUT/.hook-*
	lock  *os.File // root, locked while in use
	dir   string   // root/hook: becomes OUT/hook
	names []string
	// links maps the names that are hard links to what they link to.
	links map[string]string
	// aside are the artifacts that are not in the tarball.
	aside map[string]bool
	// beside are the ISO images that appear in OUT too.
	beside []string
	// sums are the artifacts whose checksums were computed.
	sums map[string]File
}

const stagePrefix = ".hook-"

// CheckOut returns an error if out cannot be the output directory. It is called
// before any work is done.
func CheckOut(out string) error {
	info, err := os.Stat(out)
	if errors.Is(err, unix.ENAMETOOLONG) {
		return fault.Invalidf("--out: %w; use a shorter name", err)
	}
	if errors.Is(err, unix.ENOTDIR) || err == nil && !info.IsDir() {
		return fault.Usagef("--out %q is not a directory; name a directory", out)
	}
	return checkWritable(out)
}

// checkWritable returns an error if out, or what it is to be created in, cannot be
// written.
func checkWritable(out string) error {
	dir := filepath.Clean(out)
	for {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		switch parent := filepath.Dir(dir); {
		case err == nil:
			return nil
		case errors.Is(err, unix.ENOENT) && parent != dir:
			dir = parent
			continue
		}
		return fault.Invalidf("--out %q: %q cannot be written: %w; name another directory, or change its permissions", out, dir, atomicfile.WithOwner(dir, err))
	}
}

// NewStage returns a stage for the artifacts in OUT/NAME, where NAME is "hook" for
// a HookOS. It removes the stages that killed runs left in OUT. The caller must
// call Discard at the end.
func NewStage(out, name string) (*Stage, error) {
	if err := CheckOut(out); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("creating the output directory: %w", err)
	}
	if err := sweep(out); err != nil {
		return nil, err
	}
	root, lock, err := atomicfile.TempDir(out, stagePrefix)
	if err != nil {
		return nil, fmt.Errorf("creating a directory for the artifacts: %w", err)
	}
	s := &Stage{out: out, root: root, lock: lock, dir: filepath.Join(root, name), links: map[string]string{}, aside: map[string]bool{}, sums: map[string]File{}}
	if err := s.makeDir(); err != nil {
		return nil, errors.Join(fmt.Errorf("creating a directory for the artifacts: %w", err), s.Discard())
	}
	return s, nil
}

// sweep removes what killed runs left in out.
func sweep(out string) error {
	return errors.Join(atomicfile.Sweep(out, stagePrefix, func(stage string) error { return rescue(stage, out) }), atomicfile.Sweep(out, atomicfile.Prefix, nil))
}

// rescue takes from a killed run's stage what is not to be removed with it. If it was
// killed after it exchanged the directories, the stage may hold what a user made in
// OUT/NAME, and OUT a link to an ISO image of the build before. NAME may be another than
// that of this run.
func rescue(stage, out string) error {
	staged, err := os.ReadDir(stage)
	for _, e := range staged {
		if e.IsDir() {
			err = errors.Join(err, giveBack(filepath.Join(stage, e.Name()), filepath.Join(out, e.Name())), renewBeside(stage, e.Name(), out))
		}
	}
	return err
}

func (s *Stage) makeDir() error {
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(s.dir, 0o755) // regardless of the umask
}

// Path returns the path of a staged artifact.
func (s *Stage) Path(name string) string { return filepath.Join(s.dir, name) }

// Write stages one artifact with the content that fill writes.
func (s *Stage) Write(name string, fill func(io.Writer) error) error {
	f, err := writeSummed(s.Path(name), fill)
	if err != nil {
		return fmt.Errorf("writing the artifact %q in %q: %w", name, s.out, explainFull(err))
	}
	s.names = append(s.names, name)
	s.sums[name] = f
	return nil
}

// explainFull adds the remedy to the error of a full disk.
func explainFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w; free some space there, or choose another place with --out", err)
	}
	return err
}

// WriteAside stages an artifact that is not put into the tarball, which is only for
// the files that machines boot over the network.
func (s *Stage) WriteAside(name string, fill func(io.Writer) error) error {
	s.aside[name] = true
	return s.Write(name, fill)
}

// Beside makes a staged ISO image appear in OUT too, where build.sh writes it, as a
// hard link.
func (s *Stage) Beside(name string) { s.beside = append(s.beside, name) }

// Link makes name a hard link to the staged artifact to. It does nothing if both
// names are the same.
func (s *Stage) Link(name, to string) error {
	if name == to {
		return nil
	}
	if err := os.Link(s.Path(to), s.Path(name)); err != nil {
		return fmt.Errorf("linking the artifact %q to %q: %w", name, to, err)
	}
	s.names = append(s.names, name)
	s.links[name] = to
	return nil
}

// writeSummed writes a new file, and computes its checksum meanwhile.
func writeSummed(path string, fill func(io.Writer) error) (File, error) {
	type result struct {
		File
		err error
	}
	r, w := io.Pipe()
	summed := make(chan result, 1)
	go func() {
		f, err := Sum(filepath.Base(path), r)
		summed <- result{f, err}
	}()
	err := writeSynced(path, func(f io.Writer) error { return fill(io.MultiWriter(f, w)) })
	_ = w.CloseWithError(err) // always nil
	sum := <-summed
	if err != nil {
		return File{}, err
	}
	return sum.File, sum.err
}

// writeSynced writes a new file and syncs it to the disk.
func writeSynced(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, atomicfile.Mode)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Chmod(atomicfile.Mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Artifacts returns the artifacts staged so far, in that order, with checksums.
func (s *Stage) Artifacts(ctx context.Context) ([]File, error) {
	var all []File
	for _, name := range s.names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if to, isLink := s.links[name]; isLink {
			i := slices.IndexFunc(all, func(f File) bool { return f.Name == to })
			all = append(all, File{Name: name, Size: all[i].Size, SHA512: all[i].SHA512, Link: to})
			continue
		}
		if _, known := s.sums[name]; !known { // kept from an earlier build
			f, err := sumFile(ctx, s.Path(name))
			if err != nil {
				return nil, err
			}
			s.sums[name] = f
		}
		all = append(all, s.sums[name])
	}
	return all, nil
}

func sumFile(ctx context.Context, path string) (_ File, err error) {
	name := filepath.Base(path)
	f, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("computing the checksum of the artifact %q: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return Sum(name, ctxio.Reader(ctx, f))
}

// About returns the files about the HookOS in dir, such as its SBOM, of which m is the
// manifest.
type About func(ctx context.Context, dir string, m Manifest) ([]Paper, error)

// Paper is a file about a HookOS.
type Paper struct {
	Name  string
	Write func(io.Writer) error
}

// Publish writes the tarball, checksums and manifest, and moves all artifacts to
// OUT. B describes this build. Other builds in OUT/hook are kept. About, which may be
// nil, adds what is to be written about all of them.
func (s *Stage) Publish(ctx context.Context, tarball string, b Build, about About) (p Published, err error) {
	packed, err := s.pack(ctx, tarball, b)
	if err != nil {
		return p, err
	}
	b.Tarball = &packed
	out, err := lockDir(ctx, s.out)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	m, err := merge(filepath.Join(s.final(), ManifestFile), b)
	if err != nil {
		return p, err
	}
	if err := s.keepOthers(m.dropped); err != nil {
		return p, err
	}
	if about != nil {
		papers, err := about(ctx, s.dir, m.Manifest)
		if err != nil {
			return p, err
		}
		for _, one := range papers {
			if err := s.Write(one.Name, one.Write); err != nil {
				return p, err
			}
		}
	}
	if err := s.writeListings(ctx, m.Manifest); err != nil {
		return p, err
	}
	p = Published{Dir: s.final(), Tarball: filepath.Join(s.out, tarball), Artifacts: b.Artifacts, Replaced: m.replaced, Removed: m.removed, Worker: b.Worker, Embedded: b.Embedded}
	for _, name := range s.beside {
		p.Beside = append(p.Beside, filepath.Join(s.out, name))
	}
	return p, s.appear(tarball)
}

// Replace moves all staged artifacts to OUT in the place of the HookOS there,
// with m as their manifest. Files in the directory that the HookOS there did not
// list are kept.
func (s *Stage) Replace(ctx context.Context, m Manifest) (err error) {
	out, err := lockDir(ctx, s.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	old, err := ReadManifest(filepath.Join(s.final(), ManifestFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var dropped []string
	for _, b := range old.Builds {
		for _, f := range b.Artifacts {
			dropped = append(dropped, f.Name)
		}
	}
	return s.settle(ctx, m, dropped)
}

// Add adds the staged files to the HookOS in OUT, which the manifest m describes.
func (s *Stage) Add(ctx context.Context, m Manifest) (err error) {
	out, err := lockDir(ctx, s.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return s.settle(ctx, m, nil)
}

// settle moves the staged files to OUT with what is kept of the files there, the
// manifest and checksums.
func (s *Stage) settle(ctx context.Context, m Manifest, dropped []string) error {
	if err := s.keepOthers(dropped); err != nil {
		return err
	}
	if err := s.writeListings(ctx, m); err != nil {
		return err
	}
	return s.appear("")
}

// writeListings stages the manifest, and the checksums of everything.
func (s *Stage) writeListings(ctx context.Context, m Manifest) error {
	if err := s.Write(ManifestFile, m.Write); err != nil {
		return err
	}
	all, err := s.Artifacts(ctx)
	if err != nil {
		return err
	}
	return s.Write(ChecksumsFile, Checksums(all))
}

// Published describes what Publish published.
type Published struct {
	// Dir is the artifacts' directory, OUT/hook.
	Dir string
	// Tarball is the archive of the artifacts that machines boot.
	Tarball   string
	Artifacts []File
	// Replaced are other builds of which this one replaced a file.
	Replaced []Build
	// Removed are the artifacts that the last build of the same name made, and this
	// one does not.
	Removed []string
	// Beside are the paths of the artifacts that are in OUT too.
	Beside []string
	// Worker is the worker on board; nil if no bundle named images.
	Worker *Worker
	// Embedded are the images on board.
	Embedded []OnBoard
}

// WarnReplaced warns of the builds that were replaced, and of the files of this build
// that are gone.
func (p Published) WarnReplaced(sink progress.Sink) {
	if len(p.Removed) > 0 {
		progress.Warnf(sink, "removed from %s, because this build does not make them, and the one before did: %s", p.Dir, strings.Join(p.Removed, ", "))
	}
	for _, b := range p.Replaced {
		kept := "; its tarball is kept"
		if filepath.Base(p.Tarball) == TarballName(filepath.Base(p.Dir), b.ID) {
			kept = ", as has its tarball"
		}
		progress.Warnf(sink, "%s is no longer in %s, because the new artifacts have the same names%s; build it in another --out to keep both", b.Flavor, p.Dir, kept)
	}
}

// lockDir locks dir. It waits while another hookbuild publishes into it.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err == nil {
		if err = atomicfile.Lock(ctx, d, nil); err == nil {
			return d, nil
		}
		err = errors.Join(err, d.Close())
	}
	return nil, fmt.Errorf("publishing in %q: %w", dir, err)
}

// keepOthers links the other files in OUT/hook into the stage: artifacts of other
// builds and the user's own files, without signatures of checksums.txt.
func (s *Stage) keepOthers(dropped []string) error {
	final := s.final()
	madeAnew := []string{ChecksumsFile, ManifestFile, SBOMFile, ProvenanceFile}
	entries, err := os.ReadDir(final)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the existing artifacts: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || slices.Contains(madeAnew, name) || strings.HasPrefix(name, ChecksumsFile+".") || slices.Contains(dropped, name) || slices.Contains(s.names, name) {
			continue
		}
		if err := os.Link(filepath.Join(final, name), s.Path(name)); err != nil {
			return fmt.Errorf("keeping the artifact %q: %w", name, err)
		}
		s.names = append(s.names, name)
	}
	return nil
}

// final returns the directory in which the artifacts appear.
func (s *Stage) final() string { return filepath.Join(s.out, filepath.Base(s.dir)) }

// Discard removes the stage: the artifacts if they were not published, else those
// that they replaced. It may be called more than once.
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
