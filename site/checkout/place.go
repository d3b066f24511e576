package checkout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
)

// provide makes dir hold exactly the entries.
func provide(ctx context.Context, dir string, entries []initramfs.Entry, s progress.Sink) error {
	switch same, err := holds(ctx, dir, entries); {
	case err != nil:
		return err
	case same:
		return nil
	}
	if _, err := os.Lstat(dir); err == nil {
		progress.Warnf(s, "the Hook checkout in %q was changed; it is written anew", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), ".hookbuild-*")
	if err != nil {
		return err
	}
	err = write(ctx, fresh, entries)
	if err == nil {
		err = replace(dir, fresh)
	}
	return errors.Join(err, os.RemoveAll(fresh))
}

// replace puts fresh in the place of dir. Another process that did so meanwhile
// did the same.
func replace(dir, fresh string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	err := os.Rename(fresh, dir)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
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
	text, err := content(e)
	if err != nil {
		return err
	}
	return root.WriteFile(name, text, permissions(e))
}

// permissions are those that git knows.
func permissions(e initramfs.Entry) fs.FileMode {
	if e.Mode&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

func content(e initramfs.Entry) ([]byte, error) {
	if e.Open == nil {
		return nil, nil
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r)
	return text, errors.Join(err, r.Close())
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
	want, err := content(e)
	if err != nil {
		return false, err
	}
	got, err := root.ReadFile(name)
	return err == nil && bytes.Equal(got, want), nil
}
