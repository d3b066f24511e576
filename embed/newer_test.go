//go:build e2e

package embed

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"hookbuild/test/testneed"

	"github.com/google/go-cmp/cmp"
)

// HookOS runs dockerd 28. This version and its successor are built from the
// source in the module proxy, because Debian has neither.

func TestDockerd28TakesThePackedStore(t *testing.T) {
	takesThePackedStore(t, buildDockerd(t, "28.5.2", fetchDocker28), func(e *engine) {
		refusesForeignAttrs(t, e)
		dropsMisplacedAttrs(t, e)
		if ok, said := e.tryLoad(listedSymlink().archive(t, t.TempDir())); ok || !strings.Contains(said, "operation not supported") {
			t.Errorf("an access control list on a symbolic link: dockerd loads it: %t, and says %s", ok, said)
		}
	})
}

func TestDockerd29TakesThePackedStore(t *testing.T) {
	takesThePackedStore(t, buildDockerd(t, "2.0.0-beta.24", fetchMoby2), func(e *engine) {
		refusesForeignAttrs(t, e)
		followsListedSymlinks(t, e)
	})
}

// takesThePackedStore starts the dockerd on a packed store, without a flag that
// selects a driver, and checks that it finds every image and every layer; then
// it calls more. It runs no containers: the machine's runc may be too old for
// that.
func takesThePackedStore(t *testing.T, dockerd string, more func(*engine)) {
	t.Helper()
	if !privateMounts(t) {
		return
	}
	h := startHub(t, corpus(t))
	items := h.items(t)
	r, err := Tree(t.Context(), items, Options{Layout: Packed, Cache: h.cache})
	if err != nil {
		t.Fatal(err)
	}
	m := boot(t, r.Tree)
	m.startUp(t)
	root := filepath.Join(m.root, "run/images")
	e := startDockerd(t, dockerd, root)
	if info := e.do(t, "info", "--format", "{{.Driver}} {{.Images}}"); info != fmt.Sprintf("overlay2 %d\n", len(items)) {
		t.Errorf("docker info says %q, want overlay2 and %d images", info, len(items))
	}
	for _, it := range items {
		for _, name := range it.Names {
			if id := strings.TrimSpace(e.do(t, "image", "inspect", "--format", "{{.Id}}", name)); id != it.Image.ID.String() {
				t.Errorf("%s is the image %s, want %s", name, id, it.Image.ID)
			}
		}
	}
	for _, n := range runnable {
		image := "127.0.0.1/embedded/" + n
		if diff := cmp.Diff(e.diffIDs(t, image), e.saved(t, image)); diff != "" {
			t.Errorf("docker save %s: %s", image, diff)
		}
	}
	more(e)
	e.stop()
	seesNothingInContainerd(t, dockerd, root)
}

// refusesForeignAttrs checks what fit.go and docs/embedding.md say about 28 and
// 29.
func refusesForeignAttrs(t *testing.T, e *engine) {
	t.Helper()
	for _, odd := range []oddLayer{
		{name: "foreign", members: []member{withAttr(aFile("a", "x", 0o644), "foo.bar", "x")}},
		{name: "system", members: []member{withAttr(aFile("a", "x", 0o644), "system.foo", "x")}},
	} {
		if ok, said := e.tryLoad(odd.archive(t, t.TempDir())); ok || !strings.Contains(said, "operation not supported") {
			t.Errorf("%s: dockerd loads it: %t, and says %s", odd.name, ok, said)
		}
	}
}

// dropsMisplacedAttrs checks what fit.go says about 28. (29 sets the attribute
// on the target of the symbolic link.)
func dropsMisplacedAttrs(t *testing.T, e *engine) {
	t.Helper()
	odd := oddLayer{name: "misplaced", members: []member{withAttr(aSymlink("s", "x"), "user.a", "x")}}
	if ok, said := e.tryLoad(odd.archive(t, t.TempDir())); !ok {
		t.Errorf("misplaced: %s", said)
	}
}

