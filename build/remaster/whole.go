package remaster

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

	"hookbuild/build/artifact"
	"hookbuild/embed"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/kernel"
	"hookbuild/kernel/flavor"
	"hookbuild/linuxkit/size"
)

// Whole describes a whole result: the kernel of an existing HookOS, its initramfs
// with images added, checksums, manifest and tarball.
type Whole struct {
	// Base is the directory of the HookOS: OUT/hook, OUT, or an unpacked
	// release.
	Base string
	// Arch (x86_64, aarch64) chooses one if the directory has several. Empty means
	// that there is only one.
	Arch string
	// Request describes the images. EmbedWhole sets Initramfs and Vmlinuz.
	Request
	// Out is the output directory. The artifacts appear in OUT/hook.
	Out string
	// About writes what is written about the result; nil for nothing.
	About artifact.About
}

// WholeResult is what was published, and the RAM that it needs to boot.
type WholeResult struct {
	artifact.Published
	Memory embed.Memory
}

const (
	vmlinuzPrefix   = "vmlinuz-"
	initramfsPrefix = "initramfs-"
)

// Pair is the kernel and the initramfs of a HookOS.
type Pair struct {
	Dir string
	// ID is the end of both names.
	ID string
}

// Vmlinuz returns the path of the kernel.
func (p Pair) Vmlinuz() string { return filepath.Join(p.Dir, vmlinuzPrefix+p.ID) }

// Initramfs returns the path of the initramfs.
func (p Pair) Initramfs() string { return filepath.Join(p.Dir, initramfsPrefix+p.ID) }

// FindPair finds the kernel and the initramfs in a directory or in its
// subdirectory "hook". Arch (x86_64, aarch64) chooses one pair of several; if it is
// empty, fallback does, and if that is empty too, several are an error. The pair named
// by the architecture alone is returned under the names that it links to.
func FindPair(dir, arch, fallback string) (Pair, error) {
	var halves []error
	for _, candidate := range []string{dir, filepath.Join(dir, artifact.DefaultName)} {
		entries, err := os.ReadDir(candidate)
		switch {
		case err == nil:
		case candidate != dir && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)):
			continue
		case isFile(dir):
			return Pair{}, notDirectory(dir)
		default:
			return Pair{}, fault.Invalidf("looking for a HookOS: %w; name the directory that has its vmlinuz-ID and initramfs-ID", err)
		}
		ids, half := pairsIn(candidate, entries)
		if len(ids) > 0 {
			return choose(candidate, ids, arch, fallback)
		}
		if half != nil {
			halves = append(halves, half)
		}
	}
	if len(halves) > 0 {
		return Pair{}, halves[0]
	}
	return Pair{}, fault.Invalidf("looking for a HookOS in %q: it has no vmlinuz-ID with an initramfs-ID; build them with `hookbuild all`, or name their directory", dir)
}

// pairsIn returns the IDs of the pairs in a directory. Half is the error about a file
// whose other half is not there.
func pairsIn(dir string, entries []fs.DirEntry) (ids []string, half error) {
	for _, e := range entries {
		for _, kind := range [][2]string{{vmlinuzPrefix, initramfsPrefix}, {initramfsPrefix, vmlinuzPrefix}} {
			mine, other := kind[0], kind[1]
			id, ok := strings.CutPrefix(e.Name(), mine)
			switch {
			case !ok:
			case !isFile(filepath.Join(dir, other+id)):
				half = fault.Invalidf("looking for a HookOS in %q: it has %s, but not %s; put that beside it, or build both with `hookbuild all`", dir, e.Name(), other+id)
			case mine == vmlinuzPrefix:
				ids = append(ids, id)
			}
		}
	}
	return ids, half
}

