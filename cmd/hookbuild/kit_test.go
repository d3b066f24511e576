package main

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

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/words"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// saveKit locks the site's HookOS with an EKS Anywhere bundle at a URL and saves
// a kit of it. It returns the kit and the initramfs that the network gives.
func (l *locker) saveKit() (kit, initramfs string) {
	l.t.Helper()
	l.write()
	l.build(0)
	kit = filepath.Join(l.t.TempDir(), "kit.tar")
	got := l.do(0, "kit", "save", "-o", kit)
	if !strings.Contains(got.stderr, "the kit will have") || strings.TrimSpace(got.stdout) != kit {
		l.t.Errorf("saving a kit: %s%s", got.stdout, got.stderr)
	}
	return kit, readFile(l.t, filepath.Join(l.out, "hook/initramfs-x86_64"))
}

// inNamespace runs this program in a network namespace without interfaces.
func (l *locker) inNamespace(args ...string) (string, error) {
	l.t.Helper()
	program := filepath.Join(l.t.TempDir(), "hookbuild")
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.Symlink(self, program); err != nil {
		l.t.Fatal(err)
	}
	alone := append(testneed.Unshare(), program)
	cmd := exec.Command(alone[0], append(alone[1:], args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix:///nowhere/docker.sock", "HOOK_LK_CONTAINERS_OCI_BASE=")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	return output.String(), err
}

// A HookOS is built from the lock and the kit where there is no network at all:
// another machine, with an empty cache.
func TestKitBuildsWithoutNetwork(t *testing.T) {
	testneed.Namespaces(t)
	l := newLocker(t)
	kit, want := l.saveKit()
	out, cache := t.TempDir(), t.TempDir()
	args := []string{"all", "--locked", "--lock-file", l.lock, "--hook-dir", l.site.Dir, "--out", out, "--cache-dir", cache, "--progress", "plain"}
	if said, err := l.inNamespace(args...); err == nil {
		t.Errorf("without a kit the build works in a namespace without network:\n%s", said)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) > 0 {
		t.Errorf("the build that failed left %v %v", entries, err)
	}
	if said, err := l.inNamespace(append(args, "--kit", kit)...); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if readFile(t, filepath.Join(out, "hook/initramfs-x86_64")) != want {
		t.Error("the kit gives another initramfs than the network")
	}
}

// After kit load the cache has everything, and the lock in the kit is enough.
func TestKitLoad(t *testing.T) {
	testneed.Namespaces(t)
	l := newLocker(t)
	kit, want := l.saveKit()
	out, cache := t.TempDir(), t.TempDir()
	common := []string{"--hook-dir", l.site.Dir, "--cache-dir", cache, "--progress", "plain"}
	if said, err := l.inNamespace(append([]string{"kit", "load", kit}, common...)...); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if said, err := l.inNamespace(append([]string{"all", "--locked", "--offline", "--lock-file", l.lock, "--out", out}, common...)...); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if readFile(t, filepath.Join(out, "hook/initramfs-x86_64")) != want {
		t.Error("what was loaded gives another initramfs than the network")
	}
}

// What was loaded of a kit goes from the cache file by file, but for its unpacked files,
// which stay whole or go. What then lacks says how to bring it back.
func TestPrunedKit(t *testing.T) {
	l := newLocker(t)
	t.Chdir(t.TempDir()) // of which the kit has hookbuild.yaml and the overlay
	site.WriteFile(t, "overlay.yaml", "files: [{path: etc/rack, contents: \"7\"}]\n")
	l.lock = "hookbuild.lock"
	l.write("--overlay", "overlay.yaml")
	kit := filepath.Join(t.TempDir(), "kit.tar")
	l.do(0, "kit", "save", "-o", kit)
	l.cache = t.TempDir()
	build := []string{"all", "--locked", "--offline", "--out", t.TempDir()}
	age := func(below string) {
		t.Helper()
		old := time.Now().Add(-60 * 24 * time.Hour)
		err := filepath.WalkDir(filepath.Join(l.cache, below), func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Chtimes(path, old, old))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	l.run(0, "kit", "load", kit)
	t.Chdir(t.TempDir())
	l.run(0, build...)

	unpacked, err := filepath.Glob(filepath.Join(l.cache, "kit/*/*"))
	if err != nil || len(unpacked) == 0 {
		t.Fatalf("unpacked are %v, %v", unpacked, err)
	}
	age("kit")
	l.run(0, build...) // a build uses all of it
	l.run(0, "cache", "prune", "--older", "30d")
	l.run(0, build...)

	age("layers")
	l.run(0, "cache", "prune", "--older", "30d")
	build[len(build)-1] = t.TempDir()
	for _, kind := range []string{"segments", "pieces"} { // which are made of the layers
		if err := os.RemoveAll(filepath.Join(l.cache, kind)); err != nil {
			t.Fatal(err)
		}
	}
	says(t, l.run(4, build...).stderr, "is not completely in the cache", "`hookbuild kit load FILE`")

	age("kit")
	l.run(0, "cache", "prune", "--older", "30d")
	if left, err := filepath.Glob(filepath.Join(l.cache, "kit/*/*")); err != nil || len(left) > 0 {
		t.Errorf("a part is left: %v, %v", left, err)
	}
	says(t, l.run(3, build...).stderr, "the files of the kit that was loaded last are no longer in the cache", "`hookbuild kit load FILE` brings them back")
	l.run(0, "kit", "load", kit)
	l.run(0, build...)
}

// A kit of one flavor has no input of the others alone, and Armbian's kernel is made
// from it without a network.
func TestKitOfOneFlavor(t *testing.T) {
	testneed.Namespaces(t)
	l := newLocker(t)
	l.write()
	flavor := l.lockArmbian()
	dir := t.TempDir()
	kit, here, there := filepath.Join(dir, "kit.tar"), filepath.Join(dir, "here.tar"), filepath.Join(dir, "there.tar")
	l.do(0, "kit", "save", flavor, "-o", kit)
	list := l.run(0, "kit", "list", kit, "--progress", "plain").stdout
	says(t, list, "kernel-x86-edge:6.8.9-Sab12-D1", "hook-init:")
	if strings.Contains(list, "hook-kernel:") || strings.Contains(list, "cexec") {
		t.Errorf("the kit has inputs of another flavor:\n%s", list)
	}
	says(t, l.do(3, "all", "hook-latest-lts-amd64", "--locked", "--kit", kit, "--out", t.TempDir()).stderr, "lacks", "hook-kernel:6.6.7-12345678")

	l.do(0, "kernel", flavor, "--locked", "--no-load", "--export", here)
	said, err := l.inNamespace("kernel", flavor, "--locked", "--lock-file", l.lock, "--hook-dir", l.site.Dir, "--kit", kit, "--no-load", "--export", there,
		"--cache-dir", t.TempDir(), "--progress", "plain")
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if readFile(t, here) != readFile(t, there) {
		t.Error("the kit gives another kernel than the network")
	}
}

func TestKitIsReproducibleAndListed(t *testing.T) {
	l := newLocker(t)
	kit, _ := l.saveKit()
	again := filepath.Join(t.TempDir(), "again.tar")
	l.do(0, "kit", "save", "-o", again)
	if readFile(t, kit) != readFile(t, again) {
		t.Error("the same lock makes another kit")
	}
	got := l.run(0, "kit", "list", kit, "--progress", "plain")
	for _, want := range []string{"/actions/cexec:v1", "hook-kernel:6.6.7-12345678", "hook-init:"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the list has no %s:\n%s", want, got.stdout)
		}
	}
	if got := l.run(0, "kit", "verify", kit, "--progress", "plain"); !strings.Contains(got.stderr, "is whole") {
		t.Errorf("verifying: %s", got.stderr)
	} else {
		says(t, got.stderr, "ok  verify "+kit)
	}
}

// The forecast, what was written and the list give the kit one size: that of its file.
func TestKitHasOneSize(t *testing.T) {
	l := newLocker(t)
	l.write()
	kit := filepath.Join(t.TempDir(), "kit.tar")
	said := l.do(0, "kit", "save", "-o", kit).stderr
	size := words.Bytes(int64(len(readFile(t, kit))))
	says(t, said, "the kit will have "+size+" in ", "; "+size+" are to be written", "save the kit kit.tar: "+size)
	says(t, l.run(0, "kit", "list", kit, "--progress", "plain").stderr, "kit.tar: "+size+" in ")
}

// Layers in the cache are unpacked, so a kit cannot be made of it. The message names
// every input that is needed, and with --since only those that the other kit lacks.
func TestKitOffline(t *testing.T) {
	l := newLocker(t)
	kit, _ := l.saveKit()
	again := filepath.Join(t.TempDir(), "again.tar")
	got := l.do(4, "kit", "save", "-o", again, "--offline")
	says(t, got.stderr, "again.tar", "without --offline", "hook-kernel:6.6.7-12345678", "/actions/cexec:v1", "hook-init:")
	if entries, err := os.ReadDir(filepath.Dir(again)); err != nil || len(entries) > 0 {
		t.Errorf("a kit was begun: %v, %v", entries, err)
	}
	l.do(0, "kit", "save", "-o", again, "--offline", "--since", kit)
}

func TestBadKits(t *testing.T) {
	l := newLocker(t)
	kit, _ := l.saveKit()
	content := readFile(t, kit)
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "kit.tar")
		site.WriteFile(t, path, content)
		return path
	}
	l.cache = t.TempDir() // knows nothing
	out := t.TempDir()
	build := func(kit string) outcome {
		t.Helper()
		return l.run(3, "all", "--locked", "--lock-file", l.lock, "--hook-dir", l.site.Dir, "--out", out, "--kit", kit, "--progress", "plain")
	}
	if got := build(file(content[:len(content)*2/3])); !strings.Contains(got.stderr, "copy it again") {
		t.Errorf("a truncated kit: %s", got.stderr)
	}
	if got := build(file("no tar at all")); !strings.Contains(got.stderr, "not a tar archive") {
		t.Errorf("no kit: %s", got.stderr)
	}
	at := strings.Index(content, "\x1f\x8b") + 40 // in a layer
	damaged := file(content[:at] + string([]byte{content[at] ^ 1}) + content[at+1:])
	if got := build(damaged); !strings.Contains(got.stderr, "is damaged") || !strings.Contains(got.stderr, "kit verify") {
		t.Errorf("a damaged kit: %s", got.stderr)
	}
	if got := l.run(3, "kit", "verify", damaged, "--progress", "plain"); !strings.Contains(got.stdout, "it is damaged") || !strings.Contains(got.stdout, l.site.Host) || strings.Contains(got.stderr, "ok  verify") {
		t.Errorf("verifying a damaged kit: %s%s", got.stdout, got.stderr)
	}
	l.pushAction("a newer action")
	l.do(0, "lock", "--update")
	if got := build(kit); !strings.Contains(got.stderr, "made for another lock") || !strings.Contains(got.stderr, "/actions/cexec:v1") {
		t.Errorf("the kit of another lock: %s", got.stderr)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) > 0 {
		t.Errorf("builds that failed left %v %v", entries, err)
	}
	newer := filepath.Join(t.TempDir(), "newer.tar")
	l.do(0, "kit", "save", "-o", newer, "--since", kit)
	if got := l.run(3, "kit", "verify", newer, "--progress", "plain"); !strings.Contains(got.stdout, "hook-kernel") {
		t.Errorf("half of a kit: %s", got.stdout)
	}
	l.run(0, "kit", "verify", kit, newer, "--progress", "plain")
	for _, line := range strings.Split(strings.TrimSpace(l.run(0, "kit", "list", newer, "--progress", "plain").stdout), "\n") {
		if is := strings.Contains(line, "in an earlier kit"); is != !strings.Contains(line, "cexec") {
			t.Errorf("only the action is new, and the list has %s", line)
		}
	}
	if got := l.run(0, "kit", "list", kit, newer, "--progress", "plain").stdout; strings.Contains(got, "earlier") {
		t.Errorf("both kits have everything, and the list says\n%s", got)
	}
	if len(readFile(t, newer)) >= len(content) {
		t.Error("what is new is not less than everything")
	}
	l.run(0, "all", "--locked", "--lock-file", l.lock, "--hook-dir", l.site.Dir, "--out", out, "--kit", kit, "--kit", newer, "--progress", "plain")
}