// listedSymlink is a layer with an access control list on a symbolic link.
func listedSymlink() oddLayer {
	return oddLayer{name: "listed", members: []member{aFile("x", "x", 0o644), withAttr(aSymlink("s", "x"), "system.posix_acl_access", listed)}}
}

// followsListedSymlinks checks what docs/embedding.md says about 29.
func followsListedSymlinks(t *testing.T, e *engine) {
	t.Helper()
	odd := listedSymlink()
	if ok, said := e.tryLoad(odd.archive(t, t.TempDir())); !ok {
		t.Fatalf("dockerd refuses it: %s", said)
	}
	upper := strings.TrimSpace(e.do(t, "image", "inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", odd.tag()))
	if attrs, err := xattrsOf(filepath.Join(upper, "x")); err != nil || !strings.Contains(attrs, "system.posix_acl_access") {
		t.Errorf("the link's target has the attributes %q, %v", attrs, err)
	}
}

// seesNothingInContainerd checks what docs/embedding.md says about dockerd's
// other image store.
func seesNothingInContainerd(t *testing.T, dockerd, root string) {
	t.Helper()
	e := startDockerd(t, dockerd, root, "--feature", "containerd-snapshotter=true")
	if ids := strings.Fields(e.do(t, "image", "ls", "--quiet")); len(ids) != 0 {
		t.Errorf("dockerd with its images in containerd sees %d images of the store; say so in docs/embedding.md", len(ids))
	}
}

// buildDockerd returns a dockerd of the version, from the user's cache
// directory if it was built before. fetch puts a main module into dir and
// returns the package to build there. A build that fails, for example without a
// network, ends the test.
func buildDockerd(t *testing.T, version string, fetch func(dir string) (pkg string, err error)) (program string) {
	t.Helper()
	cacheDir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(cacheDir, "hookbuild-test", fmt.Sprintf("dockerd-%s-%s", version, runtime.GOARCH))
	if _, err := os.Stat(program); err == nil {
		return program
	}
	dir := t.TempDir()
	pkg, err := fetch(dir)
	if err != nil {
		testneed.Missing(t, "dockerd-"+version, fmt.Sprintf("its source cannot be fetched: %v", err))
	}
	const tags = "exclude_graphdriver_btrfs no_btrfs"
	if _, err := runGo(dir, "build", "-mod=mod", "-tags", tags, "-o", program+".new", pkg); err != nil {
		testneed.Missing(t, "dockerd-"+version, fmt.Sprintf("it cannot be built: %v", err))
	}
	if err := os.Rename(program+".new", program); err != nil {
		t.Fatal(err)
	}
	return program
}

// fetchDocker28 copies the source, whose dependencies are listed in vendor.mod
// instead of go.mod.
func fetchDocker28(dir string) (pkg string, err error) {
	said, err := runGo(dir, "mod", "download", "-json", "github.com/docker/docker@v28.5.2+incompatible")
	if err != nil {
		return "", err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(said, &module); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(module.Dir)); err != nil {
		return "", err
	}
	for from, to := range map[string]string{"vendor.mod": "go.mod", "vendor.sum": "go.sum"} {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			return "", err
		}
	}
	return "./cmd/dockerd", nil
}

// fetchMoby2 makes a module that requires the source.
func fetchMoby2(dir string) (pkg string, err error) {
	pkg = "github.com/moby/moby/v2/cmd/dockerd"
	if _, err := runGo(dir, "mod", "init", "dockerd"); err != nil {
		return "", err
	}
	_, err = runGo(dir, "get", pkg+"@v2.0.0-beta.24")
	return pkg, err
}

// runGo runs the go command in dir and returns what it prints.
func runGo(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		tail := errs.String()
		return out, fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, tail[max(0, len(tail)-1000):])
	}
	return out, nil
}
