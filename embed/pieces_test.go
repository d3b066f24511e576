package embed

import (
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
)

// noise returns content that no compressor makes smaller; equal names have
// equal content.
func noise(name string, size int) string {
	b := make([]byte, size)
	source := rand.NewChaCha8(sha256.Sum256([]byte(name)))
	if _, err := source.Read(b); err != nil {
		panic(err) // an error here cannot happen
	}
	return string(b)
}

// kindred returns images that share a layer, and files of different layers.
func kindred(t *testing.T) map[string]v1.Image {
	t.Helper()
	base := theLayer(t, aFile("bin/tool", noise("tool", 300<<10), 0o755), aFile("etc/hosts", "hosts", 0o644))
	return map[string]v1.Image{
		"first":  theImage(t, base, theLayer(t, aFile("bin/first", noise("first", 200<<10), 0o755), aFile("etc/ca", "certificates", 0o644))),
		"second": theImage(t, base, theLayer(t, aFile("bin/second", noise("second", 400<<10), 0o755), aFile("etc/ca", "certificates", 0o644))),
		"third": theImage(t, base, theLayer(t, aFile("bin/third", noise("third", 100<<10), 0o755), aFile("bin/tool-too", noise("tool", 300<<10), 0o755)),
			theLayer(t, aFile("etc/third", "third", 0o600))),
	}
}

// coldly makes the store with an empty cache.
func coldly(t *testing.T, h *hub, o Options, names ...string) *Result {
	t.Helper()
	return treeOf(t, h.again(t, t.TempDir(), nil), o, names...)
}

func squashed(t *testing.T, r *Result) string {
	t.Helper()
	return contentOf(t, r.Tree, StorePath+"/"+layersFile)
}

// One more image packs only its own layers, and the result is the same as with
// an empty cache.
func TestOneMoreImageConvertsOnlyItsLayers(t *testing.T) {
	h := startHub(t, kindred(t))
	o := Options{Layout: Packed}
	for _, step := range []struct {
		images []string
		want   int
	}{
		{[]string{"first"}, 2},
		{[]string{"first", "second"}, 1},
		{[]string{"first", "second", "third"}, 2},
		{[]string{"first", "second", "third"}, 0},
		{[]string{"first", "second"}, 0},
		{[]string{"first", "third"}, 0},
	} {
		r := treeOf(t, h, o, step.images...)
		if r.Converted != step.want {
			t.Errorf("%q: %d of %d layers were packed, want %d", step.images, r.Converted, r.Layers, step.want)
		}
		if squashed(t, r) != squashed(t, coldly(t, h, o, step.images...)) {
			t.Errorf("%q: a cold cache gives other bytes", step.images)
		}
	}
}

// A file of several layers is in the squashfs once.
func TestLayersShareContents(t *testing.T) {
	h := startHub(t, kindred(t))
	size := len(squashed(t, treeOf(t, h, Options{Layout: Packed}, "first", "second", "third")))
	if distinct := (300 + 200 + 400 + 100) << 10; size < distinct || size > distinct+32<<10 {
		t.Errorf("the squashfs has %d bytes for %d of distinct content", size, distinct)
	}
}

// A damaged piece is removed with a warning, and made again.
func TestDamagedPiece(t *testing.T) {
	h := startHub(t, kindred(t))
	want := squashed(t, treeOf(t, h, Options{Layout: Packed}, "first", "second"))
	pieces, err := filepath.Glob(filepath.Join(h.cache.Dir(), "pieces", "sha256-*"))
	if err != nil || len(pieces) != 3 {
		t.Fatalf("the cache holds the pieces %q, %v", pieces, err)
	}
	raw, err := os.ReadFile(pieces[0])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(pieces[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var said warnings
	r := treeOf(t, h.again(t, h.cache.Dir(), &said), Options{Layout: Packed}, "first", "second")
	if r.Converted != 1 || squashed(t, r) != want {
		t.Errorf("%d layers were packed again, and that gave the same: %t", r.Converted, squashed(t, r) == want)
	}
	if len(said.text) != 1 || !strings.Contains(said.text[0], pieces[0]) {
		t.Errorf("the warnings are %q", said.text)
	}
}

// again returns the hub as another process with the cache in dir sees it.
func (h *hub) again(t *testing.T, dir string, sink progress.Sink) *hub {
	t.Helper()
	c, err := cache.Open(dir, sink)
	if err != nil {
		t.Fatal(err)
	}
	return &hub{host: h.host, cache: c, client: oci.NewClient(oci.Options{Cache: c})}
}

// warnings collects warnings.
type warnings struct{ text []string }

// Report implements [progress.Sink].
func (w *warnings) Report(e progress.Event) {
	if e.Kind == progress.Warning {
		w.text = append(w.text, e.Text)
	}
}

// packing keeps the last event of the task that packs layers, and the totals that it
// has told.
type packing struct {
	mu     sync.Mutex
	last   progress.Event
	totals []int64
}

func (p *packing) Report(e progress.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.HasPrefix(e.Task, "pack ") {
		p.last = e
		if !slices.Contains(p.totals, e.Total) {
			p.totals = append(p.totals, e.Total)
		}
	}
}

// Packing reports how many of how many bytes are packed, from the cache too.
func TestPackingCountsBytes(t *testing.T) {
	h := startHub(t, kindred(t))
	for _, state := range []string{"cold", "warm"} {
		var seen packing
		treeOf(t, h, Options{Layout: Packed, Progress: &seen}, "first", "second", "third")
		if e := seen.last; e.Kind != progress.Finished || e.Total < 500<<10 || e.Done != e.Total {
			t.Errorf("%s: %d of %d bytes", state, e.Done, e.Total)
		}
		if want := []int64{0, seen.last.Total}; !slices.Equal(seen.totals, want) {
			t.Errorf("%s: the totals are %v, want %v: a total that grows turns progress back", state, seen.totals, want)
		}
	}
}