// An interrupted save is continued: what is whole stays.
func TestKitSaveContinues(t *testing.T) {
	l := newLocker(t)
	kit, _ := l.saveKit()
	whole := readFile(t, kit)
	again := filepath.Join(t.TempDir(), "kit.tar")
	site.WriteFile(t, again+".partial", whole[:len(whole)/2])
	got := l.do(0, "kit", "save", "-o", again)
	if !strings.Contains(got.stderr, "files are whole") || strings.Contains(got.stderr, "0 of ") {
		t.Errorf("continuing: %s", got.stderr)
	}
	if readFile(t, again) != whole {
		t.Error("the continued kit is another one")
	}
	if _, err := os.Stat(again + ".partial"); err == nil {
		t.Error("the partial file is left")
	}
}

// A kit goes where -o says: to standard output, into a pipe, and through a symbolic
// link, and it replaces none of them.
func TestKitSaveToWhatIsNoFile(t *testing.T) {
	l := newLocker(t)
	kit, _ := l.saveKit()
	want := readFile(t, kit)
	if got := l.do(0, "kit", "save", "-o", "-"); got.stdout != want {
		t.Errorf("standard output gets %d bytes, want the kit's %d", len(got.stdout), len(want))
	}

	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	piped := make(chan string)
	go func() {
		content, err := os.ReadFile(pipe)
		if err != nil {
			t.Error(err)
		}
		piped <- string(content)
	}()
	if got := l.do(0, "kit", "save", "-o", pipe); got.stdout != "" {
		t.Errorf("standard output gets %q", got.stdout)
	}
	if <-piped != want {
		t.Error("the pipe gets another kit")
	}

	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	l.do(0, "kit", "save", "-o", link)
	if to, err := os.Readlink(link); err != nil || to != "target" || readFile(t, link) != want {
		t.Errorf("the link leads to %q, %v, where the kit should be", to, err)
	}

	says(t, l.do(2, "kit", "save", "-o", dir).stderr, "it is a directory")
	says(t, l.do(2, "kit", "save", "-o", filepath.Join(dir, "none/kit.tar")).stderr, "does not exist")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("beside the pipe, the link and its target there are %v, %v", entries, err)
	}
}

