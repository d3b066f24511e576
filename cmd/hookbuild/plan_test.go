package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/build"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
)

// options are those of the tests' builds.
func (l *locker) options() []string {
	return []string{
		l.flavor, "--kernel", "latest", "--level", "1", "--tar", "--out", l.out, "--hook-dir", l.site.Dir,
		"--image", l.site.Host + "/actions/cexec:v1=127.0.0.1/embedded/cexec", "HOOK_KERNEL_OCI_BASE=" + l.kernels(),
	}
}

// plan returns the plan for the options of the tests' builds, and its JSON.
func (l *locker) plan(more ...string) (*build.Forecast, string) {
	l.t.Helper()
	got := l.run(0, append(append([]string{"plan", "--json"}, l.options()...), more...)...)
	var all []build.Forecast
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil || len(all) != 1 {
		l.t.Fatalf("%v\n%s", err, got.stdout)
	}
	return &all[0], got.stdout
}

// blobsAsked returns how many blobs the registry was asked for since the last
// call.
func (l *locker) blobsAsked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, path := range l.asked {
		if strings.Contains(path, "/blobs/") {
			n++
		}
	}
	l.asked = nil
	return n
}

// TestPlan compares the plan with what all then does.
func TestPlan(t *testing.T) {
	l := newLocker(t)
	l.blobsAsked()
	cold, text := l.plan()
	if n := l.blobsAsked(); n > len(cold.Images) {
		t.Errorf("the plan fetched %d blobs, more than the configurations of %d images", n, len(cold.Images))
	}
	if left, err := os.ReadDir(l.out); err != nil || len(left) > 0 {
		t.Errorf("the plan wrote %v %v", left, err)
	}
	comparePlan(t, l, text)
	if cold.Cached.Parts != 0 || cold.Download.Parts != 4 || cold.Download.Bytes == 0 {
		t.Errorf("with an empty cache: cached %+v, to download %+v", cold.Cached, cold.Download)
	}
	l.writes(cold)
	l.blobsAsked()
	warm, _ := l.plan()
	if n := l.blobsAsked(); n > 0 || warm.Download.Parts != 0 || warm.Cached != cold.Download {
		t.Errorf("after all: %d blobs asked, cached %+v, to download %+v", n, warm.Cached, warm.Download)
	}
	for i := range warm.Images {
		if warm.Images[i].Digest != cold.Images[i].Digest {
			t.Errorf("%s was %s and is %s", cold.Images[i].Reference, cold.Images[i].Digest, warm.Images[i].Digest)
		}
	}
	shown := l.run(0, append([]string{"plan"}, l.options()...)...).stdout
	for _, want := range []string{`flavor +hook-latest-lts-amd64 for amd64`, `kernel +Linux 6\.6\.7 \(from the tag of its image, the newest in the registry\)\n`, `kernel image +\S+/hook-kernel:6\.6\.7-12345678 +sha256:\S+ +\d+ B in 1 file in the cache\n`, `embedded image +\S+cexec:v1.* \d+ B in 1 file in the cache +as 127\.0\.0\.1/embedded/cexec`, `in the cache +\d+ B in 4 files, which are not fetched again\n`, `download +nothing\n`, `compile +nothing\n`, `not known +the sizes`} {
		if !regexp.MustCompile(want).MatchString(shown) {
			t.Errorf("the plan does not say %s:\n%s", want, shown)
		}
	}
}

// writes runs all with the options of a plan, and compares the files that it writes
// with those of the plan.
func (l *locker) writes(f *build.Forecast, more ...string) {
	l.t.Helper()
	l.run(0, append(append([]string{"all"}, l.options()...), more...)...)
	var wrote []string
	for _, pattern := range []string{"*.tar.gz", "*.iso", "hook/*"} {
		found, err := filepath.Glob(filepath.Join(l.out, pattern))
		if err != nil {
			l.t.Fatal(err)
		}
		wrote = append(wrote, found...)
	}
	slices.Sort(wrote)
	if want := slices.Sorted(slices.Values(f.Write)); !slices.Equal(wrote, want) {
		l.t.Errorf("all wrote\n%s\nand the plan says\n%s", strings.Join(wrote, "\n"), strings.Join(want, "\n"))
	}
}

