package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/build/artifact"
	"hookbuild/internal/digest"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// locker is a site whose HookOS is locked: a checkout, a registry that tells
// what it is asked, a published kernel and an action image.
type locker struct {
	proof
	lock, flavor string

	mu    sync.Mutex
	asked []string
}

func newLocker(t *testing.T) *locker {
	t.Helper()
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	l := &locker{lock: filepath.Join(t.TempDir(), "hookbuild.lock"), flavor: "hook-latest-lts-amd64"}
	l.proof = proof{t, site.New(t, l.watch), t.TempDir(), t.TempDir()}
	l.pushKernel("6.6.7-12345678", "6.6.7")
	l.pushAction("the action")
	// kernel.org's list, as fetched a moment ago.
	site.WriteFile(t, filepath.Join(l.cache, "kernel/source/releases.json"), `{"fetched": "`+time.Now().Format(time.RFC3339)+`", "series": {"6.6": "6.6.9"}, "listed": {"6.6": true},
		"releases": [{"version": "6.6.9", "moniker": "longterm", "released": "2024-01-01", "eol": true, "changelog": "https://cdn.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.6.9"}]}`)
	return l
}

func (l *locker) watch(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.asked = append(l.asked, r.Method+" "+r.URL.Path)
		l.mu.Unlock()
		inner.ServeHTTP(w, r)
	})
}

// tagsAsked returns the requests for tags since the last call.
func (l *locker) tagsAsked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tags := slices.DeleteFunc(l.asked, func(path string) bool {
		_, id, manifest := strings.Cut(path, "/manifests/")
		return !strings.Contains(path, "/tags/") && (!manifest || strings.HasPrefix(id, "sha256:"))
	})
	l.asked = nil
	return tags
}

// packedConfig is that of a kernel which can mount the packed layout.
const packedConfig = "CONFIG_RD_ZSTD=y\nCONFIG_SQUASHFS=y\nCONFIG_SQUASHFS_ZSTD=y\nCONFIG_SQUASHFS_XATTR=y\nCONFIG_BLK_DEV_LOOP=y\nCONFIG_OVERLAY_FS=y\n"

func (l *locker) pushKernel(tag, release string) {
	site.Push(l.t, l.kernels()+":"+tag, map[string]string{
		"kernel":     string(kerneltest.BzImage(l.t, release, packedConfig)),
		"kernel.tar": string(kerneltest.Tar(l.t, map[string]string{"lib/modules/" + release + "/modules.builtin": ""})),
	})
}

func (l *locker) pushAction(program string) {
	site.Push(l.t, l.site.Host+"/actions/cexec:v1", map[string]string{"cexec": program})
}

// pushBuilder pushes an image that stands for the one to compile in.
func (l *locker) pushBuilder() string {
	ref := l.site.Host + "/builder:v1"
	site.Push(l.t, ref, map[string]string{"gcc": "a compiler"})
	return ref
}

func (l *locker) kernels() string { return l.site.Host + "/hook-kernel" }

// do runs a command at the site with its lock.
func (l *locker) do(code int, args ...string) outcome {
	l.t.Helper()
	return l.run(code, append(args, "--lock-file", l.lock, "--hook-dir", l.site.Dir, "--progress", "plain")...)
}

// write locks the flavor with the options of the tests.
func (l *locker) write(more ...string) outcome {
	l.t.Helper()
	return l.do(0, append([]string{"lock", "hook-latest-lts-amd64", "--kernel", "latest", "--level", "1",
		"--image", l.site.Host + "/actions/cexec:v1=127.0.0.1/embedded/cexec", "HOOK_KERNEL_OCI_BASE=" + l.kernels()}, more...)...)
}

func (l *locker) build(code int, more ...string) outcome {
	l.t.Helper()
	return l.do(code, append([]string{"all", "--locked", "--out", l.out}, more...)...)
}

