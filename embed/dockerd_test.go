package embed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"hookbuild/internal/initramfs"
	"hookbuild/test/testneed"
)

// What a dockerd shows of the store is compared with what the same dockerd
// shows after pulling the same images itself.
func TestDockerdTakesTheStore(t *testing.T) {
	testneed.Tool(t, "dockerd")
	if !privateMounts(t) {
		return
	}
	images := corpus(t)
	images["deep"] = deepest(t, images["base"])
	h := startHub(t, images)
	want := pullWithDockerd(t, h)
	t.Run("directory", func(t *testing.T) {
		want.compare(t, h, Options{Layout: Directory, Cache: h.cache})
	})
	t.Run("packed", func(t *testing.T) {
		want.compare(t, h, Options{Layout: Packed, Cache: h.cache})
	})
}

// deepest adds layers to an image until it has as many as Docker can run.
func deepest(t *testing.T, im v1.Image) v1.Image {
	t.Helper()
	for i := range mostLayers - 1 {
		var err error
		if im, err = mutate.AppendLayers(im, theLayer(t, aFile(fmt.Sprintf("deep/%d", i), "x", 0o644))); err != nil {
			t.Fatal(err)
		}
	}
	return im
}

// pulledCorpus is what a dockerd shows of the embedded images of the corpus.
type pulledCorpus struct {
	images     []string
	containers map[string][]string
}

func pullWithDockerd(t *testing.T, h *hub) *pulledCorpus {
	t.Helper()
	began := time.Now()
	root := t.TempDir()
	mount(t, "tmpfs", root, "tmpfs", 0)
	e := startEngine(t, root)
	p := &pulledCorpus{containers: map[string][]string{}}
	for _, n := range embedded {
		e.do(t, "pull", "--quiet", h.ref(n))
		e.do(t, "tag", h.ref(n), "127.0.0.1/embedded/"+n)
	}
	p.images = e.images(t)
	for _, n := range runnable {
		p.containers[n] = maskTimes(e.container(t, h.ref(n)), began)
	}
	return p
}

var timeOf = regexp.MustCompile(`@(\d+)`)

// maskTimes hides the times of directories without an entry in any layer: they
// have the time of the pull.
func maskTimes(listing string, began time.Time) []string {
	lines := strings.Split(listing, "\n")
	for i, line := range lines {
		second, err := strconv.ParseInt(strings.TrimPrefix(timeOf.FindString(line), "@"), 10, 64)
		if err == nil && second >= began.Unix() {
			lines[i] = timeOf.ReplaceAllString(line, "@")
		}
	}
	return lines
}

func (p *pulledCorpus) compare(t *testing.T, h *hub, o Options) {
	t.Helper()
	r, err := Tree(t.Context(), append(h.items(t), Item{Image: h.pull(t, "deep"), Names: []string{"deep"}}), o)
	if err != nil {
		t.Fatal(err)
	}
	m := boot(t, r.Tree)
	m.installSetfattr(t)
	if said := m.startUp(t); said != "embedded images: 5 in /run/images\n" {
		t.Errorf("the boot script said %q", said)
	}
	e := startEngine(t, filepath.Join(m.root, "run/images"))
	// It has two layers more than dockerd would pull.
	if said := e.do(t, "run", "--rm", "--network=none", "deep", "/bin/sh", "-c", "set -- /deep/*; echo $#"); said != fmt.Sprintln(mostLayers-1) {
		t.Errorf("the container of %d layers sees %s files, want one less", mostLayers, said)
	}
	e.do(t, "rmi", "deep")
	if diff := cmp.Diff(p.images, e.images(t)); diff != "" {
		t.Errorf("docker images: %s", diff)
	}
	for _, n := range runnable {
		image := "127.0.0.1/embedded/" + n
		if diff := cmp.Diff(e.diffIDs(t, image), e.saved(t, image)); diff != "" {
			t.Errorf("docker save %s: %s", image, diff)
		}
		if diff := cmp.Diff(p.containers[n], hideTimes(p.containers[n], e.container(t, image))); diff != "" {
			t.Errorf("docker run %s: %s", image, diff)
		}
	}
	useStore(t, h, e)
	loadExtracted(t, h, e, r.Tree)
}

// loadExtracted loads an image extracted from the store with docker load.
func loadExtracted(t *testing.T, h *hub, e *engine, tree *initramfs.Tree) {
	t.Helper()
	const image = "127.0.0.1/embedded/repeats:latest" // the engine has removed it
	s, err := Open(tree, h.cache)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	w, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	x, err := s.Extract(t.Context(), image, w)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if said := e.do(t, "load", "--quiet", "--input", file); !strings.Contains(said, image) {
		t.Errorf("docker load said %q", said)
	}
	if id := e.do(t, "image", "inspect", "--format", "{{.Id}}", image); strings.TrimSpace(id) != x.ID.String() {
		t.Errorf("docker load has made %s of %s", id, x.ID)
	}
}

// hideTimes hides the time of each line whose time is hidden in like.
func hideTimes(like []string, listing string) []string {
	hidden := map[string]bool{}
	for _, line := range like {
		if name, _, ok := strings.Cut(line, "@"); ok && timeOf.FindString(line) == "" {
			hidden[name] = true
		}
	}
	lines := strings.Split(listing, "\n")
	for i, line := range lines {
		if name, _, _ := strings.Cut(line, "@"); hidden[name] {
			lines[i] = timeOf.ReplaceAllString(line, "@")
		}
	}
	return lines
}

// useStore uses the images as a machine does later on.
func useStore(t *testing.T, h *hub, e *engine) {
	t.Helper()
	said := e.do(t, "run", "--rm", "--network=none", "127.0.0.1/embedded/changed", "/bin/sh", "-c", "cat data/sub/both; echo; echo x >etc/passwd; cat etc/passwd")
	if said != "upper\nx\n" {
		t.Errorf("docker run said %q", said)
	}
	if said := e.do(t, "pull", h.ref("later")); strings.Count(said, "Already exists") != 2 {
		t.Errorf("docker pull of an image that shares two layers said %s", said)
	}
	e.do(t, "rmi", h.ref("changed"), "127.0.0.1/embedded/changed", h.ref("repeats"), "127.0.0.1/embedded/repeats")
	if left := len(e.images(t)); left != 3 {
		t.Errorf("%d images are left after docker rmi, want 3", left)
	}
	if said := e.do(t, "run", "--rm", "--network=none", h.ref("later"), "/bin/cat", "etc/later", "data/new"); said != "laternew" {
		t.Errorf("the pulled image says %q", said)
	}
}
