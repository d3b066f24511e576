package main

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// ownFiles writes a hookbuild.yaml and files beside it that a build reads.
func ownFiles(t *testing.T, dir string) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Close()
	for name, text := range map[string]string{
		"plant/overlay.yaml": "services: [{name: hook-docker, image: \"${HOOK_CONTAINER_HELLO_IMAGE}\"}]\nfiles: [{path: etc/rack, source: ../shared/rack}, {path: etc/fixed, source: " + dir + "/fixed}, {path: etc/home, source: ~/own, optional: true}]\n",
		"shared/rack":        "7\n",
		"fixed":              "8\n",
		"shared/root.pem":    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		"plant/password":     "geheim\n",
		"plant/hookbuild.yaml": "overlays: [overlay.yaml]\nnetwork: {proxy: {https: \"http://me:geheim@192.0.2.1:3128\", none: [127.0.0.1]}}\n" +
			"site:\n  ca: [../shared/root.pem]\n  registries: [{host: r.example, username: ci, password-file: password}]\n",
	} {
		site.WriteFile(t, filepath.Join(dir, name), text)
	}
}

// A kit has the Hook checkout, hookbuild.yaml and every file that these name; of
// secrets it says that it has them not. Where none of them is, it builds the same.
func TestKitHasTheCheckoutAndOwnFiles(t *testing.T) {
	testneed.Namespaces(t)
	l := newLocker(t)
	dir := t.TempDir()
	ownFiles(t, dir)
	plant := filepath.Join(dir, "plant")
	l.lock = filepath.Join(plant, "hookbuild.lock")
	t.Setenv("HOME", filepath.Join(dir, "home"))
	site.WriteFile(t, filepath.Join(dir, "home/own"), "9\n")
	t.Chdir(plant)
	l.write()
	if text := readFile(t, l.lock); strings.Contains(text, plant) || !strings.Contains(text, "overlay: overlay.yaml\n") {
		t.Errorf("the lock has paths of this machine:\n%s", text)
	}
	l.build(0)
	want := readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64"))
	kit := filepath.Join(dir, "kit.tar")
	got := l.do(0, "kit", "save", "-o", kit)
	says(t, got.stderr, "the kit does not hold 3 inputs", "~/own", `"password" (the password of ci at r.example)`, "logins and queries in addresses of hookbuild.yaml")
	if strings.Contains(readFile(t, kit), "geheim") {
		t.Error("the kit has a secret")
	}
	says(t, l.run(0, "kit", "list", kit, "--progress", "plain").stdout, "local checkout", "overlay.yaml", "../shared/rack", "../shared/root.pem", "local config")

	elsewhere, out, cache := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.RemoveAll(plant); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shared", "fixed"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(elsewhere)
	args := []string{"all", "--locked", "--out", out, "--cache-dir", cache, "--progress", "plain", "--kit", kit}
	said, err := l.inNamespace(args...)
	if err == nil || !strings.Contains(said, `a kit holds no secrets: put "password" into "`+elsewhere+`"`) {
		t.Errorf("without the password: %v\n%s", err, said)
	}
	site.WriteFile(t, filepath.Join(elsewhere, "password"), "geheim\n")
	if said, err := l.inNamespace(args...); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if readFile(t, filepath.Join(out, "hook/initramfs-x86_64")) != want {
		t.Error("the kit gives another initramfs")
	}

	// After kit load nothing but the program and the secret is needed.
	cache = t.TempDir()
	common := []string{"--cache-dir", cache, "--progress", "plain"}
	if said, err := l.inNamespace(append([]string{"kit", "load", kit}, common...)...); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	out = t.TempDir()
	if said, err := l.inNamespace(append([]string{"all", "--locked", "--offline", "--out", out}, common...)...); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if readFile(t, filepath.Join(out, "hook/initramfs-x86_64")) != want {
		t.Error("what was loaded gives another initramfs")
	}
}