// The cache has layers unpacked, so it does not replace the registry of a kit.
func TestKitSaveOffline(t *testing.T) {
	l := newLocker(t)
	l.write()
	l.build(0)
	kit := filepath.Join(t.TempDir(), "kit.tar")
	says(t, l.do(4, "kit", "save", "--offline", "-o", kit).stderr, "the cache does not keep layers as registries have them", "--kit")
}

// Two processes do not write the same kit at once.
func TestKitSaveLocks(t *testing.T) {
	l := newLocker(t)
	l.write()
	kit := filepath.Join(t.TempDir(), "kit.tar")
	other, err := os.Create(kit + ".partial")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if !atomicfile.TryLock(other) {
		t.Fatal("the lock cannot be taken")
	}
	says(t, l.do(4, "kit", "save", "-o", kit).stderr, "another hookbuild is saving it")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	l.do(0, "kit", "save", "-o", kit)
}

// A site that is offline by its hookbuild.yaml uses a kit all the same, and what is
// read from the kit does not look like an access to a registry.
func TestKitReplacesOffline(t *testing.T) {
	l := newLocker(t)
	kit, want := l.saveKit()
	config := filepath.Join(t.TempDir(), "hookbuild.yaml")
	site.WriteFile(t, config, "network: {offline: true}\n")
	args := []string{"all", "--locked", "--lock-file", l.lock, "--hook-dir", l.site.Dir, "--config", config, "--kit", kit, "--progress", "plain"}
	l.cache, l.out = t.TempDir(), t.TempDir()
	got := l.run(0, append(args, "--out", l.out)...)
	says(t, got.stderr, "--kit replaces network.offline (line 1)", "from the kit")
	if strings.Contains(got.stderr, "pull "+l.site.Host) {
		t.Errorf("reading a kit is called a pull:\n%s", got.stderr)
	}
	if readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64")) != want {
		t.Error("the kit gives another initramfs than the network")
	}
	says(t, l.run(2, append(args, "--offline")...).stderr, "--kit takes the place of the network; leave out --offline")

	l.cache = t.TempDir()
	says(t, l.run(2, "kit", "load", kit, "--offline", "--progress", "plain").stderr, "leave out --offline")
	got = l.run(0, "kit", "load", kit, "--hook-dir", l.site.Dir, "--config", config, "--progress", "plain")
	says(t, got.stderr, "kit load replaces network.offline (line 1)", "from the kit", "is in the cache")
	if strings.Contains(got.stderr, "pull "+l.site.Host) {
		t.Errorf("loading a kit is called a pull:\n%s", got.stderr)
	}
}
