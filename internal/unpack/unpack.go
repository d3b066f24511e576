// Package unpack keeps directories whose files are those of an archive: what
// differs is written anew.
//
// Only files, directories and symlinks are written, and of their modes what git
// knows: whether a file is executable.
package unpack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// Provide makes dir hold exactly the entries. What names the directory's content
// in the warning about one that was changed, such as "the Hook checkout".
func Provide(ctx context.Context, dir string, entries []initramfs.Entry, what string, s progress.Sink) error {
	switch same, err := holds(ctx, dir, entries); {
	case err != nil:
		return err
	case same:
		return nil
	}
	if _, err := os.Lstat(dir); err == nil {
		progress.Warnf(s, "%s in %q was changed; it is written anew", what, dir)
	}
	return atomicfile.ReplaceDir(dir, func(part string) error { return write(ctx, part, entries) })
}

// write writes the entries below dir. Nothing is written through a symlink of
// theirs that leads out of it.
func write(ctx context.Context, dir string, entries []initramfs.Entry) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := filepath.FromSlash(e.Path)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		switch e.Type {
		case initramfs.Dir:
			err = root.MkdirAll(name, 0o755)
		case initramfs.Symlink:
			err = root.Symlink(e.Target, name)
		default:
			err = writeFile(root, name, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeFile(root *os.Root, name string, e initramfs.Entry) error {
	content, err := open(e)
	if err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, permissions(e))
	if err != nil {
		return errors.Join(err, content.Close())
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close(), content.Close())
}

// permissions are those that git knows.
func permissions(e initramfs.Entry) fs.FileMode {
	if e.Mode&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

func open(e initramfs.Entry) (io.ReadCloser, error) {
	if e.Open == nil {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return e.Open()
}

// holds reports whether dir has the entries and nothing else.
func holds(ctx context.Context, dir string, entries []initramfs.Entry) (bool, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, nil // it is written anew, which reports what is wrong
	}
	defer root.Close()
	expected := map[string]bool{".": true}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		for at := e.Path; at != "."; at = filepath.Dir(at) {
			expected[at] = true
		}
		if same, err := equal(root, e); err != nil || !same {
			return false, err
		}
	}
	unknown := errors.New("not of the archive")
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil && !expected[name] {
			err = fmt.Errorf("%q: %w", name, unknown)
		}
		return err
	})
	return err == nil, nil
}

// equal reports whether the file of an entry is as in the archive. The error is
// that of reading the archive.
func equal(root *os.Root, e initramfs.Entry) (bool, error) {
	name := filepath.FromSlash(e.Path)
	info, err := root.Lstat(name)
	if err != nil {
		return false, nil //nolint:nilerr // as in holds
	}
	switch e.Type {
	case initramfs.Dir:
		return info.IsDir(), nil
	case initramfs.Symlink:
		target, err := root.Readlink(name)
		return err == nil && target == e.Target, nil
	}
	if !info.Mode().IsRegular() || info.Size() != e.Size || info.Mode().Perm()&0o100 != permissions(e)&0o100 {
		return false, nil
	}
	want, err := open(e)
	if err != nil {
		return false, err
	}
	got, err := root.Open(name)
	if err != nil {
		return false, want.Close()
	}
	same, err := sameContent(want, got)
	return same, errors.Join(err, want.Close(), got.Close())
}

// sameContent compares two readers. The error is that of reading want.
func sameContent(want, got io.Reader) (bool, error) {
	const size = 64 << 10
	a, b := make([]byte, size), make([]byte, size)
	for {
		n, err := io.ReadFull(want, a)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		m, _ := io.ReadFull(got, b) // a file that cannot be read is written anew
		switch {
		case !bytes.Equal(a[:n], b[:m]):
			return false, nil
		case n < size:
			return true, nil
		}
	}
}
