package driver

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"hookbuild/internal/ctxio"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
	"hookbuild/kernel/deb"
)

// The largest drivers' sources have 150 MB in 20 000 files.
const (
	mostBytes = 1 << 30
	mostFiles = 100_000
)

func lower(text string) string { return strings.ToLower(text) }

// fill reads the source's files into the tree and returns what identifies their
// content.
func (d *Driver) fill(ctx context.Context, s Spec, o Options) (content string, err error) {
	if !web.IsURL(s.Source) {
		info, err := os.Stat(s.Source)
		if err != nil {
			return "", fault.Mark(err, fault.Invalid)
		}
		if info.IsDir() {
			return d.fillFromDir(ctx, s)
		}
	}
	f, sum, err := s.fetched(ctx, o)
	if err != nil {
		return "", err
	}
	d.files = append(d.files, f)
	plain, err := plainTar(ctx, f, sum, o)
	if err != nil {
		return "", err
	}
	d.files = append(d.files, plain)
	entries, err := tarball.Entries(plain, plain.Size(), d.Origin)
	if err != nil {
		return "", err
	}
	return sum, d.addArchive(entries)
}

// plainTar returns the uncompressed archive of f, or that inside a package, from
// the cache.
func plainTar(ctx context.Context, f fetch.File, sum string, o Options) (fetch.File, error) {
	plain, _, err := o.Cache.Derived(ctx, "kernels", digest.OfStrings("module source v1", sum), func(w io.Writer) error {
		r, err := decompress(ctx, f)
		if err != nil {
			return err
		}
		defer r.Close()
		n, err := io.Copy(w, io.LimitReader(r, 2*mostBytes))
		if err == nil && n == 2*mostBytes {
			err = tooLarge()
		}
		return err
	})
	return plain, err
}

func tooLarge() error {
	return fault.Invalidf("it has more than %s or %d files, which no driver's source has", words.Bytes(mostBytes), mostFiles)
}

// decompress returns the uncompressed archive of a file, which may be a Debian
// package.
func decompress(ctx context.Context, f fetch.File) (io.ReadCloser, error) {
	start := make([]byte, 8)
	if _, err := f.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	all := io.NewSectionReader(ctxio.ReaderAt(ctx, f), 0, f.Size())
	switch {
	case bytes.HasPrefix(start, []byte("!<arch>\n")):
		p, err := deb.Open(f, f.Size(), "it")
		if err != nil {
			return nil, err
		}
		return p.Data(ctx)
	case bytes.HasPrefix(start, []byte("BZh")):
		return io.NopCloser(bzip2.NewReader(bufio.NewReader(all))), nil
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return nil, fault.Invalidf("it is a zip archive; unpack it and name the directory, or use a tar archive")
	}
	return tarball.Decompressor{Most: 2 * mostBytes}.Open(all)
}

// addArchive adds the files of an archive. A single top directory, and the
// directories in which Debian's packages keep a source, are left out.
func (d *Driver) addArchive(entries []initramfs.Entry) error {
	whole := &initramfs.Tree{}
	for _, e := range entries {
		if err := whole.Add(e); err != nil {
			return fault.Mark(err, fault.Invalid)
		}
	}
	top, err := topOf(whole)
	if err != nil {
		return err
	}
	var size int64
	for e := range whole.All() {
		below, inside := strings.CutPrefix(e.Path, top)
		if !inside || e.Type == initramfs.HardLink && !strings.HasPrefix(e.Target, top) {
			continue
		}
		e.Path, e.Target = below, strings.TrimPrefix(e.Target, top)
		if size += e.Size; size > mostBytes || d.Tree.Len() >= mostFiles {
			return tooLarge()
		}
		if err := d.add(e); err != nil {
			return err
		}
	}
	return nil
}

// add adds one file with an owner and permissions that mean something in the
// container.
func (d *Driver) add(e initramfs.Entry) error {
	switch e.Type {
	case initramfs.Regular, initramfs.Dir, initramfs.Symlink, initramfs.HardLink:
	default:
		return fault.Invalidf("%q is a %s; a source has only files, directories and links", e.Path, e.Type)
	}
	e.UID, e.GID, e.Xattrs = 0, 0, nil
	e.Mode = 0o644 | e.Mode&0o100 | e.Mode&0o100>>3 | e.Mode&0o100>>6
	if e.Type == initramfs.Dir {
		e.Mode = 0o755
	}
	return fault.Mark(d.Tree.Add(e), fault.Invalid)
}