func TestLockedBuildAsksForNoTag(t *testing.T) {
	l := newLocker(t)
	l.lock = filepath.Join(t.TempDir(), "my.lock of 6.6")
	says(t, l.write().stderr, "build it with `hookbuild all --locked --lock-file '"+l.lock+"' --hook-dir "+l.site.Dir+"`")
	text := readFile(t, l.lock)
	for _, want := range []string{"flavor: hook-latest-lts-amd64", "kernel: latest", "hook-kernel:6.6.7-12345678", "/actions/cexec:v1", "name: etc/note", "HOOK_KERNEL_OCI_BASE:"} {
		if !strings.Contains(text, want) {
			t.Errorf("the lock has no %q:\n%s", want, text)
		}
	}
	if asked := l.tagsAsked(); len(asked) == 0 {
		t.Fatal("locking asked for no tag: nothing is watched")
	}
	l.build(0)
	first := readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64"))
	l.pushAction("a newer action")
	l.pushKernel("6.6.9-12345678", "6.6.9")
	l.tagsAsked()
	l.build(0)
	if again := readFile(t, filepath.Join(l.out, "hook/initramfs-x86_64")); again != first {
		t.Error("the locked build took what was pushed later")
	}
	if asked := l.tagsAsked(); len(asked) > 0 {
		t.Errorf("the locked build asked for tags: %v", asked)
	}
}

func TestLockIsStable(t *testing.T) {
	l := newLocker(t)
	l.write()
	first := "# reviewed by me\n" + readFile(t, l.lock)
	site.WriteFile(t, l.lock, first)
	for _, again := range []func() outcome{func() outcome { return l.write() }, func() outcome { return l.do(0, "lock", "--update") }} {
		got := again()
		if got.stdout != "" || readFile(t, l.lock) != first {
			t.Errorf("locking again changes the lock:\n%s\n%s", got.stdout, readFile(t, l.lock))
		}
		says(t, got.stderr, "nothing changed in "+l.lock)
	}
}

// A build that a lock did not have is no change of those that it has, and is named.
func TestLockSaysWhatItAdds(t *testing.T) {
	l := newLocker(t)
	l.write()
	site.WriteFile(t, filepath.Join(l.site.Dir, "kernel/Dockerfile"), "FROM scratch\n")
	l.pushArmbian("6.8.9-Sab12-D1", "6.8.9-edge-x86")
	got := l.do(0, "lock", "armbian-uefi-x86-edge", "ARMBIAN_BASE_ORAS_REF="+l.site.Host+"/os", "HOOK_KERNEL_OCI_BASE="+l.kernels())
	says(t, got.stderr, "1 build added to "+l.lock+": armbian-uefi-x86-edge with ", " images")
	if strings.Contains(got.stderr, "nothing changed") || got.stdout != "" {
		t.Errorf("adding a build says\n%s%s", got.stderr, got.stdout)
	}
}

// What is locked with images cannot be built by linuxkit, which is told from a
// contradiction of the command line.
func TestLockedWithImagesIsNoneForLinuxkit(t *testing.T) {
	l := newLocker(t)
	l.write()
	got := l.do(2, "linuxkit", "--locked")
	says(t, got.stderr, "the lock of hook-latest-lts-amd64 has images to embed (--image), which linuxkit does not do; use `hookbuild all hook-latest-lts-amd64 --locked`")
	if strings.Contains(got.stderr, "leave out") {
		t.Errorf("nothing was given that could be left out: %s", got.stderr)
	}
}

func TestLockUpdateSaysWhatChanged(t *testing.T) {
	l := newLocker(t)
	l.write()
	l.pushAction("a newer action")
	l.pushKernel("6.6.9-12345678", "6.6.9")
	got := l.do(0, "lock", "--update", "cexec")
	if !strings.Contains(got.stdout, "cexec") || strings.Contains(got.stdout, "kernel") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("updating cexec alone:\n%s", got.stdout)
	}
	got = l.do(0, "lock", "--update")
	says(t, got.stdout, "6.6.7-12345678", "6.6.9-12345678",
		"(Linux 6.6.9 is longterm, released 2024-01-01, 2 releases after 6.6.7, the last of its series (EOL), its fixes: https://cdn.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.6.9")
	l.build(0)
	if got := l.do(2, "lock", "--update", "cexce"); !strings.Contains(got.stderr, "the lock has no input of this name; it has cexec, ") || !strings.Contains(got.stderr, "did you mean cexec?") {
		t.Errorf("a misspelt name: %s", got.stderr)
	}
}

