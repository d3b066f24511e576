package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hookbuild/build"
	"hookbuild/test/lab/site"
)

// options are those of the tests' builds.
func (l *locker) options() []string {
	return []string{
		"hook-latest-lts-amd64", "--kernel", "latest", "--level", "1", "--tar", "--out", l.out, "--hook-dir", l.site.Dir,
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
	l.run(0, append([]string{"all"}, l.options()...)...)
	var wrote []string
	for _, pattern := range []string{"*.tar.gz", "hook/*"} {
		found, err := filepath.Glob(filepath.Join(l.out, pattern))
		if err != nil {
			t.Fatal(err)
		}
		wrote = append(wrote, found...)
	}
	slices.Sort(wrote)
	if want := slices.Sorted(slices.Values(cold.Write)); !slices.Equal(wrote, want) {
		t.Errorf("all wrote\n%s\nand the plan says\n%s", strings.Join(wrote, "\n"), strings.Join(want, "\n"))
	}
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
	for _, want := range []string{`flavor +hook-latest-lts-amd64 for amd64`, `kernel +image \S+/hook-kernel:6\.6\.7-12345678`, `embedded image +\S+cexec:v1.* cached +as 127\.0\.0\.1/embedded/cexec`, `download +nothing`, `not known +the sizes`} {
		if !regexp.MustCompile(want).MatchString(shown) {
			t.Errorf("the plan does not say %s:\n%s", want, shown)
		}
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
	if k := f.Kernel; k.From != "source" || k.Release != "6.6.9" || k.Source.Digest != "" || k.Builder.Name != "built from debian:stable" || k.Builder.Digest != "" || k.Published == nil || *k.Published {
		t.Errorf("the kernel is %s", text)
	}
	if len(f.Build) != 3 || !strings.Contains(text, "container hook-init as ") || !strings.Contains(text, "the digest of the builder image") {
		t.Errorf("what is built is %s", text)
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
