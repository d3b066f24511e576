package embed

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/testneed"
)

// What a dockerd shows of the store that it finds is compared with what the
// same dockerd shows after it has pulled the same images itself.
func TestDockerdTakesTheDirectoryLayout(t *testing.T) {
	testneed.Tool(t, "dockerd")
	if !privateMounts(t) {
		return
	}
	h := startHub(t, corpus(t))
	compareWithPulled(t, h, Options{Layout: Directory, Cache: h.cache})
}

func compareWithPulled(t *testing.T, h *hub, o Options) {
	t.Helper()
	r, err := Tree(t.Context(), h.items(t), o)
	if err != nil {
		t.Fatal(err)
	}
	m := boot(t, r.Tree)
	if said := m.startUp(t); strings.Contains(said, "not") || strings.Count(said, "\n") != 1 {
		t.Errorf("the boot script said %q", said)
	}
	found := startEngine(t, filepath.Join(m.root, "run/images"))
	reference := t.TempDir()
	mount(t, "tmpfs", reference, "tmpfs", 0)
	puller := startEngine(t, reference)
	for _, n := range embedded {
		puller.do(t, "pull", "--quiet", h.ref(n))
		puller.do(t, "tag", h.ref(n), "127.0.0.1/embedded/"+n)
	}
	if diff := cmp.Diff(puller.images(t), found.images(t)); diff != "" {
		t.Errorf("docker images: %s", diff)
	}
	for _, n := range embedded {
		compareImage(t, puller, found, "127.0.0.1/embedded/"+n)
	}
	useStore(t, h, found)
}

func compareImage(t *testing.T, puller, found *engine, image string) {
	t.Helper()
	if diff := cmp.Diff(found.diffIDs(t, image), found.saved(t, image)); diff != "" {
		t.Errorf("docker save %s: %s", image, diff)
	}
	if strings.HasSuffix(image, "/empty") {
		return // nothing to run
	}
	want, got := puller.container(t, image), found.container(t, image)
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("docker run %s: %s", image, diff)
	}
}

// useStore does what a machine does with its images later on.
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
