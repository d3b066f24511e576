package kerneltest

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/test/testneed"
)

// Unpacked returns a directory with the package's files, extracted once by
// Debian's own dpkg-deb. Tests share it and must not write to it.
func Unpacked(t testing.TB, deb string) string {
	t.Helper()
	all := Dir(t, "unpacked")
	dir := filepath.Join(all, strings.TrimSuffix(filepath.Base(deb), ".deb"))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	part, err := os.MkdirTemp(all, "part-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(part)
	out, err := exec.Command(testneed.Tool(t, "dpkg-deb"), "-x", deb, filepath.Join(part, "files")).CombinedOutput()
	if err != nil {
		t.Fatalf("unpacking %s: %v\n%s", deb, err, out)
	}
	if err := os.Rename(filepath.Join(part, "files"), dir); err != nil {
		if _, missing := os.Stat(dir); missing != nil { // not another test's doing
			t.Fatal(err)
		}
	}
	return dir
}

// Tree returns a file tree of what is in dir, ignoring modes and owners.
func Tree(t testing.TB, dir string) *initramfs.Tree {
	t.Helper()
	tree := &initramfs.Tree{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		e, err := entry(dir, name, d)
		if err != nil {
			return err
		}
		return tree.Add(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func entry(dir, name string, d fs.DirEntry) (initramfs.Entry, error) {
	rel, err := filepath.Rel(dir, name)
	if err != nil {
		return initramfs.Entry{}, err
	}
	info, err := d.Info()
	if err != nil {
		return initramfs.Entry{}, err
	}
	e := initramfs.Entry{Path: rel, Mode: 0o644, Origin: dir, ModTime: info.ModTime()}
	switch {
	case d.IsDir():
		e.Type, e.Mode = initramfs.Dir, 0o755
	case d.Type() == fs.ModeSymlink:
		e.Type = initramfs.Symlink
		e.Target, err = os.Readlink(name)
	default:
		e.Size = info.Size()
		e.Open = func() (io.ReadCloser, error) { return os.Open(name) }
	}
	return e, err
}

// Content reads a file of a tree.
func Content(t testing.TB, tree *initramfs.Tree, name string) []byte {
	t.Helper()
	e, ok := tree.Lookup(name)
	if !ok {
		t.Fatalf("the tree has no %q", name)
	}
	if e.Open == nil {
		return nil
	}
	r, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// WriteFile writes a file and creates its directory.
func WriteFile(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