func TestLockedBuildNamesWhatDiffers(t *testing.T) {
	l := newLocker(t)
	l.write()
	note := filepath.Join(l.site.Dir, "note.txt")
	site.WriteFile(t, note, "another note\n")
	if got := l.build(3); !strings.Contains(got.stderr, "etc/note") || !strings.Contains(got.stderr, "lock --update") {
		t.Errorf("a file that changed: %s", got.stderr)
	}
	if entries, err := os.ReadDir(l.out); err != nil || len(entries) > 0 {
		t.Errorf("a build that failed left %v %v", entries, err)
	}
	site.WriteFile(t, note, "note\n")
	for what, args := range map[string][]string{
		"--kernel is image:x, and the lock of hook-latest-lts-amd64 has latest": {"--kernel", "image:x"},
		"--layout is not among the options":                                     {"--layout", "directory"},
		"HOOK_VERSION is 9":                                                     {"HOOK_VERSION=9"},
	} {
		if got := l.build(2, args...); !strings.Contains(got.stderr, what) {
			t.Errorf("%v: %s", args, got.stderr)
		}
	}
	if got := l.build(3, "hook-latest-lts-arm64"); !strings.Contains(got.stderr, "no build for hook-latest-lts-arm64") {
		t.Errorf("a flavor that is not locked: %s", got.stderr)
	}
	text := readFile(t, l.lock)
	site.WriteFile(t, l.lock, strings.Replace(text, "cexec:v1", "cexec:v2", 1))
	if got := l.build(3); !strings.Contains(got.stderr, "was changed after hookbuild wrote it") {
		t.Errorf("a lock changed by hand: %s", got.stderr)
	} else {
		says(t, got.stderr, "or remove it and write it again with `hookbuild lock FLAVOR`")
	}
}

