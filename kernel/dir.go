package kernel

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
)

// dirSource reads a directory.
func dirSource() source {
	return source{
		names: []string{"dir"}, forms: []string{"dir:DIR"},
		pin: func(ctx context.Context, _, rest string, o OpenOptions) (*Pinned, error) {
			m, err := fromDir(ctx, rest, o.Options)
			if err != nil {
				return nil, err
			}
			return &Pinned{Files: []PinnedFile{{rest, m.Digest}}, IsDir: true}, m.Close()
		},
		arches: dirArches,
		open: func(ctx context.Context, _, rest string, o OpenOptions) (*Image, error) {
			return fromDir(ctx, rest, o.Options)
		},
	}
}

// fromDir reads a kernel from a directory in one of two forms:
//
//   - the output of make install, modules_install and dtbs_install: one file
//     named vmlinuz*, bzImage, Image, Image.gz or kernel (also in boot/),
//     lib/modules or usr/lib/modules, and optionally dtbs/, config* and
//     System.map*; without such a file, the vmlinuz in lib/modules/RELEASE;
//   - the files of a kernel image: kernel, kernel.tar, dtbs.tar.gz and so on.
//
// The files are read when they are used and must not change meanwhile.
func fromDir(ctx context.Context, dir string, o Options) (*Image, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, invalid("reading a kernel from a directory: %w", err)
	}
	m := &Image{Modules: &initramfs.Tree{}, DTBs: &initramfs.Tree{}, Source: "dir:" + dir, files: []io.Closer{root}}
	err = m.fillFromDir(ctx, root, dir, o)
	if err == nil {
		err = m.complete(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Image) fillFromDir(ctx context.Context, root *os.Root, dir string, o Options) error {
	files, err := dirTree(ctx, root, dir)
	if err != nil {
		return fmt.Errorf("reading the directory %q: %w", dir, err)
	}
	m.root = files
	if m.Digest, err = contentDigest(ctx, files); err != nil {
		return err
	}
	if _, packed := files.Lookup(ociModules); packed {
		return m.fillFromParts(ctx, files, o)
	}
	return m.fillFromInstalled(files)
}

// fillFromInstalled reads the output of the kernel's make install.
func (m *Image) fillFromInstalled(files *initramfs.Tree) error {
	var kernels []string
	for e := range files.All() {
		if isKernelName(e) {
			kernels = append(kernels, e.Path)
			m.Kernel = *renamed(e, ociKernel)
		}
		if err := m.addDirFile(e); err != nil {
			return err
		}
	}
	if len(kernels) == 0 && m.Kernel.Path != "" {
		return nil
	}
	if len(kernels) != 1 {
		return invalid("reading a kernel from %q: the directory must have one of vmlinuz, bzImage, Image or kernel, but it has %s", m.Source, listOr(kernels, "none"))
	}
	return nil
}

// dirTree lists the files of a directory.
func dirTree(ctx context.Context, root *os.Root, dir string) (*initramfs.Tree, error) {
	files := &initramfs.Tree{}
	return files, fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := dirEntry(root, name, d, dir)
		if err != nil || e.Path == "" {
			return err
		}
		return files.Add(e)
	})
}

func listOr(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, ", ")
}

// isKernelName reports whether a file is the kernel, judging by its directory
// and name.
func isKernelName(e initramfs.Entry) bool {
	base := strings.TrimPrefix(e.Path, "boot/")
	if e.Type != initramfs.Regular || strings.Contains(base, "/") {
		return false
	}
	return base == "kernel" || base == "bzImage" || base == "Image" || base == "Image.gz" || strings.HasPrefix(base, "vmlinuz")
}

func (m *Image) addDirFile(e initramfs.Entry) error {
	if name, ok := besideModules(e); ok {
		return m.addBeside(name, e)
	}
	base := strings.TrimPrefix(e.Path, "boot/")
	switch {
	case e.Type == initramfs.Regular && (base == ociConfig || strings.HasPrefix(base, "config-") && !strings.Contains(base, "/")):
		m.Config = renamed(e, ociConfig)
	case e.Type == initramfs.Regular && strings.HasPrefix(base, ociSystemMap) && !strings.Contains(base, "/"):
		m.SystemMap = renamed(e, ociSystemMap)
	case strings.HasPrefix(e.Path, "dtbs/"):
		e.Path = strings.TrimPrefix(e.Path, "dtbs/")
		return m.DTBs.Add(e)
	}
	return addModule(m.Modules, e)
}

// dirEntry returns the entry for one file. It is owned by root and has plain
// permissions, because those of a user's directory mean nothing in a system.
func dirEntry(root *os.Root, name string, d fs.DirEntry, origin string) (initramfs.Entry, error) {
	if name == "." {
		return initramfs.Entry{}, nil
	}
	info, err := d.Info()
	if err != nil {
		return initramfs.Entry{}, err
	}
	e := initramfs.Entry{Path: filepath.ToSlash(name), ModTime: info.ModTime(), Origin: origin, Mode: 0o644}
	switch info.Mode().Type() {
	case 0:
		e.Size = info.Size()
		e.Open = func() (io.ReadCloser, error) { return root.Open(name) }
	case fs.ModeDir:
		e.Type, e.Mode = initramfs.Dir, 0o755
	case fs.ModeSymlink:
		e.Type, e.Mode = initramfs.Symlink, 0o777
		e.Target, err = root.Readlink(name)
	default:
		return e, invalid("%q is a %s, which a kernel's directory cannot contain", name, info.Mode().Type())
	}
	return e, err
}

// contentDigest hashes the names and contents of all files.
func contentDigest(ctx context.Context, files *initramfs.Tree) (string, error) {
	h := sha256.New()
	for e := range files.All() {
		fmt.Fprintf(h, "%s\x00%d\x00%s\x00%d\x00", e.Path, e.Type, e.Target, e.Size)
		if err := initramfs.CopyContent(ctx, h, e); err != nil {
			return "", err
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// openDirTree returns all files of a directory as a tree, for use as firmware.
func openDirTree(ctx context.Context, dir string) (*initramfs.Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, invalid("reading the directory: %w", err)
	}
	files, err := dirTree(ctx, root, dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the directory %q: %w", dir, err), root.Close())
	}
	return files, nil
}

// writeDir writes the files of a directory that has no subdirectories as a tar
// archive.
func writeDir(ctx context.Context, w io.Writer, dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	files, err := dirTree(ctx, root, dir)
	if err != nil {
		return err
	}
	return writeTree(ctx, w, files, initramfs.Epoch())
}

// unpackDir unpacks an archive of [writeDir] into dir, which appears complete or
// not at all.
func unpackDir(archive io.Reader, dir string) error {
	in := tar.NewReader(archive)
	return atomicfile.ReplaceDir(dir, func(part string) error {
		for {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if h.Typeflag == tar.TypeDir {
				continue
			}
			if err := unpackFile(part, h, in); err != nil {
				return err
			}
		}
	})
}

func unpackFile(dir string, h *tar.Header, content io.Reader) (err error) {
	name := strings.TrimPrefix(h.Name, "./")
	if h.Typeflag != tar.TypeReg || tarball.IsSparse(h) || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\") {
		return invalid("%q is no file of a compiled kernel", h.Name)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.CopyN(f, content, h.Size)
	return err
}
