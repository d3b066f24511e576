package tarball

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/test/testneed"
)

// What other programs pack must come out as it is on the disk.
func TestEntriesOfOtherProgramsArchives(t *testing.T) {
	gnu, bsd := testneed.Tool(t, "tar"), testneed.Tool(t, "bsdtar")
	tree := t.TempDir()
	fill(t, tree)
	for name, command := range map[string][]string{
		"GNU tar, gnu":             {gnu, "--format=gnu"},
		"GNU tar, gnu, sparse":     {gnu, "--format=gnu", "--sparse"},
		"GNU tar, pax":             {gnu, "--format=posix", "--xattrs", "--xattrs-include=*"},
		"GNU tar, pax, sparse 0.0": {gnu, "--format=posix", "--sparse-version=0.0"},
		"GNU tar, pax, sparse 0.1": {gnu, "--format=posix", "--sparse-version=0.1"},
		"GNU tar, pax, sparse 1.0": {gnu, "--format=posix", "--sparse-version=1.0"},
		"bsdtar, pax":              {bsd, "--format=pax"},
	} {
		t.Run(name, func(t *testing.T) {
			packed := filepath.Join(t.TempDir(), "a.tar")
			args := append(command[1:], "-cf", packed, "-C", tree, ".")
			if out, err := exec.Command(command[0], args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			compare(t, packed, tree, strings.Contains(name, "pax"))
		})
	}
}

// fill makes a tree with one of everything, and files whose holes lie at the
// start, in many places, and at the end.
func fill(t *testing.T, root string) {
	t.Helper()
	long := filepath.Join(strings.Repeat("directory-with-a-long-name/", 6), strings.Repeat("n", 200))
	write := func(name, body string, mode os.FileMode) error {
		path := filepath.Join(root, name)
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(body), 0o600), os.Chmod(path, mode))
	}
	err := errors.Join(
		write("bin/su", strings.Repeat("program ", 1000), 0o755|fs.ModeSetuid),
		write("empty", "", 0o400), write(long, "deep", 0o644), write("odd \n\xfe name", "odd", 0o644),
		os.Link(filepath.Join(root, "bin/su"), filepath.Join(root, "bin/sudo")),
		os.Symlink("../"+long, filepath.Join(root, "bin/link")),
		unix.Mkfifo(filepath.Join(root, "fifo"), 0o640),
		os.Chmod(filepath.Join(root, "bin"), 0o777|fs.ModeSticky),
		sparse(filepath.Join(root, "hole-at-start"), 1<<20, 1<<19),
		sparse(filepath.Join(root, "hole-at-end"), 1<<20, 0),
		sparse(filepath.Join(root, "only-hole"), 3<<20),
		sparse(filepath.Join(root, "many-holes"), 20<<20, multiples(1<<18, 70)...),
		write("zlast", "after the holes", 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1700000000, 987654321)
	if err := os.Chtimes(filepath.Join(root, "empty"), when, when); err != nil {
		t.Fatal(err)
	}
}

func multiples(step int64, n int) []int64 {
	var all []int64
	for i := range n {
		all = append(all, int64(i)*step)
	}
	return all
}

// sparse makes a file of the given size with a few bytes at each offset.
func sparse(path string, size int64, offsets ...int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	for i, at := range offsets {
		_, writeErr := f.WriteAt(fmt.Appendf(nil, "data %d", i), at)
		err = errors.Join(err, writeErr)
	}
	return errors.Join(err, f.Close())
}

func compare(t *testing.T, packed, tree string, nanoseconds bool) {
	t.Helper()
	f, err := os.Open(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	found, err := Entries(f, info.Size(), "oracle")
	if err != nil {
		t.Fatal(err)
	}
	contents := bodies(t, found)
	unseen := paths(t, tree)
	for _, e := range found {
		if e.Type == initramfs.HardLink {
			contents[e.Path] = contents[e.Target]
		}
		if diff := cmp.Diff(onDisk(t, tree, e, nanoseconds), describe(e, nanoseconds)); diff != "" {
			t.Errorf("%q: %s", e.Path, diff)
		}
		delete(unseen, filepath.Join(".", e.Path))
	}
	if len(unseen) > 0 {
		t.Errorf("not listed: %v", unseen)
	}
	for name, body := range contents {
		want, err := os.ReadFile(filepath.Join(tree, name))
		if err != nil {
			t.Fatal(err)
		}
		if body != string(want) {
			t.Errorf("%q differs from what was packed (%d bytes, %d packed)", name, len(body), len(want))
		}
	}
}

// paths lists what lies below root, and root itself as ".".
func paths(t *testing.T, root string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, path)
		all[rel] = true
		return errors.Join(err, relErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// facts is what a header tells about a file.
type facts struct {
	Type     uint32
	Mode     uint32
	UID, GID uint32
	Time     time.Time
	Size     int64
	Link     string
}

func describe(e initramfs.Entry, nanoseconds bool) facts {
	kinds := map[initramfs.Type]uint32{
		initramfs.Regular: unix.S_IFREG, initramfs.HardLink: unix.S_IFREG, initramfs.Dir: unix.S_IFDIR,
		initramfs.Symlink: unix.S_IFLNK, initramfs.Fifo: unix.S_IFIFO,
	}
	f := facts{Type: kinds[e.Type], Mode: e.Mode, UID: e.UID, GID: e.GID, Time: e.ModTime, Size: e.Size}
	if e.Type == initramfs.Symlink {
		f.Link = e.Target
	}
	if !nanoseconds {
		f.Time = f.Time.Truncate(time.Second)
	}
	return f
}

func onDisk(t *testing.T, tree string, e initramfs.Entry, nanoseconds bool) facts {
	t.Helper()
	path := filepath.Join(tree, e.Path)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	f := facts{Type: st.Mode & unix.S_IFMT, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Time: time.Unix(st.Mtim.Unix()).UTC()}
	if e.Type == initramfs.Regular {
		f.Size = st.Size
	}
	if e.Type == initramfs.Symlink {
		link, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Link = link
	}
	if !nanoseconds {
		f.Time = f.Time.Truncate(time.Second)
	}
	return f
}

// A sparse file costs its archive nothing, so its length is bounded before
// anything reads it.
func TestSparseFilesAreBounded(t *testing.T) {
	gnu := testneed.Tool(t, "tar")
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := errors.Join(os.WriteFile(filepath.Join(dir, name), nil, 0o600), os.Truncate(filepath.Join(dir, name), 20<<30)); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []string{"gnu", "posix"} {
		packed := filepath.Join(t.TempDir(), "a.tar")
		if out, err := exec.Command(gnu, "--format="+format, "--sparse", "-cf", packed, "-C", dir, "a", "b").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		f, err := os.Open(packed)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		for most, ok := range map[int64]bool{0: false, 30 << 30: false, 40 << 30: true} {
			_, err := List(f, info.Size(), "layer 1", Options{MostSparse: most})
			if (err == nil) != ok || !ok && (!errors.Is(err, errBomb) || fault.KindOf(err) != fault.Invalid) {
				t.Errorf("%s, at most %d: %v", format, most, err)
			}
		}
	}
}