// TestLockedImageThatIsGone: what cannot be had any more is named.
func TestLockedImageThatIsGone(t *testing.T) {
	l := newLocker(t)
	l.write()
	ref, err := name.ParseReference(l.site.Host + "/actions/cexec:v1")
	if err != nil {
		t.Fatal(err)
	}
	was, err := remote.Head(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(ref.Context().Digest(was.Digest.String())); err != nil {
		t.Fatal(err)
	}
	l.pushAction("a newer action")
	l.cache = t.TempDir()
	says(t, l.build(4).stderr, ref.Name(), "404", "the lock has "+was.Digest.String(), "lock --update")
	if entries, err := os.ReadDir(l.out); err != nil || len(entries) > 0 {
		t.Errorf("a build that failed left %v %v", entries, err)
	}
}

// TestLockHoldsModuleSources: a module source is locked by its content, under the
// options that it was given with, and the builder image by its digest.
func TestLockHoldsModuleSources(t *testing.T) {
	l := newLocker(t)
	t.Setenv("DOCKER_HOST", testneed.Docker(t))
	source := filepath.Join(t.TempDir(), "driver")
	kerneltest.WriteFile(t, filepath.Join(source, "Kbuild"), []byte("obj-m := x.o\n"))
	builder := l.pushBuilder()
	l.write("--module-source", source+",name=ours,make=CFLAGS_EXTRA=-Da,b", "--module-source", source+",name=other", "--builder-image", builder)
	text := readFile(t, l.lock)
	for _, want := range []string{"name: " + source, "module-source:", source + ",name=ours,make=CFLAGS_EXTRA=-Da,b", source + ",name=other", "name: " + builder + "\n        digest: sha256:"} {
		if !strings.Contains(text, want) {
			t.Errorf("the lock has no %q:\n%s", want, text)
		}
	}
	if got := l.build(3); !strings.Contains(got.stderr, "the kernel comes without its headers") || !strings.Contains(got.stderr, "--kernel build") {
		t.Errorf("the kernel has no headers, and the build ends with\n%s", got.stderr)
	}
	kerneltest.WriteFile(t, filepath.Join(source, "x.c"), []byte("/* new */\n"))
	if got := l.build(3); !strings.Contains(got.stderr, "2 differences (lock -> found)") || !strings.Contains(got.stderr, source) {
		t.Errorf("the source changed, and the build ends with\n%s", got.stderr)
	}
	if got := l.build(2, "--module-source", source+",name=ours"); !strings.Contains(got.stderr, "--module-source is") {
		t.Errorf("another option than the lock's ends with\n%s", got.stderr)
	}
}

// TestLockHoldsOverlaysAndSite: overlays and what a site sets are locked by digest,
// passwords excepted.
func TestLockHoldsOverlaysAndSite(t *testing.T) {
	l := newLocker(t)
	server := httptest.NewTLSServer(nil)
	server.Close()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	profile := "  ca: [root.pem]\n  registries: [{host: r.example, username: ci, password-file: password}]\n"
	files := map[string]string{
		"overlay.yaml": "services: [{name: hook-docker, image: \"${HOOK_CONTAINER_HELLO_IMAGE}\"}]\nfiles: [{path: etc/rack, source: rack}]\n",
		"rack":         "7\n", "root.pem": authority, "password": "geheim\n",
		"hookbuild.yaml": "overlays: [overlay.yaml]\nsite:\n" + profile,
	}
	for name, text := range files {
		site.WriteFile(t, at(name), text)
	}
	config := []string{"--config", at("hookbuild.yaml")}
	l.write(config...)
	for _, want := range []string{"name: site\n", "name: root.pem\n", "name: etc/rack\n", "/overlay.yaml\n"} {
		if text := readFile(t, l.lock); !strings.Contains(text, want) {
			t.Errorf("the lock has no %q:\n%s", want, text)
		}
	}
	l.build(0, config...)
	for name, changed := range map[string]string{"overlay.yaml": "# new\n" + files["overlay.yaml"], "rack": "8\n", "root.pem": "# new\n" + authority,
		"hookbuild.yaml": files["hookbuild.yaml"] + "  dns: {servers: [192.0.2.1]}\n"} {
		site.WriteFile(t, at(name), changed)
		want := strings.Replace(name, "hookbuild.yaml", "site: ", 1)
		if got := l.build(3, config...); !strings.Contains(got.stderr, "1 difference (lock -> found)") || !strings.Contains(got.stderr, want) {
			t.Errorf("%s changed, and the build ends with\n%s", name, got.stderr)
		}
		site.WriteFile(t, at(name), files[name])
	}
	site.WriteFile(t, at("password"), "another\n")
	l.build(0, config...)
}

// TestLockTakesThePinnedRelease: the release in kernel/versions.lock goes into the
// lock, which then decides alone.
func TestLockTakesThePinnedRelease(t *testing.T) {
	l := newLocker(t)
	t.Setenv("DOCKER_HOST", testneed.Docker(t))
	site.WriteFile(t, filepath.Join(l.site.Dir, "kernel/keys.asc"), readFile(t, "../../kernel/source/testdata/keys.asc"))
	pins := filepath.Join(l.site.Dir, "kernel/versions.lock")
	sum := strings.Repeat("ab", 32)
	site.WriteFile(t, pins, "6.6.7 sha256:"+sum+"\n")
	lock := func() {
		t.Helper()
		l.do(0, "lock", "hook-latest-lts-amd64", "--kernel", "build", "--builder-image", l.pushBuilder())
	}
	lock()
	says(t, readFile(t, l.lock), "release: 6.6.7\n", "linux-6.6.7.tar.xz\n        digest: sha256:"+sum)
	site.WriteFile(t, pins, "6.6.8 sha256:"+strings.Repeat("cd", 32)+"\n")
	says(t, l.do(0, "plan", "--locked").stdout, "6.6.7")
	says(t, l.do(0, "lock", "--update", "kernel").stdout, "source Linux 6.6.7 sha256:"+sum, "-> source Linux 6.6.8 sha256:cd")
}

// A limit on the size is no input: it may be given with --locked.
func TestLockedWithMaxSize(t *testing.T) {
	l := newLocker(t)
	l.write()
	l.build(0, "--max-size", "1GB")
	says(t, l.build(1, "--max-size", "1kB").stderr, "over --max-size 1.0 kB")
	l.write("--max-size", "1kB")
	l.build(0, "--max-size", "1GB")
}

// Lock builds no container, also where the registry cannot be asked.
func TestLockBuildsNoContainer(t *testing.T) {
	l := newLocker(t)
	site.WriteFile(t, filepath.Join(l.site.Dir, "images/hook-init/Dockerfile"), "FROM scratch\n# not published\n")
	says(t, l.do(4, "lock", "hook-latest-lts-amd64", "--kernel", "latest", "HOOK_KERNEL_OCI_BASE="+l.kernels()).stderr, "hook-init", "`hookbuild lock` builds no container", "`hookbuild containers` first")
}

// The architecture may have the name that flavors and files have.
func TestArchitectureByKernelName(t *testing.T) {
	l := newLocker(t)
	l.write("--arch", "x86_64")
	l.build(0, "--arch", "amd64")
	says(t, l.build(2, "--arch", "riscv").stderr, `--arch "riscv" is neither amd64 nor arm64`)
}

// A lock changes nothing in the record of a build but the tag, which is made of the
// lock: templates, overlays and files are recorded by their own digests, under names
// that do not depend on where the lock is.
func TestRecordIsTheSameWithALock(t *testing.T) {
	l := newLocker(t)
	dir := t.TempDir()
	files := map[string]string{
		"own/overlay.yaml": "services: [{name: hook-docker, image: \"${HOOK_CONTAINER_HELLO_IMAGE}\"}]\nfiles: [{path: etc/rack, source: ../rack}]\n",
		"rack":             "7\n",
		"own/images.txt":   l.site.Host + "/actions/cexec:v1 127.0.0.1/embedded/other\n",
		"own/site.yaml":    "dns: {servers: [192.0.2.1]}\n",
		"firmware/x.bin":   "firmware",
	}
	for name, text := range files {
		site.WriteFile(t, filepath.Join(dir, name), text)
	}
	t.Chdir(dir)
	options := []string{"--overlay", "own/overlay.yaml", "--images-file", "own/images.txt", "--site", "own/site.yaml", "--firmware", "firmware"}
	record := func() (manifest artifact.Build, provenance string) {
		provenance = readFile(t, filepath.Join(l.out, "hook/provenance.json"))
		return place{t: t, out: l.out}.manifest("hook"), provenance
	}
	l.out = filepath.Join(dir, "out")
	l.run(0, append([]string{"all", "hook-latest-lts-amd64", "--kernel", "latest", "--level", "1", "--out", l.out, "--hook-dir", l.site.Dir,
		"--image", l.site.Host + "/actions/cexec:v1=127.0.0.1/embedded/cexec", "HOOK_KERNEL_OCI_BASE=" + l.kernels()}, options...)...)
	unlocked, proved := record()
	l.write(options...)
	l.build(0)
	locked, provedLocked := record()

	if locked.LockTag == "" || unlocked.LockTag != "" {
		t.Errorf("the tags are %q with a lock and %q without", locked.LockTag, unlocked.LockTag)
	}
	locked.LockTag = ""
	locked.Tarball, unlocked.Tarball = nil, nil // it has the manifest, with the tag
	if diff := cmp.Diff(unlocked, locked); diff != "" {
		t.Errorf("the lock changes the manifest:\n%s", diff)
	}
	if diff := cmp.Diff(proved, provedLocked); diff != "" {
		t.Errorf("the lock changes the provenance:\n%s", diff)
	}
	template := readFile(t, filepath.Join(l.site.Dir, "linuxkit-templates/hook.template.yaml"))
	if unlocked.Template.Digest != digest.OfBytes([]byte(template)) || unlocked.Overlays[0].Digest != digest.OfBytes([]byte(files["own/overlay.yaml"])) {
		t.Errorf("the template is %+v and the overlays are %+v: those are not the digests of the files", unlocked.Template, unlocked.Overlays)
	}
	var names []string
	for _, f := range unlocked.Files {
		names = append(names, f.Name)
	}
	if want := []string{"etc/note", "etc/rack", "firmware", "images.txt", "site"}; !slices.Equal(names, want) {
		t.Errorf("the files are %v, want %v", names, want)
	}
}
