package corpus

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"hookbuild/kernel/deb"
)

// PackageSource returns the files of Debian packages and of all that they depend
// on, for an architecture as Debian names it.
type PackageSource func(ctx context.Context, arch string, packages ...string) ([]string, error)

// shelf is a set of Debian packages.
type shelf struct {
	packages map[string]packageFile
}

type packageFile struct {
	path    string
	sum     string // sha256 of the file
	depends []string
}

// openShelf reads what the package files are and depend on.
func openShelf(files []string) (*shelf, error) {
	s := &shelf{packages: map[string]packageFile{}}
	for _, path := range files {
		if err := s.read(path); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *shelf) read(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading a package: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p, size, err := openDeb(f)
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
		return fmt.Errorf("reading the package %q: %w", path, err)
	}
	s.packages[p.Fields["Package"]] = packageFile{path, hex.EncodeToString(h.Sum(nil)), p.Depends()}
	return nil
}

func openDeb(f *os.File) (*deb.Package, int64, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("reading a package: %w", err)
	}
	p, err := deb.Open(f, info.Size(), f.Name())
	return p, info.Size(), err
}

// need lists the packages with what they depend on, as far as it is on the
// shelf and not among those that are there already; sorted.
func (s *shelf) need(already []string, packages ...string) []string {
	var found []string
	for rest := packages; len(rest) > 0; rest = rest[1:] {
		name := rest[0]
		p, ok := s.packages[name]
		if !ok || slices.Contains(found, name) || slices.Contains(already, name) {
			continue
		}
		found = append(found, name)
		rest = append(rest, p.depends...)
	}
	slices.Sort(found)
	return found
}

// unpacked is a layer of the packages' files.
func (s *shelf) unpacked(name, compression string, packages []string) recipe {
	r := recipe{name: name, compression: compression}
	for _, p := range packages {
		r.inputs = append(r.inputs, s.packages[p].sum)
	}
	r.stream = func(ctx context.Context, add func(file) error) error {
		have := map[string]bool{}
		for _, p := range packages {
			if err := addPackage(ctx, s.packages[p].path, have, add); err != nil {
				return err
			}
		}
		return nil
	}
	return r
}

// addPackage adds a package's files but those that are there already and its
// documentation.
func addPackage(ctx context.Context, path string, have map[string]bool, add func(file) error) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	p, _, err := openDeb(f)
	if err != nil {
		return err
	}
	data, err := p.Data(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	for t := tar.NewReader(data); ; {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("unpacking %q: %w", path, err)
		}
		if err := addMember(header, t, have, add); err != nil {
			return err
		}
	}
}

func addMember(h *tar.Header, content io.Reader, have map[string]bool, add func(file) error) error {
	name := merged(h.Name)
	if name == "" || have[name] || isDocumentation(name) {
		return nil
	}
	have[name] = true
	f := file{header: tar.Header{
		Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime,
	}}
	switch h.Typeflag {
	case tar.TypeDir:
		f.header.Name += "/"
	case tar.TypeLink:
		f.header.Linkname = merged(h.Linkname)
	case tar.TypeReg:
		f.open = func() (io.ReadCloser, error) { return io.NopCloser(content), nil }
	}
	return add(f)
}

// merged returns a package's path in a system whose /bin, /lib and so on are
// links into /usr, without leading and trailing slashes; "" is the root and
// those links themselves.
func merged(name string) string {
	name = strings.Trim(strings.TrimPrefix(name, "."), "/")
	for _, top := range []string{"bin", "sbin", "lib", "lib64"} {
		if name == top {
			return ""
		}
		if strings.HasPrefix(name, top+"/") {
			return "usr/" + name
		}
	}
	return name
}

func isDocumentation(name string) bool {
	for _, d := range []string{"usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/"} {
		if strings.HasPrefix(name+"/", d) {
			return true
		}
	}
	return false
}