// topOf returns the prefix of the source's files in an archive: "ice-1.14.9/",
// or "usr/src/v4l2loopback-0.12.7/" of a package.
func topOf(whole *initramfs.Tree) (string, error) {
	tops, sources, files := map[string]bool{}, map[string]bool{}, 0
	for e := range whole.All() {
		top, _, below := strings.Cut(e.Path, "/")
		if tops[top] = true; !below && e.Type != initramfs.Dir {
			files++
		}
		if rest, inside := strings.CutPrefix(e.Path, "usr/src/"); inside {
			name, _, _ := strings.Cut(rest, "/")
			sources[name] = true
		}
	}
	switch {
	case whole.Len() == 0:
		return "", fault.Invalidf("the archive is empty")
	case len(sources) > 1:
		return "", fault.Invalidf("it has several sources in usr/src; unpack it and name one of the directories")
	case len(sources) == 1:
		for name := range sources {
			return "usr/src/" + name + "/", nil
		}
	case len(tops) == 1 && files == 0:
		for name := range tops {
			return name + "/", nil
		}
	}
	return "", nil
}

// fillFromDir reads a directory. It leaves out .git and what earlier builds
// made there: make would take that for the result.
func (d *Driver) fillFromDir(ctx context.Context, s Spec) (content string, err error) {
	if s.SHA256 != "" {
		return "", fault.Usagef("a directory has no sha256; omit it")
	}
	root, err := os.OpenRoot(s.Source)
	if err != nil {
		return "", fault.Mark(err, fault.Invalid)
	}
	d.files = append(d.files, root)
	h := sha256.New()
	var size int64
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case entry.IsDir() && (entry.Name() == ".git" || strings.HasPrefix(entry.Name(), ".tmp_")):
			return fs.SkipDir
		case name == "." || isMade(root, name):
			return nil
		}
		e, err := dirEntry(root, name, entry)
		if err != nil {
			return err
		}
		if size += e.Size; size > mostBytes || d.Tree.Len() >= mostFiles {
			return tooLarge()
		}
		if err := d.add(e); err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %d %o %q %d\n", e.Path, e.Type, e.Mode&0o100, e.Target, e.Size)
		if e.Type != initramfs.Regular {
			return nil
		}
		return initramfs.CopyContent(ctx, h, e)
	})
	if err != nil {
		return "", err
	}
	return "dir:" + hex.EncodeToString(h.Sum(nil)), nil
}

// isMade reports whether a file is a product of an earlier build there: the
// kernel's makefiles keep the command that made x.o in .x.o.cmd.
func isMade(root *os.Root, name string) bool {
	dir, base := path.Split(name)
	switch {
	case base == "Module.symvers" || base == "modules.order" || strings.HasPrefix(base, ".") && strings.HasSuffix(base, ".cmd"):
		return true
	case strings.HasSuffix(base, ".mod.c"), strings.HasSuffix(base, ".mod"):
		base = strings.TrimSuffix(strings.TrimSuffix(base, ".c"), ".mod") + ".ko"
	}
	_, err := root.Lstat(filepath.FromSlash(dir + "." + base + ".cmd"))
	return err == nil
}

func dirEntry(root *os.Root, name string, d fs.DirEntry) (initramfs.Entry, error) {
	info, err := d.Info()
	if err != nil {
		return initramfs.Entry{}, err
	}
	e := initramfs.Entry{Path: filepath.ToSlash(name), ModTime: info.ModTime(), Mode: uint32(info.Mode().Perm()), Origin: root.Name()}
	switch info.Mode().Type() {
	case 0:
		e.Size = info.Size()
		e.Open = func() (io.ReadCloser, error) { return root.Open(name) }
	case fs.ModeDir:
		e.Type = initramfs.Dir
	case fs.ModeSymlink:
		e.Type = initramfs.Symlink
		e.Target, err = root.Readlink(name)
	case fs.ModeNamedPipe:
		e.Type = initramfs.Fifo
	case fs.ModeSocket:
		e.Type = initramfs.Socket
	default:
		e.Type = initramfs.CharDevice
	}
	return e, err
}