// notDirectory returns the error about a file in the place of a directory.
func notDirectory(file string) error {
	dir, base := filepath.Split(file)
	id, isInitramfs := strings.CutPrefix(base, initramfsPrefix)
	if !isInitramfs {
		return fault.Invalidf("looking for a HookOS: %q is a file; name the directory that has vmlinuz-ID and initramfs-ID, or an initramfs alone with --initramfs FILE -o OUT", file)
	}
	there := "which has " + vmlinuzPrefix + id + " too"
	if !isFile(filepath.Join(dir, vmlinuzPrefix+id)) {
		there = "where " + vmlinuzPrefix + id + " is not beside it yet"
	}
	return fault.Invalidf("looking for a HookOS: %q is an initramfs alone; use it with --initramfs %[1]s -o OUT, or name its directory %q, %s", file, filepath.Clean(dir+"."), there)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func choose(dir string, ids []string, arch, fallback string) (Pair, error) {
	if arch == "" && len(ids) > 1 {
		if pair, err := chooseArch(dir, ids, ""); err == nil || fallback == "" {
			return pair, err
		}
		arch = fallback
	}
	return chooseArch(dir, ids, arch)
}

func chooseArch(dir string, ids []string, arch string) (Pair, error) {
	var last []string // the architectures of the pairs that were built last
	for _, a := range []string{flavor.X86_64, flavor.AArch64} {
		if slices.Contains(ids, a) && (arch == "" || a == arch) {
			last = append(last, a)
		}
	}
	if len(last) == 1 {
		return Pair{dir, fullID(dir, ids, last[0])}, nil
	}
	of := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !strings.HasSuffix(id, arch) })
	switch {
	case len(last) == 0 && len(of) == 1:
		return Pair{dir, of[0]}, nil
	case len(of) == 0:
		return Pair{}, fault.Usagef("looking for a HookOS in %q: it has no pair for %s, but %s; choose another --arch", dir, arch, strings.Join(ids, ", "))
	}
	return Pair{}, fault.Usagef("looking for a HookOS in %q: it has the pairs %s; choose with --arch, or name the files of one", dir, strings.Join(ids, ", "))
}

// fullID returns the ID whose files the pair named by the architecture links to.
func fullID(dir string, ids []string, arch string) string {
	link, err := os.Stat(Pair{dir, arch}.Initramfs())
	if err != nil {
		return arch
	}
	for _, id := range ids {
		if info, err := os.Stat(Pair{dir, id}.Initramfs()); id != arch && err == nil && os.SameFile(info, link) {
			return id
		}
	}
	return arch
}

