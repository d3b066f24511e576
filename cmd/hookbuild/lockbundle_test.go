package main

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/release"
	"hookbuild/test/testneed"
)

// plant is a site that embeds the images of an EKS Anywhere bundle.
type plant struct {
	*locker
	service *release.Service
}

func newPlant(t *testing.T) plant {
	t.Helper()
	return plant{newLocker(t), newReleases(t).service}
}

// common returns the options that say where the service's registries are.
func (p plant) common() []string {
	return []string{"--mirror", "ghcr.io=" + p.service.Images.Addr() + "/ghcr"}
}

func (p plant) lockBundle(version string) outcome {
	p.t.Helper()
	return p.do(0, append([]string{"lock", "hook-latest-lts-amd64", "--kernel", "latest", "--level", "1", "--embed-from-bundle", "--eksa-version", version,
		"--releases-url", p.service.ReleasesURL(), "HOOK_KERNEL_OCI_BASE=" + p.kernels()}, p.common()...)...)
}

// latest makes a release the latest one of the list.
func (p plant) latest(version string) {
	p.t.Helper()
	file := p.service.File("/releases/eks-a/manifest.yaml")
	text := readFile(p.t, file)
	before, rest, _ := strings.Cut(text, "latestVersion: ")
	_, after, _ := strings.Cut(rest, "\n")
	site.WriteFile(p.t, file, before+"latestVersion: "+version+"\n"+after)
}

// fromKit builds from a kit where there is no network, and compares the initramfs.
func (p plant) fromKit(want string) {
	p.t.Helper()
	kit := filepath.Join(p.t.TempDir(), "kit.tar")
	p.do(0, append([]string{"kit", "save", "-o", kit}, p.common()...)...)
	p.t.Chdir(p.t.TempDir())
	out := p.t.TempDir()
	said, err := p.inNamespace("all", "--locked", "--kit", kit, "--out", out, "--cache-dir", p.t.TempDir(), "--progress", "plain")
	if err != nil {
		p.t.Fatalf("%v\n%s", err, said)
	}
	if n := strings.Count(said, "the worker is from"); n != 1 {
		p.t.Errorf("the worker's origin is said %d times:\n%s", n, said)
	}
	checked, err := p.inNamespace("verify", out, "--kit", kit, "--cache-dir", p.t.TempDir(), "--progress", "plain")
	if err != nil {
		p.t.Errorf("%v\n%s", err, checked)
	}
	says(p.t, checked, "it is not signed, as the manifest in the kit shows; images are covered by their digests")
	if readFile(p.t, filepath.Join(out, "hook/initramfs-x86_64")) != want {
		p.t.Error("the kit gives another initramfs")
	}
}

// A bundle is locked with its worker, which comes out of the HookOS of the release;
// updating says what changed, and a kit builds it without a network.
func TestLockedBundle(t *testing.T) {
	testneed.Namespaces(t)
	p := newPlant(t)
	p.latest("v0.25.3")
	p.lockBundle("latest")
	hook := p.service.HookURL(release.Release{Number: 123}, "initramfs-x86_64")
	says(t, readFile(t, p.lock), "number: 123", "release: v0.25.3", "name: "+hook, "/actions/cexec:")
	p.latest("v0.26.1")
	p.build(0, p.common()...)
	got := p.do(0, append([]string{"lock", "--update", "--releases-url", p.service.ReleasesURL()}, p.common()...)...)
	says(t, got.stdout, "bundle: 123 v0.25.3 sha256:", "-> 124 v0.26.1 sha256:", "(v0.25.3 is of 2026-01-12, v0.26.1 is of 2026-01-13)",
		"cexec: ", "(named by bundle 124 (EKS Anywhere v0.26.1))", "worker: "+hook)
	p.build(0, p.common()...)
	p.fromKit(readFile(t, filepath.Join(p.out, "hook/initramfs-x86_64")))
}