// A kit is not saved of files that are not those of the lock.
func TestKitSaveComparesFiles(t *testing.T) {
	l := newLocker(t)
	l.write()
	site.WriteFile(t, filepath.Join(l.site.Dir, "note.txt"), "another note\n")
	says(t, l.do(3, "kit", "save", "-o", filepath.Join(t.TempDir(), "kit.tar")).stderr, "1 difference (lock -> found)", "etc/note", "lock --update")
}

// A lock means the same in a subdirectory of its directory.
func TestLockInASubdirectory(t *testing.T) {
	l := newLocker(t)
	dir := t.TempDir()
	below := filepath.Join(dir, "below")
	site.WriteFile(t, filepath.Join(dir, "overlay.yaml"), "files: [{path: etc/rack, contents: \"7\"}]\n")
	site.WriteFile(t, filepath.Join(below, "images.txt"), l.site.Host+"/actions/cexec:v1 127.0.0.1/embedded/other\n")
	t.Chdir(below)
	l.lock = "../hookbuild.lock"
	l.write("--overlay", "../overlay.yaml", "--images-file", "./images.txt")
	says(t, readFile(t, l.lock), "overlay: overlay.yaml\n", "images-file: below/images.txt\n", "name: overlay.yaml\n")
	l.build(0)
	first := readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64"))
	t.Chdir(dir)
	l.lock = "hookbuild.lock"
	l.build(0, "--overlay", "overlay.yaml")
	if readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64")) != first {
		t.Error("another directory gives another initramfs")
	}
	l.do(0, "lock", "--update")
	site.WriteFile(t, "overlay.yaml", "files: [{path: etc/rack, contents: \"8\"}]\n")
	says(t, l.build(3).stderr, "overlay.yaml: sha256:")
}

// A lock in another directory, named by an absolute path, finds the files that relative
// paths named.
func TestLockInAnotherDirectory(t *testing.T) {
	l := newLocker(t)
	dir := t.TempDir()
	site.WriteFile(t, filepath.Join(dir, "overlay.yaml"), "files: [{path: etc/rack, contents: \"7\"}]\n")
	t.Chdir(dir)
	l.write("--overlay", "overlay.yaml")
	says(t, readFile(t, l.lock), "overlay: ../"+filepath.Base(dir)+"/overlay.yaml\n")
	l.build(0)
	l.build(0, "--overlay", "overlay.yaml")
	t.Chdir(l.site.Dir)
	l.build(0)
	l.build(0, "--overlay", filepath.Join(dir, "overlay.yaml"))

	// Above a symlink are other directories than above what it names.
	for _, target := range []string{"a", "a/b/c/d/e/f"} {
		target, link := filepath.Join(t.TempDir(), target), filepath.Join(t.TempDir(), "a/b/link")
		if err := errors.Join(os.MkdirAll(target, 0o700), os.MkdirAll(filepath.Dir(link), 0o700), os.Symlink(target, link)); err != nil {
			t.Fatal(err)
		}
		t.Chdir(link)
		l.build(0)
	}
}

// A file that the lock names by an absolute path is the same where the lock is in a
// parent directory of it.
func TestLockAboveAnAbsolutePath(t *testing.T) {
	l := newLocker(t)
	dir := t.TempDir()
	overlay := filepath.Join(dir, "below/overlay.yaml")
	site.WriteFile(t, filepath.Join(dir, "below/rack"), "7\n")
	site.WriteFile(t, overlay, "files: [{path: etc/rack, source: rack}]\n")
	l.write("--overlay", overlay)
	says(t, readFile(t, l.lock), "overlay: "+overlay+"\n")
	t.Chdir(dir)
	above := filepath.Join(dir, "hookbuild.lock")
	site.WriteFile(t, above, readFile(t, l.lock))
	for _, l.lock = range []string{above, "hookbuild.lock"} {
		l.build(0)
		l.build(0, "--overlay", "below/overlay.yaml")
	}
}