// EmbedWhole adds images to a HookOS and publishes the whole result.
func (e *Editor) EmbedWhole(ctx context.Context, w Whole) (_ *WholeResult, err error) {
	pair, err := FindPair(w.Base, w.Arch, "")
	if err != nil {
		return nil, err
	}
	w.Initramfs, w.Vmlinuz = pair.Initramfs(), pair.Vmlinuz()
	b, err := e.describeBase(ctx, pair)
	if err != nil {
		return nil, err
	}
	w.DockerArch = map[string]string{flavor.X86_64: "amd64", flavor.AArch64: "arm64"}[b.Arch]
	j, err := e.begin(ctx, w.Request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	b.Base.Initramfs.Digest = j.digest
	return j.publish(ctx, w, pair, b)
}

// describeBase returns the beginning of the result's manifest entry, from the
// base's manifest.
func (e *Editor) describeBase(ctx context.Context, pair Pair) (_ artifact.Build, err error) {
	k, err := kernel.FromParts(ctx, pair.Vmlinuz(), nil)
	if err != nil {
		return artifact.Build{}, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	b := artifact.Build{Kernel: &artifact.Kernel{Source: "base", Release: k.Release}}
	m, err := artifact.ReadManifest(filepath.Join(pair.Dir, artifact.ManifestFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	for _, old := range m.Builds {
		if slices.ContainsFunc(old.Artifacts, func(f artifact.File) bool { return f.Name == initramfsPrefix+pair.ID }) {
			b.Flavor, b.Template, b.Images, b.Options = old.Flavor, old.Template, old.Images, old.Options
			b.Overlays, b.Site, b.Files = old.Overlays, old.Site, old.Files
			if old.Kernel != nil {
				b.Kernel = old.Kernel
			}
		}
	}
	sum, err := digest.OfFile(ctx, pair.Vmlinuz())
	if err != nil {
		return b, fmt.Errorf("reading the kernel: %w", err)
	}
	if b.Kernel.Digest == "" {
		b.Kernel.Digest = sum
	}
	b.ID, b.Arch, b.Hookbuild = pair.ID, k.Arch, e.Version
	b.Base = &artifact.Base{
		Kernel:    artifact.Input{Name: vmlinuzPrefix + pair.ID, Digest: sum},
		Initramfs: artifact.Input{Name: initramfsPrefix + pair.ID},
	}
	return b, nil
}

func (j *job) publish(ctx context.Context, w Whole, pair Pair, b artifact.Build) (_ *WholeResult, err error) {
	task := progress.Start(j.Progress, 0, "publish the artifacts in %s", w.Out)
	defer func() { err = task.End(err, "") }()
	stage, err := artifact.NewStage(w.Out, artifact.DefaultName)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stage.Discard()) }()
	stage.Task = task
	if err := j.writeWhole(ctx, stage, pair, b.Arch); err != nil {
		return nil, err
	}
	if b.Artifacts, err = stage.Artifacts(ctx); err != nil {
		return nil, err
	}
	b.Bundle, b.Worker, b.Embedded, b.Options = j.set.BundleRecord(), j.set.WorkerRecord(), j.set.Records(), j.options(b)
	b.Size = &size.Report{Compressed: j.memory().Compressed, Unpacked: j.memory().Unpacked, RAM: j.memory().Unpacked}
	tarball := artifact.TarballName(artifact.DefaultName, b.ID)
	published, err := stage.Publish(ctx, tarball, b, w.About)
	if err != nil {
		return nil, err
	}
	published.WarnReplaced(j.Progress)
	return &WholeResult{published, j.memory()}, nil
}

func (j *job) writeWhole(ctx context.Context, s *artifact.Stage, pair Pair, arch string) error {
	copyOf := func(path string) func(io.Writer) error {
		return func(w io.Writer) (err error) {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			_, err = io.Copy(w, f)
			return err
		}
	}
	kinds := []string{vmlinuzPrefix, initramfsPrefix}
	if err := s.Write(vmlinuzPrefix+pair.ID, copyOf(pair.Vmlinuz())); err != nil {
		return err
	}
	err := s.Write(initramfsPrefix+pair.ID, func(w io.Writer) error { return j.write(ctx, unsynced{w}) })
	if err != nil {
		return err
	}
	for _, more := range []string{artifact.CmdlinePrefix + pair.ID, "dtbs-" + pair.ID + ".tar.gz"} {
		if path := filepath.Join(pair.Dir, more); isFile(path) {
			if err := s.Write(more, copyOf(path)); err != nil {
				return err
			}
			if more == artifact.CmdlinePrefix+pair.ID {
				kinds = append(kinds, artifact.CmdlinePrefix)
			}
		}
	}
	for _, kind := range kinds {
		if err := s.Link(kind+arch, kind+pair.ID); err != nil {
			return err
		}
	}
	return nil
}

// unsynced is a writer to a file that the stage syncs.
type unsynced struct{ io.Writer }

// Sync implements [syncWriter].
func (unsynced) Sync() error { return nil }

// options returns the base's options with those of the embedding.
func (j *job) options(b artifact.Build) map[string]string {
	all := map[string]string{"outputID": b.ID}
	for name, value := range b.Options {
		all[name] = value
	}
	all["compression"], all["level"] = string(j.Segment.Compression), fmt.Sprint(j.Segment.Level)
	all["layout"], all["packCompression"], all["packBlock"] = string(j.Layout), string(j.Packing.Compression), fmt.Sprint(j.Packing.BlockSize)
	return all
}
