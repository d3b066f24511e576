package initramfs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// text lists a tree, one entry per line.
func text(t *Tree) []string {
	var lines []string
	for e := range t.All() {
		line := fmt.Sprintf("%s %s", e.Path, e.Type)
		switch e.Type {
		case Symlink, HardLink:
			line += " " + e.Target
		case Regular:
			line += " " + content(e)
		case Dir:
			line += fmt.Sprintf(" %o", e.Mode)
		}
		lines = append(lines, line)
	}
	return lines
}

func content(e Entry) string {
	if e.Open == nil {
		return ""
	}
	r, err := e.Open()
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// entry parses "NAME CONTENT", "NAME/", "NAME -> TARGET" or "NAME = TARGET".
// Its origin is "here".
func entry(s string) Entry {
	e := Entry{Type: Regular, Mode: 0o644, Origin: "here"}
	if name, target, ok := strings.Cut(s, " -> "); ok {
		e.Path, e.Type, e.Target = name, Symlink, target
		return e
	}
	if name, target, ok := strings.Cut(s, " = "); ok {
		e.Path, e.Type, e.Target = name, HardLink, target
		return e
	}
	if name, ok := strings.CutSuffix(s, "/"); ok {
		e.Path, e.Type, e.Mode = name, Dir, 0o750
		return e
	}
	name, body, _ := strings.Cut(s, " ")
	e = BytesFile(name, []byte(body), time.Unix(9, 0))
	e.Origin = "here"
	return e
}

// grow returns a tree of the entries, each in the format of entry.
func grow(t *testing.T, entries ...string) *Tree {
	t.Helper()
	tree := &Tree{}
	for _, s := range entries {
		if err := tree.Add(entry(s)); err != nil {
			t.Fatalf("adding %q: %v", s, err)
		}
		checkTree(t, tree)
	}
	return tree
}

// checkTree checks the invariants of a tree.
func checkTree(t *testing.T, tree *Tree) {
	t.Helper()
	children := map[string]int{}
	links := map[string][]string{}
	for e := range tree.All() {
		parent := parentOf(e.Path)
		children[parent]++
		if p, ok := tree.Lookup(parent); parent != "" && (!ok || p.Type != Dir) {
			t.Errorf("%q has no directory above it", e.Path)
		}
		if e.Type != HardLink {
			continue
		}
		links[e.Target] = append(links[e.Target], e.Path)
		if to, ok := tree.Lookup(e.Target); !ok || to.Type == HardLink || to.Type == Dir {
			t.Errorf("%q links to %q, which is not a file", e.Path, e.Target)
		}
	}
	for e := range tree.All() {
		if got, want := tree.children[e.Path], children[e.Path]; got != want {
			t.Errorf("%q counts %d children, it has %d", e.Path, got, want)
		}
		if got, want := tree.Names(e.Path), links[e.Path]; !slices.Equal(got, want) {
			t.Errorf("%q has the names %q, want %q", e.Path, got, want)
		}
	}
	if got, want := tree.children[""], children[""]; got != want {
		t.Errorf("the root counts %d children, it has %d", got, want)
	}
}

func TestAdd(t *testing.T) {
	tests := []struct {
		name string
		add  []string
		want []string
	}{
		{"missing parents", []string{"a/b/c x"}, []string{"a directory 755", "a/b directory 755", "a/b/c file x"}},
		{"unclean names", []string{"./a//b/", "./", "."}, []string{"a directory 755", "a/b directory 750"}},
		{"sorted by element", []string{"a-b/", "a/", "a/z y", "a.c q"}, []string{"a directory 750", "a/z file y", "a-b directory 750", "a.c file q"}},
		{"merged usr", []string{"usr/lib/", "lib -> usr/lib", "lib/x 1", "lib/"}, []string{"lib symlink usr/lib", "usr directory 755", "usr/lib directory 750", "usr/lib/x file 1"}},
		{"absolute symlink on the way", []string{"usr/lib/", "a/lib -> /usr/lib", "a/lib/x 1"}, []string{"a directory 755", "a/lib symlink /usr/lib", "usr directory 755", "usr/lib directory 750", "usr/lib/x file 1"}},
		{"symlink above the root", []string{"a -> ../../b", "a/x 1"}, []string{"a symlink ../../b", "b directory 755", "b/x file 1"}},
		{"hard link to a symlink on the way", []string{"d/", "s -> d", "l = s", "l/x 1", "l/"}, []string{"d directory 750", "d/x file 1", "l hard link s", "s symlink d"}},
		{"directory keeps children", []string{"a/x 1", "a/"}, []string{"a directory 750", "a/x file 1"}},
		{"directory over dangling symlink", []string{"a -> no", "a/"}, []string{"a directory 750"}},
		{"directory over a circle", []string{"a -> a", "a/"}, []string{"a directory 750"}},
		{"directory over a symlink to a file", []string{"f 1", "a -> f", "a/"}, []string{"a directory 750", "f file 1"}},
		{"directory over a symlink to the root", []string{"a -> /", "a/", "a/f 1"}, []string{"a symlink /", "f file 1"}},
		{"file over empty directory", []string{"a/", "a 1"}, []string{"a file 1"}},
		{"file over emptied directory", []string{"a/b/", "a/b/c 1", "a/b/c -> x", "d = a/b/c"}, []string{"a directory 755", "a/b directory 750", "a/b/c symlink x", "d hard link a/b/c"}},
		{"file over file", []string{"a 1", "a 2"}, []string{"a file 2"}},
		{"link to a link", []string{"a 1", "b = a", "c = b"}, []string{"a file 1", "b hard link a", "c hard link a"}},
		{"link to itself", []string{"a 1", "a = a", "b = a", "b = a", "a = b"}, []string{"a file 1", "b hard link a"}},
		{"link through a symlink", []string{"d/a 1", "s -> d", "s/b = s/a"}, []string{"d directory 755", "d/a file 1", "d/b hard link d/a", "s symlink d"}},
		{"replaced file has heirs", []string{"c 1", "b = c", "a = c", "c 2"}, []string{"a file 1", "b hard link a", "c file 2"}},
		{"link replaces a file that has heirs", []string{"c 1", "b = c", "x 2", "c = x"}, []string{"b file 1", "c hard link x", "x file 2"}},
		{"link moved to another file", []string{"a 1", "l = a", "b 2", "l = b"}, []string{"a file 1", "b file 2", "l hard link b"}},
		{"link over an empty directory", []string{"a 1", "l/", "l = a"}, []string{"a file 1", "l hard link a"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, text(grow(t, test.add...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAddRefuses(t *testing.T) {
	tests := []struct {
		name string
		have []string
		add  string
		want string
	}{
		{"dot-dot", nil, "a/../b x", `putting a file of here: "a/../b" contains "..": unsafe path`},
		{"absolute", nil, "/etc x", `"/etc" is absolute`},
		{"NUL", nil, "a\x00b x", "NUL"},
		{"NUL in a target", nil, "a -> \x00", "NUL"},
		{"file over a filled directory", []string{"a/b 1"}, "a x", `putting "a" of here: a file would replace a non-empty directory (put there by here)`},
		{"link over a filled directory", []string{"f 1", "a/b 1"}, "a = f", "a hard link would replace a non-empty directory"},
		{"below a file", []string{"a 1"}, "a/b x", `its parent "a" is a file (put there by here)`},
		{"below a symlink to a file", []string{"f 1", "a -> f"}, "a/b x", `its parent "f" is a file`},
		{"in a circle", []string{"a -> b", "b -> a"}, "a/x 1", "form a loop"},
		{"link without target", nil, "a = b", `linking "a" of here: the target "b" does not exist`},
		{"link to the root", nil, "a = ./", "does not exist"},
		{"link out of the tree", nil, "a = ../b", "unsafe path"},
		{"link in a circle", []string{"x -> x"}, "a = x/b", "form a loop"},
		{"link to a directory", []string{"d/"}, "a = d", `the target "d" is a directory`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := grow(t, test.have...)
			err := tree.Add(entry(test.add))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			checkTree(t, tree)
			var conflict *ConflictError
			if strings.Contains(test.want, "put there") && !errors.As(err, &conflict) {
				t.Errorf("%T is not a ConflictError", err)
			}
		})
	}
}

func TestConflictNamesUnknownSource(t *testing.T) {
	tree := grow(t, "a/b 1")
	err := tree.Add(Entry{Path: "a", Type: Symlink, Target: "x"})
	if err == nil || !strings.Contains(err.Error(), `putting "a" of an unnamed source`) {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	all := []string{"a/b/c 1", "a/b/d 2", "a/e/", "ab/f 3", "l = a/b/c", "m = a/b/c"}
	tests := []struct {
		name   string
		remove func(*Tree)
		want   []string
	}{
		{"missing", func(t *Tree) { t.Remove("no"); t.Remove("") }, text(grow(t, all...))},
		{"directory", func(t *Tree) { t.Remove("a") }, []string{"ab directory 755", "ab/f file 3", "l file 1", "m hard link l"}},
		{"children", func(t *Tree) { t.RemoveChildren("a") }, []string{"a directory 755", "ab directory 755", "ab/f file 3", "l file 1", "m hard link l"}},
		{"link", func(t *Tree) { t.Remove("l"); t.Remove("a/e"); t.Remove("ab") }, []string{"a directory 755", "a/b directory 755", "a/b/c file 1", "a/b/d file 2", "m hard link a/b/c"}},
		{"everything", func(t *Tree) { t.RemoveChildren("") }, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := grow(t, all...)
			test.remove(tree)
			checkTree(t, tree)
			if diff := cmp.Diff(test.want, text(tree)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	tree := grow(t, "usr/lib/x 1", "lib -> usr/lib", "abs -> /lib/x", "up -> ../../../lib", "loop -> loop", "dang -> nowhere", "hard = lib", "root -> /")
	for name, want := range map[string]string{
		"lib/x": "usr/lib/x", "abs": "usr/lib/x", "up": "usr/lib", "hard/x": "usr/lib/x", "usr/../lib": "usr/lib", "root": "", "": "",
		"loop": "none", "dang": "none", "no": "none", "usr/lib/y": "none",
	} {
		got, ok := tree.Resolve(name)
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%q resolves to %q, want %q", name, got, want)
		}
	}
}

func TestFileAndFind(t *testing.T) {
	tree := grow(t, "usr/lib/x 1", "lib -> usr/lib", "abs -> /lib/x", "dang -> nowhere", "twin = usr/lib/x", "to -> twin", "root -> /")
	for name, want := range map[string][2]string{
		"usr/lib/x": {"usr/lib/x", "usr/lib/x"}, "twin": {"usr/lib/x", "usr/lib/x"}, "to": {"to", "usr/lib/x"}, "abs": {"abs", "usr/lib/x"},
		"lib/x": {"none", "usr/lib/x"}, "dang": {"dang", "none"}, "no": {"none", "none"}, "root": {"root", "none"},
	} {
		var got [2]string
		for i, look := range []func(string) (Entry, bool){tree.File, tree.Find} {
			e, ok := look(name)
			if got[i] = e.Path; !ok {
				got[i] = "none"
			}
		}
		if got != want {
			t.Errorf("%q is, and leads to, %q, want %q", name, got, want)
		}
	}
}

func TestGraft(t *testing.T) {
	tests := []struct {
		name        string
		have, other []string
		at          string
		want        []string
	}{
		{"root", []string{"a 1"}, []string{"b 2"}, "", []string{"a file 1", "b file 2"}},
		{"links point into the new place", nil, []string{"z 1", "a = z"}, "d", []string{"d directory 755", "d/a hard link d/z", "d/z file 1"}},
		{"at a symlink", []string{"s -> d"}, []string{"z 1", "a = z"}, "s", []string{"d directory 755", "d/a hard link d/z", "d/z file 1", "s symlink d"}},
		{"nothing", nil, nil, "d", nil},
		{
			"an absolute symlink stays below", []string{"c/lib -> /usr/lib", "usr/lib/", "c/usr/lib/"},
			[]string{"lib/x 1", "lib/y = lib/x"}, "c",
			[]string{"c directory 755", "c/lib symlink /usr/lib", "c/usr directory 755", "c/usr/lib directory 750", "c/usr/lib/x file 1", "c/usr/lib/y hard link c/usr/lib/x", "usr directory 755", "usr/lib directory 750"},
		},
		{
			"dot-dot stays below", []string{"c/lib -> ../../x", "c/x/", "x/"}, []string{"lib/f 1"}, "c",
			[]string{"c directory 755", "c/lib symlink ../../x", "c/x directory 750", "c/x/f file 1", "x directory 750"},
		},
		{
			"directory over a symlink stays below", []string{"c/etc -> /other", "other/"}, []string{"etc/"}, "c",
			[]string{"c directory 755", "c/etc directory 750", "other directory 750"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree := grow(t, test.have...)
			if err := tree.Graft(test.at, grow(t, test.other...)); err != nil {
				t.Fatal(err)
			}
			checkTree(t, tree)
			if diff := cmp.Diff(test.want, text(tree)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGraftRefuses(t *testing.T) {
	for at, want := range map[string]string{"../x": "unsafe path", "f": `its parent "f" is a file`, "": "would replace a non-empty directory"} {
		err := grow(t, "f 1", "d/g 1").Graft(at, grow(t, "d 2"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("at %q: got %v, want %q", at, err, want)
		}
	}
}

func TestLinkTakesNothingButItsName(t *testing.T) {
	tree := grow(t, "f 1")
	link := Entry{Path: "l", Type: HardLink, Target: "f", Mode: 0o4755, Size: 99, Origin: "there", Xattrs: map[string]string{"user.x": "y"}}
	if err := tree.Add(link); err != nil {
		t.Fatal(err)
	}
	got, _ := tree.Lookup("l")
	if diff := cmp.Diff(Entry{Path: "l", Type: HardLink, Target: "f", Origin: "there"}, got); diff != "" {
		t.Error(diff)
	}
	if with := tree.Xattrs(); len(with) != 0 {
		t.Errorf("%v have attributes", with)
	}
}

// FuzzAdd adds entries in any order: the tree's invariants hold.
func FuzzAdd(f *testing.F) {
	f.Add("a/b 1\na -> b\nb = a\nb/c/\n")
	f.Add("c 1\nb = c\na = c\nc 2\nc/")
	f.Add("a -> /\na/a -> ..\na/b/ \n")
	f.Fuzz(func(t *testing.T, script string) {
		tree, copied := &Tree{}, &Tree{}
		for i, line := range strings.Split(script, "\n") {
			if i > 50 {
				break
			}
			if name, ok := strings.CutPrefix(line, "-"); ok {
				tree.Remove(name)
			} else if err := tree.Add(entry(line)); err != nil {
				continue
			}
			checkTree(t, tree)
		}
		if err := copied.Graft("sub/dir", tree); err != nil {
			t.Fatal(err)
		}
		checkTree(t, copied)
		if tree.Len() > 0 && copied.Len() != tree.Len()+2 {
			t.Errorf("%d entries became %d", tree.Len(), copied.Len())
		}
	})
}

// TestCleanPathBoundsDepth rejects paths that are deeper than a kernel can
// open.
func TestCleanPathBoundsDepth(t *testing.T) {
	if _, err := CleanPath(strings.Repeat("a/", 2047) + "b"); err != nil {
		t.Errorf("a path of 4095 bytes: %v", err)
	}
	if _, err := CleanPath(strings.Repeat("a/", 10000)); !errors.Is(err, ErrUnsafePath) || len(err.Error()) > 300 {
		t.Errorf("a path of 10000 directories: %v", err)
	}
}
