package oci

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/tarball"
	"hookbuild/test/testneed"
)

// startEngine starts a dockerd for this test and sets DOCKER_HOST to it.
func startEngine(t *testing.T) {
	t.Helper()
	testneed.Root(t)
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, root := "unix://"+filepath.Join(dir, "sock"), filepath.Join(dir, "root")
	cmd := exec.Command(testneed.Tool(t, "dockerd"), "--config-file", filepath.Join(dir, "daemon.json"), "--data-root", root,
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "--host", socket, "--bridge=none", "--iptables=false")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-ended
		// If mounts are private, as in a container, dockerd bind-mounts its
		// data root over itself and does not unmount it.
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
	})
	t.Setenv("DOCKER_HOST", socket)
	for start := time.Now(); exec.Command("docker", "version").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			said, err := os.ReadFile(log.Name())
			t.Fatalf("dockerd does not answer: %s %v", said, err)
		}
	}
}

func TestImageOfADockerEngine(t *testing.T) {
	startEngine(t)
	l := newLab(t)
	image, want := sample(t, amd64)
	file := saveTo(t, filepath.Join(t.TempDir(), "image.tar"), map[string]v1.Image{"ns/image:v1": image})
	run(t, "docker", "load", "--input", file)

	m := l.check("daemon:ns/image:v1", amd64, want)
	if id, err := image.ConfigName(); err != nil || m.ID != id || m.Reference != nil {
		t.Errorf("got %s, want %s, %v", m.ID, id, err)
	}
	if again := l.image("daemon:"+m.ID.String(), amd64); again.ID != m.ID {
		t.Errorf("by ID: %s", again.ID)
	}
	if left := l.kept("scratch"); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
	// The second time the engine is only asked whether the image is still the
	// same.
	before := len(l.events.all)
	l.client = l.clientWith()
	l.check("daemon:ns/image:v1", amd64, want)
	if more := l.events.all[before:]; len(more) > 0 {
		t.Errorf("it was saved again: %+v", more)
	}

	_, err := l.client.Image(t.Context(), "daemon:ns/none:v1", amd64)
	mentions(t, err, "daemon:ns/none:v1", "docker images")
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("kind %d: %v", fault.KindOf(err), err)
	}
	_, err = l.client.Image(t.Context(), "daemon:ns/image:v1", arm64)
	mentions(t, err, "daemon:ns/image:v1", "linux/amd64", "linux/arm64")
}

func TestEngineThatIsNotThere(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	_, err := newLab(t).client.Image(t.Context(), "daemon:x", amd64)
	mentions(t, err, "daemon:x", "none.sock", "DOCKER_HOST")
	if fault.KindOf(err) != fault.Outside {
		t.Errorf("kind %d", fault.KindOf(err))
	}
}

// Docker's result decides what layers amount to. All cases are in one image,
// each in its own directory.
func TestFlatteningAsDockerDoes(t *testing.T) {
	startEngine(t)
	var tars [][]string
	for name, tc := range flattenings() {
		for i, files := range tc.layers {
			if i == len(tars) {
				tars = append(tars, nil)
			}
			tars[i] = append(tars[i], below(caseDir(name), files)...)
		}
	}
	var layers []layer
	for _, files := range tars {
		layers = append(layers, gzipLayer(t, tarOf(t, files...)))
	}
	file := saveTo(t, filepath.Join(t.TempDir(), "image.tar"), map[string]v1.Image{"test:v1": imageOf(t, amd64, layers...)})
	run(t, "docker", "load", "--input", file)
	found := export(t, "test:v1")
	for name, tc := range flattenings() {
		if diff := cmp.Diff(tc.want, seenBelow(t, found, caseDir(name))); diff != "" {
			t.Errorf("%s: Docker's result differs: %s", name, diff)
		}
	}
}

func caseDir(name string) string { return strings.ReplaceAll(name, " ", "-") + "/" }

// below moves files, in the notation of tarOf, into a directory.
func below(dir string, files []string) []string {
	moved := []string{dir}
	for _, f := range files {
		if name, target, ok := strings.Cut(f, " => "); ok {
			f = name + " => " + dir + target
		}
		moved = append(moved, dir+f)
	}
	return moved
}

// export lists the files that a container of the image sees.
func export(t *testing.T, image string) []initramfs.Entry {
	t.Helper()
	id := strings.TrimSpace(run(t, "docker", "create", image, "/none"))
	out, err := exec.Command("docker", "export", id).Output()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := tarball.Entries(bytes.NewReader(out), int64(len(out)), image)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func seenBelow(t *testing.T, entries []initramfs.Entry, dir string) []string {
	t.Helper()
	tree := &initramfs.Tree{}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Path, dir)
		if !ok {
			continue
		}
		e.Path, e.Target = name, strings.TrimPrefix(e.Target, dir)
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return listing(t, tree)
}