// comparePlan compares a plan with the golden one, without names and digests
// that depend on the place.
func comparePlan(t *testing.T, l *locker, text string) {
	t.Helper()
	text = strings.NewReplacer(l.site.Host, "registry.example", l.out, "out", l.site.Dir, "checkout").Replace(text)
	golden := filepath.Join("testdata", "plan.json")
	if *update {
		site.WriteFile(t, golden, text)
		t.Error("wrote " + golden)
	}
	if want := readFile(t, golden); text != want {
		t.Errorf("the plan is\n%s\nand %s has\n%s", text, golden, want)
	}
}

// TestPlanOfWhatIsBuilt plans a kernel that is compiled and containers that are
// built, without a Docker Engine.
func TestPlanOfWhatIsBuilt(t *testing.T) {
	l := newLocker(t)
	source := t.TempDir()
	site.WriteFile(t, filepath.Join(source, "Makefile"), "VERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = 9\nEXTRAVERSION =\n")
	f, text := l.plan("--kernel", "build", "--source", source, "HOOK_LK_CONTAINERS_OCI_BASE="+l.site.Host+"/none/")
	if k := f.Kernel; k.From != "source" || k.Release != "6.6.9" || k.Version != "6.6.9" || k.VersionFrom != "from the source that was given" || k.Source.Digest != "" || k.Builder.Name != "built from debian:stable" || k.Builder.Digest != "" || k.Published == nil || *k.Published {
		t.Errorf("the kernel is %s", text)
	}
	if len(f.Build) != 3 || !strings.Contains(text, "container hook-init as ") || !strings.Contains(text, "the digest of the builder image") {
		t.Errorf("what is built is %s", text)
	}
	got := l.run(0, append(append([]string{"plan"}, l.options()...), "--kernel", "build", "--source", source, "HOOK_LK_CONTAINERS_OCI_BASE="+l.site.Host+"/none/")...)
	if strings.Count(got.stderr+got.stdout, "reaching the Docker Engine") != 1 || !strings.Contains(got.stderr, "warning: the build of hook-latest-lts-amd64 cannot work here, because it needs Docker: ") {
		t.Errorf("that there is no Docker Engine is not said once:\n%s%s", got.stderr, got.stdout)
	}
	if !strings.Contains(got.stdout, " in 1 file apart from what building downloads\n") {
		t.Errorf("what building downloads is counted as nothing:\n%s", got.stdout)
	}
}

// TestPlanThatCannotBeMade fails as all does for containers that neither a registry
// nor a Docker Engine can be asked for.
func TestPlanThatCannotBeMade(t *testing.T) {
	l := newLocker(t)
	for _, command := range []string{"plan", "all"} {
		got := l.run(4, append(append([]string{command}, l.options()...), "HOOK_LK_CONTAINERS_OCI_BASE=127.0.0.1:1/none/")...)
		if !strings.Contains(got.stderr, "it could not be looked up: ") || strings.Count(got.stderr, ". It cannot be built here, because that needs Docker: ") != 1 {
			t.Errorf("%s says\n%s", command, got.stderr)
		}
	}
}

