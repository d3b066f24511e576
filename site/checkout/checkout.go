// Package checkout fetches a Hook checkout as an archive, without git: the
// .tar.gz that GitHub, Gitea and Forgejo make of a commit, or one that a site
// keeps.
//
//	Source -> archive (cache, checksum) -> directory in the cache, compared with the archive each time
//
// What is left out on purpose: git's protocol, branches and tags, and archives
// behind a login.
package checkout

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/tarball"
	"hookbuild/internal/unpack"
	"hookbuild/internal/web"
)

// Source says which archive to fetch.
type Source struct {
	// Archive is a path or URL. It is empty if URL and Commit say what to fetch:
	// a repository's page and all 40 digits of a commit.
	Archive, URL, Commit string
	// SHA256 is the archive's checksum in hex; empty means that it is not known.
	SHA256 string
}

// Checkout is a fetched one.
type Checkout struct {
	Dir    string
	SHA256 string // of the archive, in hex
}

// most bounds the unpacked archive: Hook has 2 MB.
const most = 256 << 20

// address returns what to open, with the checksum that pins it.
func (s Source) address() string {
	address := s.Archive
	if address == "" {
		address = strings.TrimSuffix(strings.TrimSuffix(s.URL, "/"), ".git") + "/archive/" + s.Commit + ".tar.gz"
	}
	if s.SHA256 != "" && web.IsURL(address) {
		address += "#sha256=" + s.SHA256
	}
	return address
}

// String returns the address in a form that may be shown.
func (s Source) String() string { return web.Show(s.address()) }

// Fetch returns the checkout in a directory below o.Cache. The files are those
// of the archive: what differs is written anew.
func Fetch(ctx context.Context, s Source, o fetch.Options) (*Checkout, error) {
	archive, err := fetch.Open(ctx, s.address(), o)
	if err != nil {
		return nil, fmt.Errorf("fetching the Hook checkout: %w; check the network and HTTPS_PROXY, or name a clone of it with --hook-dir", err)
	}
	defer archive.Close() // only read
	found, err := s.unpack(ctx, archive, o)
	if err != nil {
		return nil, fmt.Errorf("unpacking the Hook checkout %q: %w", s, err)
	}
	if s.SHA256 == "" && web.IsURL(s.address()) {
		progress.Notef(o.Progress, "the Hook checkout %s has no checksum in the file; pin it with `sha256: %s` below hook", s, found.SHA256)
	}
	return found, nil
}

func (s Source) unpack(ctx context.Context, archive fetch.File, o fetch.Options) (*Checkout, error) {
	sum, err := fetch.Digest(ctx, archive)
	if err != nil {
		return nil, err
	}
	sum = strings.TrimPrefix(sum, "sha256:")
	if s.SHA256 != "" && sum != s.SHA256 {
		return nil, fault.Invalidf("its sha256 is %s, and hook.sha256 is %s; check the file and the checksum", sum, s.SHA256)
	}
	plain, err := decompress(ctx, archive, o.Cache)
	if err != nil {
		return nil, err
	}
	defer plain.Close() // only read
	if s.Commit != "" && s.SHA256 == "" {
		if err := checkCommit(plain, s.Commit); err != nil {
			return nil, err
		}
	}
	entries, err := tarball.Entries(plain, plain.Size(), s.String())
	if err != nil {
		return nil, err
	}
	if entries, err = belowOne(entries); err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Cache.Dir(), "hook", sum[:16])
	if err := unpack.Provide(ctx, dir, entries, "the Hook checkout", o.Progress); err != nil {
		return nil, err
	}
	cache.MarkTree(dir)
	return &Checkout{Dir: dir, SHA256: sum}, nil
}

// decompress returns the archive as a plain tar, to be read in any order.
func decompress(ctx context.Context, archive fetch.File, store *cache.Cache) (*cache.File, error) {
	return store.Scratch(ctx, func(w io.Writer) error {
		r, err := tarball.Decompressor{Most: most}.Open(io.NewSectionReader(archive, 0, archive.Size()))
		if err != nil {
			return fault.Mark(err, fault.Invalid)
		}
		_, err = io.Copy(w, r)
		return fault.Mark(errors.Join(err, r.Close()), fault.Invalid)
	})
}

// checkCommit compares the commit with the one that git writes at the beginning
// of an archive.
func checkCommit(plain *cache.File, commit string) error {
	header, err := tar.NewReader(io.NewSectionReader(plain, 0, plain.Size())).Next()
	switch {
	case err != nil:
		return fault.Invalidf("it is not a tar archive: %w", err)
	case header.Typeflag != tar.TypeXGlobalHeader || header.PAXRecords["comment"] == "":
		return fault.Invalidf("it does not name the commit that it was made of; give its checksum with hook.sha256")
	case header.PAXRecords["comment"] != commit:
		return fault.Invalidf("it was made of commit %.40q; check hook.commit", header.PAXRecords["comment"])
	}
	return nil
}

// belowOne returns the entries relative to the one directory that all of them
// are in, as in the archives that git makes.
func belowOne(entries []initramfs.Entry) ([]initramfs.Entry, error) {
	var top string
	var below []initramfs.Entry
	for _, e := range entries {
		if e.Path == "" {
			continue // "./" itself
		}
		first, rest, _ := strings.Cut(e.Path, "/")
		switch {
		case top != "" && first != top || rest == "" && e.Type != initramfs.Dir:
			return nil, fault.Invalidf("its files are not all in one directory, as git archive --prefix=hook/ makes it")
		case e.Type != initramfs.Dir && e.Type != initramfs.Regular && e.Type != initramfs.Symlink:
			return nil, fault.Invalidf("%q is neither a file, a directory nor a symlink", e.Path)
		}
		top = first
		if rest != "" {
			e.Path = path.Clean(rest)
			below = append(below, e)
		}
	}
	if len(below) == 0 {
		return nil, fault.Invalidf("it has no files")
	}
	return below, nil
}
