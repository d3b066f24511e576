package verify

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"hookbuild/build/artifact"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	archive "hookbuild/internal/tarball"
)

// checkTarballs checks the tarball of each build that is next to the directory. A
// directory that was copied elsewhere has none, which is not a problem.
func (v *verifier) checkTarballs(ctx context.Context) error {
	dir, err := filepath.Abs(v.dir)
	if err != nil {
		return fmt.Errorf("looking for the tarballs: %w", err)
	}
	for _, b := range v.listing.builds {
		if b.Tarball == nil {
			continue
		}
		path := filepath.Join(filepath.Dir(dir), b.Tarball.Name)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !info.Mode().IsRegular() {
			v.wrong(b.Tarball.Name, "it is not a regular file; remove it, and build it again")
			continue
		}
		task := v.start(info.Size(), "check %s", b.Tarball.Name)
		err = v.during(task, func() error { return v.take(ctx, b.Tarball.Name, v.checkTarball(ctx, task, path, b)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// checkTarball compares a tarball and its contents with the manifest.
func (v *verifier) checkTarball(ctx context.Context, task *progress.Task, path string, b artifact.Build) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.Mark(err, fault.Invalid)
	}
	defer f.Close() // only read
	h := sha512.New()
	raw := ctxio.Reader(ctx, io.TeeReader(task.Reader(f), h))
	in, err := readTarball(raw)
	if err == nil {
		in.check(b, func(format string, args ...any) { v.wrong(b.Tarball.Name, format, args...) })
	}
	size, rest := f.Seek(0, io.SeekCurrent)
	if rest == nil {
		var n int64
		n, rest = io.Copy(io.Discard, raw)
		size += n
	}
	if rest != nil {
		return fault.Mark(rest, fault.Invalid)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	v.report.Tarballs = append(v.report.Tarballs, artifact.File{Name: b.Tarball.Name, Size: size, SHA512: sum})
	if err == nil && (size != b.Tarball.Size || !strings.EqualFold(sum, b.Tarball.SHA512)) {
		err = invalid("it has %d bytes and the SHA-512 checksum %.16s..., unlike in %s: it is older or newer than the directory, or damaged; build it again", size, sum, artifact.ManifestFile)
	}
	return fault.Mark(err, fault.Invalid)
}

// tarball is the contents of a tarball.
type tarball struct {
	members  map[string]artifact.File // by name, without the two listings
	sums     string                   // of checksums.txt
	manifest artifact.Manifest
}

func readTarball(r io.Reader) (*tarball, error) {
	zr, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("unpacking it: %w; build it again", err)
	}
	in := &tarball{members: map[string]artifact.File{}}
	for tr := tar.NewReader(zr); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = in.add(header, tr)
		}
		if err != nil {
			return nil, fmt.Errorf("unpacking it: %w; build it again", err)
		}
	}
	if _, err := io.Copy(io.Discard, zr); err != nil { // the stream's checksum is at its end
		return nil, fmt.Errorf("unpacking it: %w; build it again", err)
	}
	return in, nil
}

func (t *tarball) add(header *tar.Header, r io.Reader) error {
	name := header.Name
	if _, twice := t.members[name]; twice || !artifact.IsPlain(name) || header.Typeflag != tar.TypeReg || archive.IsSparse(header) {
		return fmt.Errorf("%q does not belong in it", name)
	}
	if name != artifact.ChecksumsFile && name != artifact.ManifestFile {
		f, err := artifact.Sum(name, r)
		t.members[name] = f
		return err
	}
	text, err := io.ReadAll(io.LimitReader(r, largestListing))
	if err != nil {
		return err
	}
	if name == artifact.ChecksumsFile {
		t.sums = string(text)
		return nil
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&t.manifest); err != nil {
		return fmt.Errorf("reading its %s: %w", name, err)
	}
	return nil
}

// check compares the members with the manifest next to the tarball and with the
// tarball's own.
func (t *tarball) check(b artifact.Build, wrong func(format string, args ...any)) {
	for _, want := range b.Artifacts {
		got, there := t.members[want.Name]
		if there && (got.Size != want.Size || !strings.EqualFold(got.SHA512, want.SHA512)) {
			wrong("the %s in it is not the one in the directory; build it again", want.Name)
		}
	}
	if len(t.manifest.Builds) != 1 || t.manifest.Builds[0].ID != b.ID {
		wrong("its %s does not describe the build %s; build it again", artifact.ManifestFile, b.ID)
		return
	}
	own := t.manifest.Builds[0].Artifacts
	for _, want := range own {
		got, there := t.members[want.Name]
		line := fmt.Sprintf("%s  %s\n", want.SHA512, want.Name)
		switch {
		case !there:
			wrong("it lacks %s, which its own %s lists; build it again", want.Name, artifact.ManifestFile)
		case got.SHA512 != want.SHA512:
			wrong("the %s in it is not the one that its own %s lists; build it again", want.Name, artifact.ManifestFile)
		case !strings.Contains(t.sums, line):
			wrong("its %s does not list the %s in it; build it again", artifact.ChecksumsFile, want.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.members)) {
		if !slices.ContainsFunc(own, func(f artifact.File) bool { return f.Name == name }) {
			wrong("%s in it is not listed by its own %s; build it again", name, artifact.ManifestFile)
		}
	}
}