// TestPlanOfKernelOrg plans a kernel of kernel.org's source, of which only the signed
// list of checksums is fetched.
func TestPlanOfKernelOrg(t *testing.T) {
	l := newLocker(t)
	site.WriteFile(t, filepath.Join(l.site.Dir, "kernel/keys.asc"), readFile(t, "../../kernel/source/testdata/keys.asc"))
	var asked []string
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		http.ServeFile(w, r, "../../kernel/source/testdata/sha256sums.asc")
	}))
	defer mirror.Close()
	options := []string{"--kernel", "build", "--kernel-version", "32", "--source-mirror", mirror.URL}
	f, text := l.plan(options...)
	k := f.Kernel
	if k.Release != "6.6.32" || k.VersionFrom != "the release that was asked for" || !strings.HasPrefix(k.Reference, l.kernels()+":6.6.32-") || k.Published == nil || *k.Published ||
		k.Source == nil || *k.Source != (build.ForecastFile{Name: "https://www.kernel.org/pub/linux/kernel/v6.x/linux-6.6.32.tar.xz", Digest: "sha256:" + strings.Repeat("32", 32)}) {
		t.Errorf("the kernel is %s", text)
	}
	if len(f.Build) != 1 || f.Build[0].What != "kernel Linux 6.6.32 as "+k.Reference || !strings.Contains(text, "the size of https://www.kernel.org/pub/linux/kernel/v6.x/linux-6.6.32.tar.xz, which is to be downloaded") {
		t.Errorf("what is built is %s", text)
	}
	if want := []string{"/v6.x/sha256sums.asc"}; !slices.Equal(asked, want) {
		t.Errorf("the plan asked for %v, want %v", asked, want)
	}
	l.pushKernel(k.Reference[len(l.kernels())+1:], k.Release)
	if f, text := l.plan(options...); f.Kernel.Published == nil || !*f.Kernel.Published {
		t.Errorf("a published kernel is not found: %s", text)
	}
}

// TestPlanOfArmbian plans a kernel in an artifact like Armbian's.
func TestPlanOfArmbian(t *testing.T) {
	l := newLocker(t)
	l.flavor = "armbian-uefi-x86-edge"
	ref := l.site.Host + "/os/kernel-x86-edge:6.8.9-Sab12-D1"
	digest := pushArmbian(t, ref, "6.8.9-edge-x86")
	base := "ARMBIAN_BASE_ORAS_REF=" + l.site.Host + "/os"
	l.blobsAsked()
	f, text := l.plan(base)
	if n := l.blobsAsked(); n > len(f.Images) {
		t.Errorf("the plan fetched %d blobs of %d images", n, len(f.Images))
	}
	if k := f.Kernel; k.From != "armbian" || k.Version != "6.8.9" || k.Reference != ref || k.Digest != digest || len(f.Build) > 0 {
		t.Errorf("the kernel is %s", text)
	}
	image := imageFor(t, f, "kernel")
	if image.Reference != ref || image.Digest != digest || image.Download.Parts != 1 || image.Cached.Parts != 0 {
		t.Errorf("the artifact is %+v", image)
	}
	l.writes(f, base)
	if f, _ := l.plan(base); f.Download.Parts != 0 || imageFor(t, f, "kernel").Cached != image.Download {
		t.Errorf("after all, to download %+v, and the artifact is %+v", f.Download, imageFor(t, f, "kernel"))
	}
}

// TestPlanOfFirmwareAndISO plans firmware and a boot loader that are in images, and
// then in a directory and a file.
func TestPlanOfFirmwareAndISO(t *testing.T) {
	l := newLocker(t)
	loader := map[string]string{"BOOTX64.EFI": "MZ EFI program"}
	digests := map[string]string{
		"firmware":    site.Push(t, l.site.Host+"/firmware:1", map[string]string{"lib/firmware/x.bin": "firmware"}),
		"boot loader": site.Push(t, l.site.Host+"/grub:1", loader),
	}
	options := []string{"--firmware", "image:" + l.site.Host + "/firmware:1", "--iso", "--iso-loader", l.site.Host + "/grub:1"}
	f, _ := l.plan(options...)
	for what, digest := range digests {
		if image := imageFor(t, f, what); image.Digest != digest || image.Download.Parts != 1 {
			t.Errorf("the %s is %+v", what, image)
		}
	}
	l.writes(f, options...)
	f, _ = l.plan(options...)
	for what := range digests {
		if image := imageFor(t, f, what); image.Cached.Parts != 1 || image.Download.Parts != 0 {
			t.Errorf("after all, the %s is %+v", what, image)
		}
	}

	dir := t.TempDir()
	site.WriteFile(t, filepath.Join(dir, "firmware/x.bin"), "firmware")
	site.WriteFile(t, filepath.Join(dir, "grub.efi"), loader["BOOTX64.EFI"])
	options = []string{"--firmware", filepath.Join(dir, "firmware"), "--iso", "--iso-loader", filepath.Join(dir, "grub.efi")}
	f, text := l.plan(options...)
	named := map[string]bool{}
	for _, file := range f.Files {
		named[filepath.Base(file.Name)] = file.Digest != ""
	}
	if !named["firmware"] || !named["grub.efi"] || len(f.Images) != 4 {
		t.Errorf("with files, the plan is %s", text)
	}
	l.writes(f, options...)
}

