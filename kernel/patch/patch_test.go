package patch

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// files returns a reader of files by name.
func files(all map[string]string) func(string) (*Content, error) {
	return func(name string) (*Content, error) {
		text, ok := all[name]
		if !ok {
			return nil, nil
		}
		return &Content{Text: []byte(text)}, nil
	}
}

func parse(t *testing.T, text string) *Patch {
	t.Helper()
	p, err := Parse("x.patch", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestJudgedByGit has git write patches for changed directories, and compares
// what becomes of them here with the directories that git saw. The diffs have
// little context, so that an empty one occurs too.
func TestJudgedByGit(t *testing.T) {
	git := testneed.Tool(t, "git")
	lines := func(from, to int) string {
		var text strings.Builder
		for i := from; i <= to; i++ {
			text.WriteString(strings.Repeat("x", i%7) + "\n")
		}
		return text.String()
	}
	old := map[string]string{
		"drivers/a.c": lines(1, 60), "b": "one\ntwo\n", "end": "no newline", "gone/x": "x\n", "empty": "",
		"old name": lines(1, 30), "same": "same\n", "crlf": "a\r\nb\r\n",
	}
	changed := map[string]string{
		"drivers/a.c": lines(1, 9) + "new\n" + lines(10, 40) + lines(43, 60) + "last", "b": "zero\none\n\ntwo\n", "end": "no newline\n",
		"added/y z": "y\n", "new name": lines(1, 29) + "30\n", "same": "same\n", "crlf": "a\r\nc\r\n", "nothing": "",
	}
	for _, arguments := range [][]string{{}, {"-U0"}, {"-U1", "--no-renames"}, {"-M", "-C"}} {
		dir := t.TempDir()
		for name, all := range map[string]map[string]string{"a": old, "b": changed} {
			for file, text := range all {
				kerneltest.WriteFile(t, filepath.Join(dir, name, file), []byte(text))
			}
		}
		if err := os.Chmod(filepath.Join(dir, "b/same"), 0o755); err != nil {
			t.Fatal(err)
		}
		command := exec.Command(git, append(append([]string{"diff", "--no-index", "--no-prefix"}, arguments...), "a", "b")...)
		command.Dir = dir
		diff, err := command.Output()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Fatalf("git diff: %v", err)
		}
		// Without prefixes, git names renamed files by a/ and b/ too.
		diff = bytes.ReplaceAll(bytes.ReplaceAll(diff, []byte("e from a/"), []byte("e from ")), []byte("e to b/"), []byte("e to "))
		made, err := Apply([]*Patch{parse(t, string(diff))}, files(old))
		if err != nil {
			t.Fatalf("%v: %v\n%s", arguments, err, diff)
		}
		compare(t, old, changed, made)
		if c := made["same"]; c == nil || !c.Executable {
			t.Errorf("%v: the mode is not changed", arguments)
		}
	}
}

// compare compares the result of a patch with the directory that it describes.
func compare(t *testing.T, old, want map[string]string, made map[string]*Content) {
	t.Helper()
	got := map[string]string{}
	for name, text := range old {
		got[name] = text
	}
	for name, c := range made {
		if delete(got, name); c != nil {
			got[name] = string(c.Text)
		}
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%q is %q, want %q", name, got[name], text)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %d files, want %d: %v", len(got), len(want), got)
	}
}

// TestPlainDiff reads what diff -ruN writes, with times and without git's lines.
func TestPlainDiff(t *testing.T) {
	diff := testneed.Tool(t, "diff")
	dir := t.TempDir()
	kerneltest.WriteFile(t, filepath.Join(dir, "linux-1/x.c"), []byte("1\n2\n3\n"))
	kerneltest.WriteFile(t, filepath.Join(dir, "linux-1.new/x.c"), []byte("1\n2b\n3\n"))
	kerneltest.WriteFile(t, filepath.Join(dir, "linux-1.new/y.c"), []byte("y\n"))
	command := exec.Command(diff, "-ruN", "linux-1", "linux-1.new")
	command.Dir = dir
	text, err := command.Output()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Fatalf("diff: %v", err)
	}
	old := map[string]string{"x.c": "1\n2\n3\n"}
	made, err := Apply([]*Patch{parse(t, "From: me\n\nwhy\n---\n 2 files changed\n"+string(text)+"-- \n2.39\n")}, files(old))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, old, map[string]string{"x.c": "1\n2b\n3\n", "y.c": "y\n"}, made)
}

const change = `--- a/x.c
+++ b/x.c
@@ -2,3 +2,3 @@ int f(void)
 b
-c
+C
 d
`

// TestMoved applies a change to lines that have moved, and not to others.
func TestMoved(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb\nc\nd\n":             "a\nb\nC\nd\n",
		"b\nc\nd\n":                "b\nC\nd\n",
		"0\n1\n2\n3\na\nb\nc\nd\n": "0\n1\n2\n3\na\nb\nC\nd\n",
		"a\nb\nX\nd\n":             "",
		"a\nb\nc\n":                "",
		"":                         "",
	} {
		made, err := Apply([]*Patch{parse(t, change)}, files(map[string]string{"x.c": text}))
		switch {
		case want == "" && (err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), `"x.patch": its change 1 of "x.c", in line 3, does not fit`) || !strings.Contains(err.Error(), "\n-c\n+C\n")):
			t.Errorf("%q: %v", text, err)
		case want != "" && (err != nil || string(made["x.c"].Text) != want):
			t.Errorf("%q: %v, %v", text, made["x.c"], err)
		}
	}
}

