package embed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
)

// smallCorpus returns a set of images that needs no tools.
func smallCorpus(t *testing.T) map[string]v1.Image {
	t.Helper()
	base := theLayer(t, aDir("bin", 0o755), aFile("bin/a", "program", 0o755), aLink("bin/b", "bin/a", 0o755), aFile("etc/gone", "gone", 0o644))
	upper := theLayer(t, aFile("etc/.wh.gone", "", 0), aFile("etc/kept", "kept", 0o600))
	return map[string]v1.Image{"one": theImage(t, base), "two": theImage(t, base, upper), "none": theImage(t)}
}

func treeOf(t *testing.T, h *hub, o Options, names ...string) *Result {
	t.Helper()
	var items []Item
	for _, n := range names {
		items = append(items, Item{Image: h.pull(t, n), Names: []string{"127.0.0.1/embedded/" + n}})
	}
	o.Cache = h.cache
	r, err := Tree(t.Context(), items, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func contentOf(t *testing.T, tree *initramfs.Tree, name string) string {
	t.Helper()
	e, ok := tree.Lookup(name)
	if !ok || e.Type != initramfs.Regular {
		t.Fatalf("%q is not a file: %v", name, e.Type)
	}
	if e.Open == nil {
		return ""
	}
	r, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestStoreSkeleton(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	r := treeOf(t, h, Options{Layout: Directory}, "one", "two", "none")
	if r.Layers != 2 || len(r.Images) != 3 {
		t.Errorf("%d layers, %d images: want 2, 3", r.Layers, len(r.Images))
	}
	two := h.pull(t, "two")
	base := two.Layers[0].DiffID
	chain := chainID(&layer{chain: base}, two.Layers[1].DiffID)
	link := func(h v1.Hash) string { return (&layer{chain: h}).link() }
	for name, want := range map[string]string{
		"image/overlay2/imagedb/content/sha256/" + two.ID.Hex:                             string(two.RawConfig),
		"image/overlay2/layerdb/sha256/" + base.Hex + "/diff":                             base.String(),
		"image/overlay2/layerdb/sha256/" + base.Hex + "/cache-id":                         base.Hex,
		"image/overlay2/layerdb/sha256/" + base.Hex + "/size":                             "11",
		"image/overlay2/layerdb/sha256/" + chain.Hex + "/parent":                          base.String(),
		"image/overlay2/layerdb/sha256/" + chain.Hex + "/size":                            "4",
		"overlay2/" + base.Hex + "/link":                                                  link(base),
		"overlay2/" + chain.Hex + "/lower":                                                "l/" + link(base),
		"overlay2/" + chain.Hex + "/committed":                                            "",
		"overlay2/" + chain.Hex + "/diff/etc/kept":                                        "kept",
		"image/overlay2/distribution/diffid-by-digest/sha256/" + two.Layers[1].Digest.Hex: two.Layers[1].DiffID.String(),
		"image/overlay2/distribution/v2metadata-by-diffid/sha256/" + two.Layers[1].DiffID.Hex: fmt.Sprintf(
			`[{"Digest":"%s","SourceRepository":"%s/corpus/two","HMAC":""}]`, two.Layers[1].Digest, h.host),
	} {
		if got := contentOf(t, r.Tree, StorePath+"/"+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if e, _ := r.Tree.Lookup(StorePath + "/overlay2/l/" + link(chain)); e.Target != "../"+chain.Hex+"/diff" {
		t.Errorf("the link leads to %q", e.Target)
	}
	for _, name := range []string{"overlay2/" + base.Hex + "/lower", "image/overlay2/layerdb/sha256/" + base.Hex + "/parent", "overlay2/" + base.Hex + "/work"} {
		if _, exists := r.Tree.Lookup(StorePath + "/" + name); exists {
			t.Errorf("%s is there: the layer has none below", name)
		}
	}
}

// listing lists a tree with all its contents.
func listing(t *testing.T, tree *initramfs.Tree) string {
	t.Helper()
	var all strings.Builder
	for e := range tree.All() {
		fmt.Fprintf(&all, "%q %v %o %d:%d %v %q %v\n", e.Path, e.Type, e.Mode, e.UID, e.GID, e.ModTime.UTC(), e.Target, e.Xattrs)
		if e.Type == initramfs.Regular {
			fmt.Fprintf(&all, "%q\n", contentOf(t, tree, e.Path))
		}
	}
	return all.String()
}

func TestTreeIsTheSameEveryTime(t *testing.T) {
	for _, layout := range layouts {
		t.Run(string(layout), func(t *testing.T) {
			images := smallCorpus(t)
			h := startHub(t, images)
			first := listing(t, treeOf(t, h, Options{Layout: layout, Jobs: 1}, "one", "two", "none").Tree)
			// Another cache, so that everything is made again; the same registry.
			fresh := startHub(t, nil)
			fresh.host = h.host
			second := listing(t, treeOf(t, fresh, Options{Layout: layout, Jobs: 8}, "one", "two", "none").Tree)
			if diff := cmp.Diff(first, second); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTreeRefuses(t *testing.T) {
	h := startHub(t, smallCorpus(t))
	changed := func(change func(*oci.Image)) *oci.Image {
		im := *h.pull(t, "two")
		config := *im.Config
		im.Config = &config
		change(&im)
		return &im
	}
	two := h.pull(t, "two")
	for title, test := range map[string]struct {
		item Item
		want string
	}{
		"another architecture": {Item{Image: changed(func(im *oci.Image) { im.Config.Architecture = "riscv64" }), Names: []string{"x"}}, "riscv64"},
		"another system":       {Item{Image: changed(func(im *oci.Image) { im.Config.OS = "windows" }), Names: []string{"x"}}, "windows"},
		"no name":              {Item{Image: two, Names: nil}, "no name"},
		"an invalid name":      {Item{Image: two, Names: []string{"X"}}, `"X"`},
		"a wrong ID":           {Item{Image: changed(func(im *oci.Image) { im.ID = hashOf("1") }), Names: []string{"x"}}, "digest"},
		"no rootfs":            {Item{Image: noRootFS(changed), Names: []string{"x"}}, "rootfs"},
		"no JSON":              {Item{Image: withConfig(changed, "no"), Names: []string{"x"}}, "configuration"},
		"a layer too few":      {Item{Image: changed(func(im *oci.Image) { im.Layers = im.Layers[:1] }), Names: []string{"x"}}, "2 layers"},
		"another layer":        {Item{Image: changed(func(im *oci.Image) { im.Layers = []*oci.Layer{im.Layers[1], im.Layers[0]} }), Names: []string{"x"}}, "layer 1"},
	} {
		t.Run(title, func(t *testing.T) {
			_, err := Tree(t.Context(), []Item{test.item}, Options{Layout: Directory, Arch: "amd64", Cache: h.cache})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error about %q", err, test.want)
			}
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("the error is of kind %d: %v", fault.KindOf(err), err)
			}
		})
	}
}

func withConfig(changed func(func(*oci.Image)) *oci.Image, config string) *oci.Image {
	return changed(func(im *oci.Image) {
		im.RawConfig = []byte(config)
		id, _, err := v1.SHA256(bytes.NewReader(im.RawConfig))
		if err == nil {
			im.ID = id
		}
	})
}

func noRootFS(changed func(func(*oci.Image)) *oci.Image) *oci.Image {
	return withConfig(changed, `{"os":"linux","architecture":"amd64"}`)
}

func TestTreeRefusesTooManyLayers(t *testing.T) {
	l := theLayer(t, aFile("a", "a", 0o644))
	im := theImage(t, l)
	for range mostLayers {
		var err error
		if im, err = mutate.AppendLayers(im, l); err != nil {
			t.Fatal(err)
		}
	}
	h := startHub(t, map[string]v1.Image{"deep": im})
	_, err := Tree(t.Context(), []Item{{Image: h.pull(t, "deep"), Names: []string{"x"}}}, Options{Layout: Directory, Cache: h.cache})
	if err == nil || !strings.Contains(err.Error(), "126 layers") {
		t.Errorf("got %v", err)
	}
}

// tar allows a path twice, but dockerd does not.
func TestTreeRefusesDuplicatePaths(t *testing.T) {
	h := startHub(t, map[string]v1.Image{"twice": theImage(t, theLayer(t, aFile("a", "1", 0o644), aFile("./a", "2", 0o644)))})
	_, err := Tree(t.Context(), []Item{{Image: h.pull(t, "twice"), Names: []string{"x"}}}, Options{Layout: Directory, Cache: h.cache})
	if err == nil || !strings.Contains(err.Error(), "twice") || fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestDirectoryLayoutLimits(t *testing.T) {
	for title, test := range map[string]struct {
		entry initramfs.Entry
		want  string
	}{
		"4 GiB":       {initramfs.Entry{Path: "huge", Size: 1 << 32}, "4 GiB"},
		"a long path": {initramfs.Entry{Path: strings.Repeat(strings.Repeat("d", 199)+"/", 19) + strings.Repeat("f", 197)}, "the path"},
		"a socket":    {initramfs.Entry{Path: "s", Type: initramfs.Socket}, "socket"},
	} {
		t.Run(title, func(t *testing.T) {
			s := storeOf(t, []initramfs.Entry{test.entry})
			_, err := s.directory(t.Context(), nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "--layout packed") {
				t.Errorf("got %v", err)
			}
		})
	}
	fits := longestPath - len(StorePath+"/overlay2//diff/") - 64
	longest := strings.Repeat(strings.Repeat("d", 99)+"/", fits/100) + strings.Repeat("f", fits%100)
	s := storeOf(t, []initramfs.Entry{{Path: longest, ModTime: time.Unix(1, 0)}, {Path: "almost", Size: largestFile}})
	if _, err := s.directory(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
