package plan

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/internal/tarball"
	"hookbuild/internal/web"
	"hookbuild/kernel/source"
)

// sourceVersion returns the release in the Makefile of the given source. It
// must match the requested release, if any, and be of the flavor's series
// unless AcceptLost is set: a configuration belongs to a series.
func (p *Plan) sourceVersion(ctx context.Context) (source.Version, error) {
	r := p.Request
	v, named := nameVersion(r.Source)
	if !named || !isURL(r.Source) {
		var err error
		if v, err = p.readVersion(ctx); err != nil {
			return v, err
		}
	}
	switch {
	case v.Series() != r.Flavor.Series && !r.AcceptLost:
		return v, fault.Invalidf("reading the kernel's source %q: it is Linux %s, but the configuration of %s is for the series %s and may set options that it does not have; add --accept-lost to use it anyway", web.Show(r.Source), v, r.Flavor.ID, r.Flavor.Series)
	case r.PointRelease != "" && r.PointRelease != strconv.Itoa(v.Point):
		return v, fault.Usagef("reading the kernel's source %q: it is Linux %s, but KERNEL_POINT_RELEASE or --kernel-version requests %s.%s; omit that", web.Show(r.Source), v, r.Flavor.Series, r.PointRelease)
	}
	return v, nil
}

// nameVersion returns the release in a name of kernel.org's form. It is used
// for archives that are not fetched yet.
func nameVersion(name string) (source.Version, bool) {
	version, _, found := strings.Cut(strings.TrimPrefix(path.Base(name), "linux-"), ".tar")
	v, err := source.ParseVersion(version)
	return v, found && err == nil && strings.Count(version, ".") == 2
}

// readVersion reads the release from the source's Makefile. It fetches an
// archive that is on another machine.
func (p *Plan) readVersion(ctx context.Context) (source.Version, error) {
	text, err := p.makefile(ctx)
	var v source.Version
	if err == nil {
		v, err = makefileVersion(text)
	}
	if err != nil {
		return v, fault.Invalidf("reading the version of the kernel's source %q: %w", web.Show(p.Request.Source), err)
	}
	return v, nil
}

// mostMakefile limits the size of the kernel's Makefile, which is 70 KB.
const mostMakefile = 4 << 20

// makefile reads the source's top Makefile.
func (p *Plan) makefile(ctx context.Context) ([]byte, error) {
	if isDir(p.Request.Source) {
		return bounded.ReadFile(filepath.Join(p.Request.Source, "Makefile"), mostMakefile)
	}
	if err := p.fetchArchive(ctx); err != nil {
		return nil, err
	}
	return makefileIn(ctx, p.archive.Path)
}

// fetchArchive opens the archive that Source names, once.
func (p *Plan) fetchArchive(ctx context.Context) (err error) {
	if p.archive == nil {
		p.archive, err = p.Request.archive(ctx)
	}
	return err
}

// archive opens the archive that Source names.
func (r Request) archive(ctx context.Context) (*source.Archive, error) {
	if isURL(r.Source) {
		return source.FromURL(ctx, r.Source, r.SHA256, r.Download)
	}
	return source.FromFile(ctx, r.Source, r.SHA256)
}

// makefileIn reads the file Makefile in the top directory of an archive.
func makefileIn(ctx context.Context, name string) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffered := bufio.NewReader(f)
	if magic, _ := buffered.Peek(3); string(magic) == "BZh" { // too short: not bzip2
		return findMakefile(ctx, bzip2.NewReader(buffered))
	}
	plain, err := tarball.Decompress(buffered)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	return findMakefile(ctx, plain)
}

func findMakefile(ctx context.Context, plain io.Reader) ([]byte, error) {
	files := tar.NewReader(plain)
	for ctx.Err() == nil {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it has no Makefile in a single top directory, so it is not a Linux source")
		}
		if err != nil {
			return nil, fmt.Errorf("it is not a tar archive that can be read: %w", err)
		}
		dir, file := path.Split(path.Clean(header.Name))
		if file == "Makefile" && strings.Count(dir, "/") == 1 {
			return io.ReadAll(io.LimitReader(files, mostMakefile))
		}
	}
	return nil, ctx.Err()
}

// makefileVersion reads VERSION, PATCHLEVEL and SUBLEVEL.
func makefileVersion(text []byte) (source.Version, error) {
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, "="); found && len(values) < 3 {
			switch key = strings.TrimSpace(key); key {
			case "VERSION", "PATCHLEVEL", "SUBLEVEL":
				values[key] = strings.TrimSpace(value)
			}
		}
	}
	v, err := source.ParseVersion(values["VERSION"] + "." + values["PATCHLEVEL"] + "." + values["SUBLEVEL"])
	if err != nil {
		return v, errors.New("its Makefile has no VERSION, PATCHLEVEL and SUBLEVEL, so it is not a Linux source")
	}
	return v, nil
}