// A checkout at a URL and a module source at a URL are in the kit under these.
func TestKitHasWhatIsAtURLs(t *testing.T) {
	testneed.Namespaces(t)
	l := newLocker(t)
	t.Setenv("DOCKER_HOST", testneed.Docker(t))
	dir := t.TempDir()
	driver := filepath.Join(dir, "driver-1")
	site.WriteFile(t, filepath.Join(driver, "Kbuild"), "obj-m := x.o\n")
	for name, from := range map[string]string{"hook.tar.gz": l.site.Dir, "driver.tar.gz": driver} {
		if text, err := exec.CommandContext(t.Context(), "tar", "-czf", filepath.Join(dir, name), "-C", filepath.Dir(from), filepath.Base(from)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	home := t.TempDir()
	site.WriteFile(t, filepath.Join(home, "hookbuild.yaml"), "hook: {archive: \""+server.URL+"/hook.tar.gz\"}\n")
	t.Chdir(home)
	do := func(code int, args ...string) outcome {
		t.Helper()
		return l.run(code, append(args, "--progress", "plain")...)
	}
	lock := []string{"lock", "hook-latest-lts-amd64", "--kernel", "latest", "--level", "1", "HOOK_KERNEL_OCI_BASE=" + l.kernels()}
	do(0, lock...)
	do(0, "all", "--locked", "--out", l.out)
	want := readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64"))
	kit := filepath.Join(dir, "kit.tar")
	do(0, "kit", "save", "-o", kit)
	withDriver := filepath.Join(dir, "with-driver.tar")
	do(0, append(lock, "--module-source", server.URL+"/driver.tar.gz", "--builder-image", l.pushBuilder())...)
	do(0, "kit", "save", "-o", withDriver)
	server.Close()
	t.Chdir(t.TempDir())
	out := t.TempDir()
	args := []string{"all", "--locked", "--out", out, "--cache-dir", t.TempDir(), "--progress", "plain", "--kit"}
	if said, err := l.inNamespace(append(args, kit)...); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if readFile(t, filepath.Join(out, "hook/initramfs-x86_64")) != want {
		t.Error("the kit gives another initramfs")
	}
	// The kernel has no headers: the build ends after the source was found.
	if said, err := l.inNamespace(append(args, withDriver)...); err == nil || !strings.Contains(said, "the kernel comes without its headers") {
		t.Errorf("%v\n%s", err, said)
	}
}

// The lock and an overlay may be in the checkout: the overlay finds its files.
func TestKitOfALockInTheCheckout(t *testing.T) {
	testneed.Namespaces(t)
	l := newLocker(t)
	site.WriteFile(t, filepath.Join(l.site.Dir, "own/overlay.yaml"), "files: [{path: etc/rack, source: rack}, {path: etc/row, source: ../files/row}]\n")
	site.WriteFile(t, filepath.Join(l.site.Dir, "own/rack"), "7\n")
	site.WriteFile(t, filepath.Join(l.site.Dir, "files/row"), "8\n")
	t.Chdir(l.site.Dir)
	l.lock = "hookbuild.lock"
	l.write("--overlay", "own/overlay.yaml")
	l.build(0)
	kit, out := filepath.Join(t.TempDir(), "kit.tar"), t.TempDir()
	l.do(0, "kit", "save", "-o", kit)
	t.Chdir(t.TempDir())
	if said, err := l.inNamespace("all", "--locked", "--kit", kit, "--out", out, "--cache-dir", t.TempDir(), "--progress", "plain"); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if readFile(t, filepath.Join(out, "hook/initramfs-x86_64")) != readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64")) {
		t.Error("the kit gives another initramfs")
	}
}

// A kit takes of the checkout only what the documentation of the lock lists, and
// still makes the same bytes as the locked build in the checkout.
func TestKitTakesNothingElseOfTheCheckout(t *testing.T) {
	testneed.Namespaces(t)
	l := newLocker(t)
	site.WriteFile(t, filepath.Join(l.site.Dir, "images/hook-embedded/images/.keep"), "")
	l.write()
	l.build(0)
	clean := readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64"))
	for _, name := range []string{"password.txt", "id_ed25519", "hookbuild.yaml.old", ".env", "new/report.html", "images/hook-embedded/images/overlay2/layer"} {
		site.WriteFile(t, filepath.Join(l.site.Dir, name), "geheim\n")
	}
	l.build(0)
	want := map[string]string{}
	for _, name := range []string{"hook/initramfs-x86_64", "hook/vmlinuz-x86_64"} {
		want[name] = readFile(t, filepath.Join(l.out, name))
	}
	if want["hook/initramfs-x86_64"] != clean {
		t.Error("files that are not embedded change the initramfs")
	}
	kit, out := filepath.Join(t.TempDir(), "kit.tar"), t.TempDir()
	l.do(0, "kit", "save", "-o", kit)
	text := readFile(t, kit)
	for _, name := range []string{"geheim", "password.txt", "id_ed25519", "hookbuild.yaml.old", ".env", "report.html", "overlay2"} {
		if strings.Contains(text, name) {
			t.Errorf("the kit has %s", name)
		}
	}
	t.Chdir(t.TempDir())
	if said, err := l.inNamespace("all", "--locked", "--kit", kit, "--out", out, "--cache-dir", t.TempDir(), "--progress", "plain"); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for name, content := range want {
		if readFile(t, filepath.Join(out, name)) != content {
			t.Errorf("the kit gives another %s than the checkout", name)
		}
	}
}

// A LinuxKit document's lock and kit are built as the messages say, in the checkout
// and where there is nothing but the kit, with and without --yaml.
func TestKitOfADocument(t *testing.T) {
	testneed.Namespaces(t)
	p := newPlace(t)
	l := &locker{proof: proof(p), lock: "hookbuild.lock"}
	dir := t.TempDir()
	t.Chdir(dir)
	site.WriteFile(t, "machine.yaml", readFile(t, p.document())+"files:\n  - path: etc/rack\n    source: rack\n")
	site.WriteFile(t, "rack", "7\n")
	run := func(code int, args ...string) outcome { t.Helper(); return p.run(code, args...) }
	says(t, run(0, "lock", "--yaml", "machine.yaml").stderr, "build it with `hookbuild linuxkit machine --locked`")
	says(t, run(3, "all", "--locked").stderr, "it has the builds of LinuxKit documents only, which all does not take; build it with `hookbuild linuxkit machine --locked`")
	says(t, run(3, "linuxkit", "--yaml", "rack", "--locked").stderr, "it has no build of rack, but of machine")
	run(0, "linuxkit", "machine", "--locked")
	want := readFile(t, filepath.Join(p.out, "machine/initramfs-x86_64"))
	kit := filepath.Join(t.TempDir(), "kit.tar")
	run(0, "kit", "save", "-o", kit)
	cache := t.TempDir()
	if said, err := l.inNamespace("kit", "load", kit, "--cache-dir", cache, "--progress", "plain"); err != nil || !strings.Contains(said, "`hookbuild linuxkit machine --locked --offline --cache-dir "+cache+"`") {
		t.Errorf("%v\n%s", err, said)
	}
	if err := os.RemoveAll(filepath.Join(dir, "machine.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"machine", "--kit", kit, "--cache-dir", t.TempDir()},
		{"--kit", kit, "--cache-dir", t.TempDir()},
		{"--yaml", "machine.yaml", "--kit", kit, "--cache-dir", t.TempDir()},
		{"--offline", "--cache-dir", cache},
	} {
		t.Chdir(t.TempDir())
		out := t.TempDir()
		if said, err := l.inNamespace(append([]string{"linuxkit", "--locked", "--out", out, "--progress", "plain"}, args...)...); err != nil {
			t.Errorf("%v: %v\n%s", args, err, said)
		} else if readFile(t, filepath.Join(out, "machine/initramfs-x86_64")) != want {
			t.Errorf("%v makes another initramfs", args)
		}
	}
}

// Without --locked a kit's checkout does not count, which the error says.
func TestKitWithoutLocked(t *testing.T) {
	l := newLocker(t)
	kit, _ := l.saveKit()
	t.Chdir(t.TempDir())
	says(t, l.run(2, "all", "--kit", kit, "--progress", "plain").stderr, "add --locked to use the checkout and the lock in --kit")
}

// savedImage writes an archive as docker save does, and returns its path.
func savedImage(t *testing.T, path string) string {
	t.Helper()
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if image, err = mutate.ConfigFile(image, withPlatform(t, image)); err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(path, name.MustParseReference("r.example/me/cexec:v1"), image); err != nil {
		t.Fatal(err)
	}
	return path
}

// A lock names files by paths that an ordinary user may not read: another user's home.
// The kit's stand in for them as for files that are not there.
func TestKitForAUserWhoMayNotReadTheFiles(t *testing.T) {
	l := newLocker(t)
	dir, run := ordinary(t)
	closed := t.TempDir()
	if err := os.Chmod(filepath.Dir(closed), 0o755); err != nil { // other users pass, to its door
		t.Fatal(err)
	}
	in := func(name, content string) string {
		path := filepath.Join(closed, name)
		site.WriteFile(t, path, content)
		return path
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Close()
	in("rack", "7\n")
	in("root.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	const release = "6.6.7-other"
	options := []string{
		"--kernel", "deb:" + in("linux.deb", string(kerneltest.MakeDeb(t, "Package: linux-image\nVersion: 1\nArchitecture: amd64\n", map[string]string{
			"./boot/vmlinuz-" + release:                         string(kerneltest.BzImage(t, release, packedConfig)),
			"./usr/lib/modules/" + release + "/":                "",
			"./usr/lib/modules/" + release + "/modules.builtin": "kernel/fs/squashfs/squashfs.ko\n",
			"./boot/config-" + release:                          packedConfig,
		}))),
		"--overlay", in("overlay.yaml", "services: [{name: hook-docker, image: \"${HOOK_CONTAINER_HELLO_IMAGE}\"}]\nfiles: [{path: etc/rack, source: rack}, {path: etc/again, source: "+closed+"/rack}]\n"),
		"--images-file", in("images.txt", l.site.Host+"/actions/cexec:v1 127.0.0.1/embedded/other\n"),
		"--image", "docker-archive:" + savedImage(t, filepath.Join(closed, "action.tar")) + "=127.0.0.1/embedded/saved",
		"--site", in("site.yaml", "ca: [root.pem]\n"),
	}
	l.lock = filepath.Join(t.TempDir(), "hookbuild.lock")
	l.do(0, append([]string{"lock", "hook-latest-lts-amd64", "--level", "1"}, options...)...)
	l.build(0)
	want := readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64"))
	kit := filepath.Join(dir, "kit.tar")
	l.do(0, "kit", "save", "-o", kit)
	if err := os.Chmod(kit, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	built := func(args ...string) {
		t.Helper()
		if said, err := run(append(args, "--locked", "--progress", "plain")...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, said)
		}
		if readFile(t, filepath.Join(dir, "out/hook/initramfs-x86_64")) != want {
			t.Errorf("%v makes another initramfs", args)
		}
	}
	built("all", "--kit", kit, "--cache-dir", "one")
	if said, err := run("kit", "load", kit, "--cache-dir", "two", "--progress", "plain"); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	built("all", "--offline", "--cache-dir", "two", "--out", "out")

	// hookbuild.yaml's checkout counts as one of these files.
	site.WriteFile(t, filepath.Join(dir, "hookbuild.yaml"), "hook: {dir: "+closed+"}\n")
	built("all", "--kit", kit, "--cache-dir", "one")

	// One file may be closed beside others that are not.
	rack := filepath.Join(closed, "rack")
	if err := errors.Join(os.Remove(filepath.Join(dir, "hookbuild.yaml")), os.Chmod(closed, 0o755), os.Chmod(rack, 0o600)); err != nil {
		t.Fatal(err)
	}
	built("all", "--kit", kit, "--cache-dir", "one")

	// A file that can be read and is another one is still an error.
	site.WriteFile(t, rack, "8\n")
	if err := os.Chmod(rack, 0o644); err != nil {
		t.Fatal(err)
	}
	if said, err := run("all", "--kit", kit, "--cache-dir", "one", "--locked", "--progress", "plain"); err == nil || !strings.Contains(said, "etc/rack") {
		t.Errorf("%v\n%s", err, said)
	}
}