// Without a HookOS of the release, the locked worker is upstream's, by a tag that is
// asked for when locking alone.
func TestLockedWorkerOfUpstream(t *testing.T) {
	testneed.Namespaces(t)
	p := newPlant(t)
	refuse := true
	p.service.Wrap(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if refuse && strings.Contains(r.URL.Path, "/artifacts/") {
				http.Error(w, "AccessDenied", http.StatusForbidden)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	p.lockBundle("v0.25.3")
	text := readFile(t, p.lock)
	says(t, text, "reference: ghcr.io/tinkerbell/tink-agent:"+release.AgentTag)
	if strings.Contains(text, "docker-archive") {
		t.Errorf("the lock has a worker of a HookOS:\n%s", text)
	}
	refuse = false // the HookOS is there again, and is not what was locked
	got := p.build(0, p.common()...)
	says(t, got.stderr, "ghcr.io/tinkerbell/tink-agent:"+release.AgentTag, "it is tink-agent")
	p.fromKit(readFile(t, filepath.Join(p.out, "hook/initramfs-x86_64")))
}

// Every digest of a lock is in the manifest.json and in the provenance of what was built
// from it.
func TestManifestHasWhatTheLockHas(t *testing.T) {
	p := newPlant(t)
	p.lockBundle("v0.25.3")
	p.build(0, p.common()...)
	text, _, _ := strings.Cut(readFile(t, p.lock), "\nsum: ")
	manifest := readFile(t, filepath.Join(p.out, "hook/manifest.json"))
	provenance := readFile(t, filepath.Join(p.out, "hook/provenance.json"))
	digests := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindAllString(text, -1)
	if len(digests) < 10 {
		t.Fatalf("the lock has %d digests:\n%s", len(digests), text)
	}
	for _, digest := range digests {
		if !strings.Contains(manifest, digest) {
			t.Errorf("manifest.json has no %s, and the lock is\n%s", digest, text)
		}
		if !strings.Contains(provenance, strings.TrimPrefix(digest, "sha256:")) {
			t.Errorf("provenance.json has no %s, and the lock is\n%s", digest, text)
		}
	}
}

// embed --locked embeds the images of the lock and no newer ones.
func TestEmbedLocked(t *testing.T) {
	p := newPlant(t)
	p.lockBundle("v0.25.3")
	in, out := filepath.Join(t.TempDir(), "initramfs-x86_64"), filepath.Join(t.TempDir(), "initramfs")
	baseInitramfs(t, in, initramfs.Gzip)
	embed := func(code int, more ...string) outcome {
		t.Helper()
		return p.do(code, append(append([]string{"embed", "--locked", "--initramfs", in, "-o", out, "--layout", "directory"}, p.common()...), more...)...)
	}
	says(t, embed(2).stderr, "--layout is not among the options")
	embed = func(code int, more ...string) outcome {
		t.Helper()
		return p.do(code, append(append([]string{"embed", "--locked", "--initramfs", in, "-o", out}, p.common()...), more...)...)
	}
	p.tagsAsked()
	embed(0)
	first := readFile(t, out)
	says(t, p.run(0, "embed", "--list", out, "--progress", "plain").stdout, "127.0.0.1/embedded/cexec:latest", "127.0.0.1/embedded/tink-worker:latest")
	p.latest("v0.26.1")
	embed(0, "hook-latest-lts-amd64")
	if readFile(t, out) != first {
		t.Error("the same lock gives another initramfs")
	}
	says(t, embed(3, "hook-latest-lts-arm64").stderr, "no build for hook-latest-lts-arm64")
	says(t, embed(2, "--eksa-version", "v0.26.1").stderr, "--eksa-version is v0.26.1, and the lock of hook-latest-lts-amd64 has v0.25.3")
}

// kernel --locked makes a kernel that is made from its source or of Armbian's
// packages, and no other.
func TestKernelLockedRefusesOthers(t *testing.T) {
	l := newLocker(t)
	l.write()
	says(t, l.do(2, "kernel", "--locked").stderr, "the lock has one that is made elsewhere (from: image)", "all --locked")
	says(t, l.do(2, "kernel", "--locked", "--set", "CONFIG_ICE=m").stderr, "--set is not among the options")
}

// pushArmbian publishes a kernel as Armbian does.
func (l *locker) pushArmbian(tag, release string) {
	l.t.Helper()
	packed := kerneltest.MakeDeb(l.t, "Package: linux-image-edge-x86\nVersion: 24\nArchitecture: amd64\n", map[string]string{
		"./boot/vmlinuz-" + release:                     string(kerneltest.BzImage(l.t, release, "")),
		"./lib/modules/" + release + "/modules.builtin": "",
	})
	kerneltest.PushArtifact(l.t, l.site.Host+"/os/kernel-x86-edge:"+tag, "kernel.tar", kerneltest.Tar(l.t, map[string]string{"global/linux-image-edge-x86_24_amd64.deb": string(packed)}))
}

// lockArmbian locks a flavor whose kernel is Armbian's, and returns it.
func (l *locker) lockArmbian() (flavor string) {
	l.t.Helper()
	flavor = "armbian-uefi-x86-edge"
	site.WriteFile(l.t, filepath.Join(l.site.Dir, "kernel/Dockerfile"), "FROM scratch\n")
	l.pushArmbian("6.8.9-Sab12-D1", "6.8.9-edge-x86")
	l.do(0, "lock", flavor, "--level", "1", "ARMBIAN_BASE_ORAS_REF="+l.site.Host+"/os", "HOOK_KERNEL_OCI_BASE="+l.kernels())
	return flavor
}

// kernel --locked packs the artifact of Armbian that the lock has, whatever its tag
// leads to today, and lock --update takes a newer one.
func TestKernelLockedOfArmbian(t *testing.T) {
	l := newLocker(t)
	flavor := l.lockArmbian()
	says(t, readFile(t, l.lock), "from: armbian", "reference: "+l.site.Host+"/os/kernel-x86-edge:6.8.9-Sab12-D1\n        digest: sha256:")
	export := filepath.Join(t.TempDir(), "kernel.tar")
	kernel := func() string {
		t.Helper()
		got := l.do(0, "kernel", "--locked", "--no-load", "--export", export)
		says(t, got.stdout, "-armbian:6.8.9-Sab12-D1-uefi-x86-edge")
		return readFile(t, export)
	}
	l.tagsAsked()
	first := kernel()
	l.pushArmbian("6.8.9-Sab12-D1", "6.8.9-another")
	l.pushArmbian("6.8.10-Sab12-D1", "6.8.10-edge-x86")
	l.tagsAsked()
	l.cache = t.TempDir()
	if kernel() != first {
		t.Error("kernel --locked took what was pushed later")
	}
	if asked := l.tagsAsked(); len(asked) > 0 {
		t.Errorf("kernel --locked asked for tags: %v", asked)
	}
	says(t, l.do(0, "lock", "--update", "kernel").stdout, "kernel-x86-edge:6.8.9-Sab12-D1", "kernel-x86-edge:6.8.10-Sab12-D1")
	says(t, l.do(0, "kernel", flavor, "--locked", "--no-load", "--export", export).stdout, "-armbian:6.8.10-Sab12-D1-uefi-x86-edge")
}

// A bundle manifest and a HookOS on this machine are in the kit.
func TestKitHasLocalBundleAndHookOS(t *testing.T) {
	testneed.Namespaces(t)
	p := newPlant(t)
	home := t.TempDir()
	p.lock = filepath.Join(home, "hookbuild.lock")
	copied := func(url, name string) {
		t.Helper()
		site.WriteFile(t, filepath.Join(home, name), readFile(t, p.service.File(strings.TrimPrefix(url, p.service.URL("")))))
	}
	r, err := release.Find("v0.26.1")
	if err != nil {
		t.Fatal(err)
	}
	copied(p.service.BundleURL(r), "bundle/manifest.yaml")
	copied(p.service.HookURL(r, "initramfs-x86_64"), "hookos/initramfs")
	t.Chdir(home)
	p.do(0, append([]string{"lock", "hook-latest-lts-amd64", "--kernel", "latest", "--level", "1", "--embed-from-bundle", "--bundle", "bundle/manifest.yaml",
		"--worker-from", "./hookos/initramfs", "HOOK_KERNEL_OCI_BASE=" + p.kernels()}, p.common()...)...)
	says(t, readFile(t, p.lock), "location: bundle/manifest.yaml", "worker-from: hookos/initramfs", "bundle: bundle/manifest.yaml")
	p.build(0, p.common()...)
	p.fromKit(readFile(t, filepath.Join(p.out, "hook/initramfs-x86_64")))
}
