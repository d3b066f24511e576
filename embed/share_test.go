package embed

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/initramfs"
	"hookbuild/test/testneed"
)

// twins returns two images whose layers have the same program, and files that
// differ from it in one respect.
func twins(t *testing.T) (images map[string]v1.Image, program string) {
	t.Helper()
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(rand.IntN(256))
	}
	program = string(noise)
	one := theLayer(t, aFile("bin/program", program, 0o755), aLink("bin/link", "bin/program", 0o755), aFile("empty", "", 0o644))
	two := theLayer(t, aFile("usr/bin/other-name", program, 0o755), aFile("empty", "", 0o644),
		aFile("mode", program, 0o700), owned(aFile("owner", program, 0o755), 1, 0), at(5, aFile("time", program, 0o755)),
		withAttr(aFile("attr", program, 0o755), "user.a", "x"), aFile("content", program[1:]+"x", 0o755))
	return map[string]v1.Image{"one": theImage(t, one), "two": theImage(t, two)}, program
}

// write returns the initramfs of the parts, and its largest segment with hard
// links.
func write(t *testing.T, r *Result) (whole, links []byte) {
	t.Helper()
	var all bytes.Buffer
	w := initramfs.NewFileWriter(&all)
	for _, p := range r.Parts() {
		tree, err := p.Tree()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteSegment(t.Context(), tree, initramfs.SegmentOptions{Compression: initramfs.None}); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(p.paths, func(name string) bool { return r.shared[name] }) {
			continue
		}
		var segment bytes.Buffer
		if err := initramfs.WriteSegment(t.Context(), &segment, tree, initramfs.SegmentOptions{Compression: initramfs.None}); err != nil {
			t.Fatal(err)
		}
		links = segment.Bytes()
	}
	return all.Bytes(), links
}

// The directory layout stores what is equal in different layers once, and every
// layer can be reassembled from it.
func TestEqualFilesAreSharedByLayers(t *testing.T) {
	images, program := twins(t)
	h := startHub(t, images)
	r := treeOf(t, h, Options{Layout: Directory}, "one", "two")
	var shared []string
	for e := range r.Tree.All() {
		if r.shared[e.Path] {
			_, inLayer, _ := strings.Cut(e.Path, "/diff/")
			shared = append(shared, inLayer)
		}
	}
	slices.Sort(shared)
	if want := []string{"bin/program", "usr/bin/other-name"}; !slices.Equal(shared, want) {
		t.Errorf("shared are %q, want %q", shared, want)
	}
	whole, _ := write(t, r)
	// Of the seven files of that size one is not stored again.
	if low, high := 6*len(program), 6*len(program)+len(program)/2; len(whole) < low || len(whole) > high {
		t.Errorf("the initramfs has %d bytes, want %d to %d", len(whole), low, high)
	}
	spool, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	loaded, err := initramfs.Load(t.Context(), bytes.NewReader(whole), spool, "test", initramfs.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := Open(loaded.Tree, h.cache)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// GNU cpio extracts the shared files as one.
func TestSharedFilesAreHardLinks(t *testing.T) {
	cpio := testneed.Tool(t, "cpio")
	images, program := twins(t)
	r := treeOf(t, startHub(t, images), Options{Layout: Directory}, "one", "two")
	_, segment := write(t, r)
	dir := t.TempDir()
	cmd := exec.Command(cpio, "-i", "-d", "--quiet", "--no-preserve-owner")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(segment)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	var found []os.FileInfo
	for name := range r.shared {
		at := filepath.Join(dir, name)
		info, err := os.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if content, err := os.ReadFile(at); err != nil || string(content) != program {
			t.Errorf("%s has %d other bytes, %v", path.Base(name), len(content), err)
		}
		found = append(found, info)
	}
	if len(found) != 2 || !os.SameFile(found[0], found[1]) {
		t.Errorf("the files are not one: %v", found)
	}
}

// A machine that booted from either layout has the same layers, with the link
// counts of the images.
func TestSharedFilesBootAsTheyWere(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	images, _ := twins(t)
	h := startHub(t, images)
	var seen []string
	for _, layout := range layouts {
		m := boot(t, treeOf(t, h, Options{Layout: layout}, "one", "two").Tree)
		m.installSetfattr(t)
		m.startUp(t)
		var all []string
		for _, n := range []string{"one", "two"} {
			l := &layer{src: h.pull(t, n).Layers[0]}
			l.chain = chainID(nil, l.src.DiffID)
			diff, err := filepath.EvalSymlinks(filepath.Join(m.root, "run/images", graphDir, l.cacheID(), "diff"))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, describe(t, diff, nothing))
		}
		seen = append(seen, strings.Join(all, "\n"))
	}
	if seen[0] != seen[1] || !strings.Contains(seen[0], "other-name") {
		t.Errorf("%s has\n%s\n%s has\n%s", layouts[0], seen[0], layouts[1], seen[1])
	}
}
