package embed

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ggcrtar "github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// layouts are the possible layouts of a store.
var layouts = []Layout{Directory, Packed}

// throughArchive writes the tree as an initramfs and reads it back.
func throughArchive(t *testing.T, tree *initramfs.Tree) *initramfs.Tree {
	t.Helper()
	var file bytes.Buffer
	if err := initramfs.WriteSegment(t.Context(), &file, tree, initramfs.SegmentOptions{Compression: initramfs.Zstd}); err != nil {
		t.Fatal(err)
	}
	spool, err := os.Create(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := spool.Close(); err != nil {
			t.Error(err)
		}
	})
	loaded, err := initramfs.Load(t.Context(), &file, spool, "a test", initramfs.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Tree
}

func TestOpenGivesBackTheStore(t *testing.T) {
	for _, layout := range layouts {
		t.Run(string(layout), func(t *testing.T) {
			h := startHub(t, smallCorpus(t))
			made := treeOf(t, h, Options{Layout: layout}, "one", "two", "none")
			s, err := Open(throughArchive(t, made.Tree), newCache(t))
			if err != nil {
				t.Fatal(err)
			}
			if s.Layout() != layout {
				t.Errorf("the layout is %s", s.Layout())
			}
			byName := func(a, b Embedded) int { return strings.Compare(a.sortKey(), b.sortKey()) }
			if diff := cmp.Diff(slices.SortedFunc(slices.Values(made.Images), byName), s.Images()); diff != "" {
				t.Error(diff)
			}
			if err := s.Verify(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func extract(t *testing.T, s *Store, image string) (*Extracted, v1.Image) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	w, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	x, err := s.Extract(t.Context(), image, w)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	var tag *name.Tag
	im, err := ggcrtar.ImageFromPath(file, tag)
	if err != nil {
		t.Fatal(err)
	}
	return x, im
}

func TestExtract(t *testing.T) {
	for _, layout := range layouts {
		t.Run(string(layout), func(t *testing.T) {
			h := startHub(t, smallCorpus(t))
			s, err := Open(throughArchive(t, treeOf(t, h, Options{Layout: layout}, "one", "two", "none").Tree), newCache(t))
			if err != nil {
				t.Fatal(err)
			}
			x, im := extract(t, s, "127.0.0.1/embedded/two")
			if len(x.Notes) > 0 || x.ID != h.pull(t, "two").ID {
				t.Errorf("got %+v, want the ID %s", x, h.pull(t, "two").ID)
			}
			if err := validate.Image(im); err != nil {
				t.Error(err)
			}
			if id, err := im.ConfigName(); err != nil || id != x.ID {
				t.Errorf("the archive has %s, %v", id, err)
			}
			if x, _ := extract(t, s, h.pull(t, "none").ID.Hex[:12]); x.ID != h.pull(t, "none").ID {
				t.Errorf("by ID: got %s", x.ID)
			}
		})
	}
}

func TestExtractUnknown(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	s, err := Open(treeOf(t, h, Options{Layout: Directory}, "one").Tree, newCache(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, unknown := range []string{"two", "", "sha256:", "127.0.0.1/embedded/one:other", "zz zz"} {
		_, err = s.Extract(t.Context(), unknown, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "127.0.0.1/embedded/one:latest") || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: got %v", unknown, err)
		}
	}
}

func TestExtractByTheEndOfTheName(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	two := h.pull(t, "two")
	s := openStore(t, h, Item{Image: h.pull(t, "one"), Names: []string{"127.0.0.1/embedded/one"}},
		Item{Image: two, Names: []string{"127.0.0.1/embedded/same", "127.0.0.1/embedded/two:v2"}},
		Item{Image: h.pull(t, "none"), Names: []string{"r.example/same"}})
	for name, want := range map[string]string{"one": "one:latest", "one:latest": "one:latest", "two:v2": "two:v2"} {
		if im, err := s.find(name); err != nil || !slices.ContainsFunc(s.embedded(im).Names, func(n string) bool { return n == "127.0.0.1/embedded/"+want }) {
			t.Errorf("%q is %v, %v", name, im, err)
		}
	}
	const all = "there are 127.0.0.1/embedded/one:latest, 127.0.0.1/embedded/same:latest, 127.0.0.1/embedded/two:v2, r.example/same:latest"
	for name, say := range map[string]string{"same": "it stands for 2 images; ", "two": "no image has this name or ID; "} {
		if _, err := s.find(name); err == nil || !strings.Contains(err.Error(), say+all) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// openStore opens the store of the items.
func openStore(t *testing.T, h *hub, items ...Item) *Store {
	t.Helper()
	r, err := Tree(t.Context(), items, Options{Layout: Directory, Cache: h.cache})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(r.Tree, h.cache)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenWithoutStore(t *testing.T) {
	if _, err := Open(&initramfs.Tree{}, newCache(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// upstream changes a store as upstream's pipeline does: owners are lost,
// whiteouts become empty files, files of equal content symlinks.
func upstream(t *testing.T, tree *initramfs.Tree) *initramfs.Tree {
	t.Helper()
	lossy := &initramfs.Tree{}
	first := map[string]string{}
	for e := range tree.All() {
		if strings.Contains(e.Path, "/"+repairDir) {
			continue
		}
		e.UID, e.GID = 0, 0
		if e.Type == initramfs.Regular && strings.Contains(e.Path, "/diff/") {
			body := contentOf(t, tree, e.Path)
			if other, seen := first[body]; seen {
				e = initramfs.Entry{Path: e.Path, Type: initramfs.Symlink, Mode: 0o777, Target: "/" + other}
			} else {
				first[body] = e.Path
			}
		}
		if err := lossy.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return lossy
}

func upstreamStore(t *testing.T) *initramfs.Tree {
	t.Helper()
	h := startHub(t, map[string]v1.Image{"x": theImage(t, theLayer(t,
		owned(aFile("a", "same", 0o4755), 7, 7), aFile("b", "same", 0o644), aLink("c", "a", 0o4755), aFile(".wh.gone", "", 0)))})
	return upstream(t, treeOf(t, h, Options{Layout: Directory}, "x").Tree)
}

func TestExtractFromUpstreamsStore(t *testing.T) {
	s, err := Open(throughArchive(t, upstreamStore(t)), newCache(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	x, im := extract(t, s, "127.0.0.1/embedded/x")
	if len(x.Notes) > 0 {
		t.Errorf("notes: %q", x.Notes)
	}
	if err := validate.Image(im); err != nil {
		t.Error(err)
	}
}

// A layer that lacks a file, or its tar-split data, is archived again.
func TestExtractAgain(t *testing.T) {
	lossy := upstreamStore(t)
	for e := range lossy.All() {
		if strings.HasSuffix(e.Path, "/tar-split.json.gz") {
			lossy.Remove(e.Path)
		}
		if path.Base(e.Path) == "diff" && e.Type == initramfs.Dir {
			addOddFiles(t, lossy, e.Path)
		}
	}
	s, err := Open(lossy, newCache(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context()); !errors.Is(err, errDiffID) || fault.KindOf(err) != fault.Invalid {
		t.Errorf("verifying a damaged store: %v", err)
	}
	x, im := extract(t, s, "127.0.0.1/embedded/x")
	if len(x.Notes) != 2 {
		t.Errorf("notes: %q", x.Notes)
	}
	if err := validate.Image(im); err != nil {
		t.Error(err)
	}
	want := map[string]string{
		"a": "0same", "b": "0same", "c": `1->"a"`, "d/": "5", "d/.wh.gone": "0", "d/disk": "4", "d/link": `2->"/etc"`, "d/null": "3", "d/pipe": "6",
	}
	if diff := cmp.Diff(want, filesOfLayer(t, im)); diff != "" {
		t.Error(diff)
	}
}

// addOddFiles adds files other than regular ones to a layer of a store.
func addOddFiles(t *testing.T, tree *initramfs.Tree, diff string) {
	t.Helper()
	for _, e := range []initramfs.Entry{
		{Path: "d", Type: initramfs.Dir, Mode: 0o700},
		{Path: "d/gone", Type: initramfs.CharDevice},
		{Path: "d/null", Type: initramfs.CharDevice, Major: 1, Minor: 3},
		{Path: "d/disk", Type: initramfs.BlockDevice, Major: 8},
		{Path: "d/link", Type: initramfs.Symlink, Target: "/etc"},
		{Path: "d/pipe", Type: initramfs.Fifo},
		{Path: "d/socket", Type: initramfs.Socket},
		{Path: "c", Type: initramfs.HardLink, Target: diff + "/a"},
	} {
		e.Path = diff + "/" + e.Path
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
}

// filesOfLayer lists an image's only layer: types, contents and targets.
func filesOfLayer(t *testing.T, im v1.Image) map[string]string {
	t.Helper()
	layers, err := im.Layers()
	if err != nil {
		t.Fatal(err)
	}
	body, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(body); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(h.Typeflag) + string(content)
		if h.Linkname != "" {
			files[h.Name] += fmt.Sprintf("->%q", h.Linkname)
		}
	}
}

// Damage to a store made by hookbuild is no reason to change the image.
func TestExtractFromDamagedStore(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	tree := treeOf(t, h, Options{Layout: Directory}, "one").Tree
	for e := range tree.All() {
		if strings.HasSuffix(e.Path, "/diff/bin/a") {
			if err := tree.Add(initramfs.BytesFile(e.Path, []byte("hostile"), e.ModTime)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := Open(tree, newCache(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Extract(t.Context(), "127.0.0.1/embedded/one", io.Discard)
	if err == nil || !strings.Contains(err.Error(), "damaged") || fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}
