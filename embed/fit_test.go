package embed

import (
	"archive/tar"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// What the store cannot hold as the image has it is left out or bounded, and a
// warning says which files.
func TestChangedFilesAreReported(t *testing.T) {
	timed := func(name string, second int64) member {
		return inFormat(tar.FormatGNU, at(second, aFile(name, "x", 0o644)))
	}
	h := startHub(t, map[string]v1.Image{"odd": theImage(t, theLayer(t,
		withAttr(aFile("foreign", "x", 0o644), "com.apple.quarantine", "x"),
		withAttr(aSymlink("listed", "x"), "system.posix_acl_access", listed),
		withAttr(aDevice("fifo", tar.TypeFifo, 0, 0), "user.a", "x"),
		timed("early", -1000), timed("late", 5_000_000_000), timed("far", 10_000_000_000), timed("fine", 7)))})
	var said warnings
	s, err := Open(treeOf(t, h, Options{Layout: Packed, Progress: &said}, "odd").Tree, h.cache)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := s.openLayers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seconds := map[string]int64{"foreign": 1_600_000_000, "listed": 1_600_000_000, "fifo": 1_600_000_000, "early": 0, "late": 1<<32 - 1, "far": 0, "fine": 7}
	for name, want := range seconds {
		e, found := layers.Lookup(s.images[0].layers[0].cacheID + "/" + name)
		if !found || e.ModTime.Unix() != want || len(e.Xattrs) > 0 {
			t.Errorf("%s is there: %t, with the time %d, want %d, and the attributes %v", name, found, e.ModTime.Unix(), want, e.Xattrs)
		}
	}
	wants := map[string]string{
		`1 file with extended attributes of a name space that Linux does not have: the attributes are left out`:                   "foreign",
		`1 file with access control lists, which Linux does not support for symbolic links: the lists are left out`:               "listed",
		`1 file with user.* attributes, which Linux supports only for regular files and directories: the attributes are left out`: "fifo",
		`2 files with times before 1970 or after 2262: the times become 1970`:                                                     "early",
		`1 file with times after 2106, which neither a squashfs nor an initramfs holds: the times become 2106`:                    "late",
	}
	got := map[string]string{}
	for _, text := range said.text {
		for what := range wants {
			if _, after, ok := strings.Cut(text, "layer 1 has "+what); ok {
				_, first, _ := strings.Cut(after, "; the first is ")
				got[what] = strings.Trim(first, `"`)
			}
		}
	}
	if diff := cmp.Diff(wants, got); diff != "" || len(said.text) != len(wants) {
		t.Errorf("the warnings are %q\n%s", said.text, diff)
	}
}

// A change that several layers need is one warning, which names them.
func TestChangesOfSeveralLayersAreOneWarning(t *testing.T) {
	odd := func(name string) v1.Image {
		return theImage(t, theLayer(t, withAttr(aFile(name, "x", 0o644), "com.apple.quarantine", "x")))
	}
	h := startHub(t, map[string]v1.Image{"one": odd("a"), "two": odd("b")})
	var said warnings
	treeOf(t, h, Options{Layout: Packed, Progress: &said}, "one", "two")
	if len(said.text) != 1 || !strings.Contains(said.text[0], "one:v1, layer 1 and image ") || !strings.Contains(said.text[0], `two:v1, layer 1 together have 2 files with`) {
		t.Errorf("the warnings are %q", said.text)
	}
}
