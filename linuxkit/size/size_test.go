package size

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/initramfs"

	"github.com/google/go-cmp/cmp"
)

func add(t *testing.T, tree *initramfs.Tree, e initramfs.Entry) {
	t.Helper()
	if err := tree.Add(e); err != nil {
		t.Fatal(err)
	}
}

func file(name, content string) initramfs.Entry {
	return initramfs.BytesFile(name, []byte(content), initramfs.Epoch())
}

func big(letter string) string { return strings.Repeat(letter, 5000) }

func TestLink(t *testing.T) {
	tree := &initramfs.Tree{}
	change := func(name string, f func(*initramfs.Entry)) {
		e := file(name, big("a"))
		f(&e)
		add(t, tree, e)
	}
	add(t, tree, file("containers/a/lower/bin/x", big("a")))
	add(t, tree, file("containers/b/lower/bin/x", big("a")))
	add(t, tree, file("containers/c/lower/bin/y", big("a")))
	add(t, tree, initramfs.Entry{Path: "containers/c/lower/bin/link", Type: initramfs.HardLink, Target: "containers/c/lower/bin/y"})
	add(t, tree, file("containers/d/lower/bin/x", big("b"))) // another content
	add(t, tree, file("small/one", "tiny"))
	add(t, tree, file("small/two", "tiny"))
	add(t, tree, file("etc/config", big("a"))) // may be written
	change("usr/mode", func(e *initramfs.Entry) { e.Mode = 0o755 })
	change("usr/owner", func(e *initramfs.Entry) { e.UID = 1 })
	change("usr/group", func(e *initramfs.Entry) { e.GID = 1 })
	change("usr/time", func(e *initramfs.Entry) { e.ModTime = time.Unix(1, 0) })
	change("usr/xattr", func(e *initramfs.Entry) { e.Xattrs = map[string]string{"user.a": "b"} })

	files, saved, err := Link(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	if files != 2 || saved != 10000 {
		t.Errorf("%d files, %d bytes; want 2 and 10000", files, saved)
	}
	want := []string{"containers/b/lower/bin/x", "containers/c/lower/bin/link", "containers/c/lower/bin/y"}
	if diff := cmp.Diff(want, tree.Names("containers/a/lower/bin/x")); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	for e := range tree.All() {
		if e.Type == initramfs.HardLink && e.Target != "containers/a/lower/bin/x" {
			t.Errorf("%q is a link to %q", e.Path, e.Target)
		}
	}
	if again, _, err := Link(t.Context(), tree); err != nil || again != 0 {
		t.Errorf("a second time: %d files, %v", again, err)
	}
}

func TestFindDuplicates(t *testing.T) {
	tree := &initramfs.Tree{}
	add(t, tree, file("b", "12345"))
	add(t, tree, file("a", "12345"))
	add(t, tree, file("c", "54321"))
	add(t, tree, file("d", "123456"))
	add(t, tree, file("e", "123456"))
	add(t, tree, file("f", "123456"))
	add(t, tree, file("short", "1"))
	add(t, tree, file("short2", "1"))
	add(t, tree, file("empty", ""))
	add(t, tree, file("empty2", ""))
	got, err := findDuplicates(t.Context(), tree, 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []Duplicate{{6, []string{"d", "e", "f"}}, {5, []string{"a", "b"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("duplicates (-want +got):\n%s", diff)
	}
}

func TestFindDuplicatesNamesTheFileThatCannotBeRead(t *testing.T) {
	tree := &initramfs.Tree{}
	broken := errors.New("broken disk")
	for _, name := range []string{"a", "b"} {
		e := file(name, "xx")
		e.Open = func() (io.ReadCloser, error) { return nil, broken }
		add(t, tree, e)
	}
	if _, err := findDuplicates(t.Context(), tree, 1); !errors.Is(err, broken) || !strings.Contains(err.Error(), `"`) {
		t.Errorf("%v", err)
	}
}

func TestReport(t *testing.T) {
	tree := &initramfs.Tree{}
	add(t, tree, file("usr/bin/a", big("a")))
	add(t, tree, file("usr/lib/b", big("a")))
	add(t, tree, initramfs.Entry{Path: "usr/lib/c", Type: initramfs.HardLink, Target: "usr/lib/b"})
	add(t, tree, file("init", "x"))
	parts := []Part{{"small", 1, 1}, {"two", 1, 5000}, {"two", 2, 5000}}
	r, err := New(t.Context(), tree, parts, 1234, Options{LeastDuplicate: 1000, Depth: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := &Report{
		Compressed: 1234, Unpacked: 10001, RAM: initramfs.TmpfsSize(tree.All()), Files: 4, Wasted: 5000,
		Parts:       []Part{{"two", 3, 10000}, {"small", 1, 1}},
		Directories: []Directory{{"usr", 3, 10000}, {"usr/bin", 1, 5000}, {"usr/lib", 2, 5000}},
		Duplicates:  []Duplicate{{5000, []string{"usr/bin/a", "usr/lib/b"}}},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	text := r.Text(0)
	for _, part := range []string{"1.2 kB", "10.0 kB  3 files  two", "1 file   small", "5.0 kB   2 files  usr/lib", "2 times  usr/bin/a usr/lib/b"} {
		if !strings.Contains(text, part) {
			t.Errorf("the text has no %q:\n%s", part, text)
		}
	}
}

func TestTextHasTheHeaviestDirectories(t *testing.T) {
	r := &Report{Unpacked: 1000}
	for i := range 30 {
		r.Directories = append(r.Directories, Directory{fmt.Sprintf("d%d", i), 1, 100})
	}
	if text := r.Text(0); strings.Count(text, "1 file") != 15 {
		t.Errorf("it has more or less than 15 directories:\n%s", text)
	}
	r.Directories = []Directory{{"large", 1, 10}, {"small", 1, 9}, {"empty", 1, 0}}
	if text := r.Text(0); !strings.Contains(text, "large") || strings.Contains(text, "small") || strings.Contains(text, "empty") {
		t.Errorf("it has directories below 1 %%:\n%s", text)
	}
}

func TestReportLimits(t *testing.T) {
	tree := &initramfs.Tree{}
	for _, name := range []string{"a/b/c/d", "e/f", "g/h"} {
		add(t, tree, file(name, "x"))
	}
	r, err := New(t.Context(), tree, nil, 0, Options{Top: 2, Depth: 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Directory{{"a", 1, 1}, {"e", 1, 1}}, r.Directories); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

func TestCheck(t *testing.T) {
	before := &Report{Parts: []Part{{"a", 1, 100}, {"b", 1, 300}, {"c", 1, 900}}}
	r := &Report{Compressed: 2_000_000, Parts: []Part{{"c", 1, 900}, {"new", 1, 500}, {"b", 1, 310}, {"a", 1, 90}}}
	if err := r.Check(2_000_000, before); err != nil {
		t.Errorf("within the budget: %v", err)
	}
	err := r.Check(1_500_000, before)
	want := "the initramfs has 2.0 MB, which is 500.0 kB over --max-size 1.5 MB; grown since the earlier build: new +500 B, b +10 B; heaviest unpacked: c 900 B, new 500 B, b 310 B; leave something out, or raise --max-size"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := r.Check(1, nil); err == nil || strings.Contains(err.Error(), "grown") {
		t.Errorf("without an earlier report: %v", err)
	}
}

func TestText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_951: "1.0 MB", 12_345_678: "12.3 MB", 5e12: "5.0 TB", 5e15: "5000.0 TB"} {
		if got := Text(n); got != want {
			t.Errorf("Text(%d) = %q, want %q", n, got, want)
		}
	}
}