// imageFor returns the image that a plan has for something.
func imageFor(t *testing.T, f *build.Forecast, what string) build.ForecastImage {
	t.Helper()
	i := slices.IndexFunc(f.Images, func(image build.ForecastImage) bool { return image.For == what })
	if i < 0 {
		t.Fatalf("the plan has no image for the %s: %+v", what, f.Images)
	}
	return f.Images[i]
}

// The plan names the bundle and the images that it chooses.
func TestPlanOfABundle(t *testing.T) {
	p := newPlant(t)
	args := append([]string{"plan", "hook-latest-lts-amd64", "--kernel", "latest", "--embed-from-bundle", "--eksa-version", "v0.25.3",
		"--releases-url", p.service.ReleasesURL(), "--out", p.out, "--hook-dir", p.site.Dir, "HOOK_KERNEL_OCI_BASE=" + p.kernels()}, p.common()...)
	var all []build.Forecast
	got := p.run(0, append(args, "--json")...)
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil || len(all) != 1 {
		t.Fatalf("%v\n%s", err, got.stdout)
	}
	if b := all[0].Bundle; b == nil || b.Release != "v0.25.3" || b.Number != 123 || !strings.HasPrefix(b.Digest, "sha256:") {
		t.Errorf("the bundle is %+v", b)
	}
	cexec := slices.IndexFunc(all[0].Images, func(i build.ForecastImage) bool { return strings.Contains(i.Reference, "/actions/cexec:") })
	if cexec < 0 || !strings.HasPrefix(all[0].Images[cexec].Digest, "sha256:") || all[0].Images[cexec].Download.Bytes == 0 {
		t.Errorf("no image of the bundle: %s", got.stdout)
	}
	if shown := p.run(0, args...).stdout; strings.Contains(shown, "@sha256:") || !regexp.MustCompile(`bundle +v0\.25\.3 http\S+ +sha256:`).MatchString(shown) {
		t.Errorf("the plan does not name the bundle, or a digest twice:\n%s", shown)
	}
}

func TestPlanOfALock(t *testing.T) {
	l := newLocker(t)
	l.write()
	l.pushKernel("6.6.9-12345678", "6.6.9")
	got := l.do(0, "plan", "--locked", "--json", "--out", l.out)
	if !strings.Contains(got.stdout, "hook-kernel:6.6.7-12345678") {
		t.Errorf("the plan of the lock is\n%s", got.stdout)
	}
	site.WriteFile(t, filepath.Join(l.site.Dir, "note.txt"), "another note\n")
	if got := l.do(3, "plan", "--locked", "--out", l.out); !strings.Contains(got.stderr, "etc/note") {
		t.Errorf("a file that differs from the lock: %s", got.stderr)
	}
}

// pushArmbian pushes an artifact with a kernel, in the form of Armbian's, and returns
// its digest.
func pushArmbian(t *testing.T, ref, release string) string {
	t.Helper()
	deb := kerneltest.MakeDeb(t, "Package: linux-image-edge-x86\nVersion: 24\nArchitecture: amd64\n", map[string]string{
		"./boot/vmlinuz-" + release:                     string(kerneltest.BzImage(t, release, packedConfig)),
		"./lib/modules/" + release + "/modules.builtin": "",
	})
	archive := kerneltest.Tar(t, map[string]string{"global/linux-image-edge-x86_24_amd64.deb": string(deb)})
	image, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:       static.NewLayer(archive, types.MediaType("application/vnd.unknown.layer.v1+tar")),
		Annotations: map[string]string{"org.opencontainers.image.title": "kernel.tar"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