// TestInOrder: the second patch sees what the first made, and each file is read
// once.
func TestInOrder(t *testing.T) {
	second := strings.NewReplacer("-c", "-C", "+C", "+CC").Replace(change)
	reads := 0
	made, err := Apply([]*Patch{parse(t, change), parse(t, second)}, func(string) (*Content, error) {
		reads++
		return &Content{Text: []byte("a\nb\nc\nd\n"), Executable: true}, nil
	})
	if err != nil || reads != 1 || string(made["x.c"].Text) != "a\nb\nCC\nd\n" || !made["x.c"].Executable {
		t.Errorf("%v, %v, %d reads", made, err, reads)
	}
	_, err = Apply([]*Patch{parse(t, change), parse(t, change)}, files(map[string]string{"x.c": "a\nb\nc\nd\n"}))
	if err == nil || !strings.Contains(err.Error(), "has this change already") {
		t.Errorf("the same change twice: %v", err)
	}
}

func TestDoesNotFitTree(t *testing.T) {
	create := "--- /dev/null\n+++ b/new.c\n@@ -0,0 +1 @@\n+x\n"
	remove := "--- a/x.c\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"
	for _, c := range []struct{ patch, want string }{
		{strings.ReplaceAll(change, "/x.c", "/other/x.c"), `no such file (paths are taken without their first element`},
		{strings.ReplaceAll(create, "new.c", "x.c"), `makes the file "x.c", and the source has it already`},
		{remove, "has lines that the patch does not know"},
	} {
		_, err := Apply([]*Patch{parse(t, c.patch)}, files(map[string]string{"x.c": "a\nb\nc\n"}))
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v; it should say %q", err, c.want)
		}
	}
	broken := errors.New("the engine is gone")
	if _, err := Apply([]*Patch{parse(t, change)}, func(string) (*Content, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("a tree that cannot be read: %v", err)
	}
}

func TestBadPatches(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no change in the unified format"},
		{"<html>\n", "no change in the unified format"},
		{"*** a/x.c\n--- b/x.c\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n", "no change in the unified format"},
		{strings.ReplaceAll(change, "a/x.c", "a/../../etc/passwd"), `line 1: the path "a/../../etc/passwd" leads out of the tree`},
		{strings.ReplaceAll(change, "b/x.c", "/etc/passwd"), `line 2: the path "/etc/passwd" leads out`},
		{strings.ReplaceAll(change, "b/x.c", `"b/x\n.c"`), "leads out of the tree or cannot be used"},
		{strings.ReplaceAll(change, "b/x.c", `"b/x`), "the quotes of the path"},
		{strings.ReplaceAll(change, "/x.c", ""), `line 1: the path "a" has a single element`},
		{strings.TrimSuffix(change, " d\n"), "the patch ends in the middle of a change"},
		{change + " e\n", ""}, // text after a change
		{strings.ReplaceAll(change, "+C", "C"), `the line "C" is not part of a change`},
		{strings.ReplaceAll(change, "+2,3", "+2,1"), "more lines than its header says"},
		{strings.ReplaceAll(change, "@@ -2,3", "@@ -2,x"), "is not the beginning of a change"},
		{strings.ReplaceAll(change, "-2,3", "-99999999999,3"), "is not the beginning of a change"},
		{"@@ -1 +1 @@\n-a\n+b\n", "line 1: a change comes without the lines"},
		{"--- a/x\n+++ b/x\nno\n", "line 3: no change of x follows"},
		{"--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n", "names no file but /dev/null"},
		{"diff --git a/x b/x\nindex 1..2 100644\nGIT binary patch\nliteral 1\n", "line 3: it changes a binary file"},
		{"diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+/etc\n", "it makes a file of mode 120000"},
		{"diff --git a/x b/x\nsimilarity index 100%\nrename from ../x\nrename to y\n", `the path "a/../x" leads out`},
		{"diff --git a/x b/y\nindex 1..2\n", "no line says that the file is renamed"},
		{"diff --cc x\n", "the diff of a merge"},
	} {
		_, err := Parse("x.patch", []byte(c.text))
		if c.want == "" && err != nil {
			t.Errorf("%q: %v", c.text, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), `"x.patch"`) || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Invalid) {
			t.Errorf("%q: %v; it should say %q", c.text, err, c.want)
		}
	}
	if _, err := ReadAll([]string{filepath.Join(t.TempDir(), "none")}); !errors.Is(err, fs.ErrNotExist) || fault.KindOf(err) != fault.Invalid {
		t.Errorf("a file that is not there: %v", err)
	}
}

// FuzzParse wants every patch that is read to name files of the tree, and to
// apply or fail.
func FuzzParse(f *testing.F) {
	f.Add([]byte(change), []byte("a\nb\nc\nd\n"))
	f.Add([]byte("diff --git a/x b/y\nrename from x\nrename to y\n"), []byte("a"))
	f.Add([]byte("diff --git \"a/x\" \"b/x\"\nnew file mode 100755\n--- /dev/null\n+++ \"b/x\"\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n"), []byte(""))
	f.Fuzz(func(t *testing.T, text, content []byte) {
		p, err := Parse("x", text)
		if err != nil {
			return
		}
		for _, file := range p.Files {
			for _, name := range []string{file.Old, file.New} {
				if name != "" && (!fs.ValidPath(name) || !filepath.IsLocal(name)) {
					t.Errorf("it names %q", name)
				}
			}
		}
		made, err := Apply([]*Patch{p}, func(string) (*Content, error) { return &Content{Text: slices.Clone(content)}, nil })
		if err == nil && len(made) == 0 {
			t.Error("it applies and changes nothing")
		}
	})
}
