package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/test/testneed"
)

// stageFor writes the two files of an architecture.
func stageFor(t *testing.T, out, arch, content string) *Stage {
	t.Helper()
	s, err := NewStage(out, "hook")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"vmlinuz-" + arch, "initramfs-" + arch} {
		if err := s.Write(name, func(w io.Writer) error { _, err := io.WriteString(w, content+name); return err }); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func publishFor(t *testing.T, out, arch, content string) {
	t.Helper()
	s := stageFor(t, out, arch, content)
	artifacts, err := s.Artifacts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), "hook_"+arch+".tar.gz", Build{ID: arch, Arch: arch, Artifacts: artifacts}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestPublishKeepsTheOtherArchitecture(t *testing.T) {
	out := t.TempDir()
	publishFor(t, out, "x86_64", "first ")
	publishFor(t, out, "aarch64", "")
	publishFor(t, out, "x86_64", "second ")

	want := []string{"checksums.txt", "initramfs-aarch64", "initramfs-x86_64", "manifest.json", "vmlinuz-aarch64", "vmlinuz-x86_64"}
	if diff := cmp.Diff(want, names(t, filepath.Join(out, "hook"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"hook", "hook_aarch64.tar.gz", "hook_x86_64.tar.gz"}, names(t, out)); diff != "" {
		t.Error(diff)
	}
	content, err := os.ReadFile(filepath.Join(out, "hook", "vmlinuz-x86_64"))
	if err != nil || string(content) != "second vmlinuz-x86_64" {
		t.Errorf("got %q, %v", content, err)
	}
	var m Manifest
	text, err := os.ReadFile(filepath.Join(out, "hook", ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Builds) != 2 || m.Builds[0].Arch != "aarch64" {
		t.Errorf("the manifest has %+v", m.Builds)
	}
}

func TestChecksumsSatisfySha512sum(t *testing.T) {
	tool := testneed.Tool(t, "sha512sum")
	out := t.TempDir()
	publishFor(t, out, "x86_64", "x")
	publishFor(t, out, "aarch64", "y")
	cmd := exec.Command(tool, "--check", "--strict", ChecksumsFile)
	cmd.Dir = filepath.Join(out, "hook")
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got := strings.Count(string(text), ": OK"); got != 5 { // four files and the manifest
		t.Errorf("%d files were checked:\n%s", got, text)
	}
}

func TestNothingAppearsBeforePublish(t *testing.T) {
	out := t.TempDir()
	publishFor(t, out, "x86_64", "old ")
	s := stageFor(t, out, "x86_64", "new ")
	content, err := os.ReadFile(filepath.Join(out, "hook", "vmlinuz-x86_64"))
	if err != nil || string(content) != "old vmlinuz-x86_64" {
		t.Errorf("before publish: got %q, %v", content, err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, out); slices.ContainsFunc(got, func(n string) bool { return strings.HasPrefix(n, ".") }) {
		t.Errorf("a discarded stage left %v", got)
	}
}

func TestWriteThatFailsPublishesNothing(t *testing.T) {
	s, err := NewStage(t.TempDir(), "hook")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Discard()
	full := errors.New("no space left on device")
	err = s.Write("vmlinuz-x86_64", func(io.Writer) error { return full })
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "vmlinuz-x86_64") {
		t.Errorf("got %v", err)
	}
	if got, err := s.Artifacts(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestStaleStageIsRemovedAndALiveOneKept(t *testing.T) {
	out := t.TempDir()
	live, err := NewStage(out, "hook")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Discard()
	stale := filepath.Join(out, stagePrefix+"killed")
	if err := os.MkdirAll(filepath.Join(stale, "hook"), 0o755); err != nil {
		t.Fatal(err)
	}
	next, err := NewStage(out, "hook")
	if err != nil {
		t.Fatal(err)
	}
	defer next.Discard()
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the killed run's stage is still there: %v", err)
	}
	if _, err := os.Stat(live.dir); err != nil {
		t.Errorf("the other run's stage is gone: %v", err)
	}
}

// What a killed run of another name holds of the user's is given back.
func TestStaleStageOfAnotherName(t *testing.T) {
	out := t.TempDir()
	if err := os.MkdirAll(filepath.Join(out, stagePrefix+"killed/hook/notes"), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := NewStage(out, "clock")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Discard()
	if _, err := os.Stat(filepath.Join(out, "hook/notes")); err != nil {
		t.Errorf("the user's directory is lost: %v", err)
	}
}

func TestPublishKeepsTheUsersDirectories(t *testing.T) {
	out := t.TempDir()
	publishFor(t, out, "x86_64", "old ")
	notes := filepath.Join(out, "hook", "notes", "a.txt")
	if err := os.MkdirAll(filepath.Dir(notes), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(notes, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	publishFor(t, out, "x86_64", "new ")
	if content, err := os.ReadFile(notes); err != nil || string(content) != "mine" {
		t.Errorf("got %q, %v", content, err)
	}
}

func TestTarballHoldsTheBuildAtItsRoot(t *testing.T) {
	out := t.TempDir()
	publishFor(t, out, "aarch64", "other")
	publishFor(t, out, "x86_64", "x")
	data, err := os.ReadFile(filepath.Join(out, "hook_x86_64.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for tr := tar.NewReader(zr); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, header.Name)
	}
	if diff := cmp.Diff([]string{"checksums.txt", "manifest.json", "vmlinuz-x86_64", "initramfs-x86_64"}, got); diff != "" {
		t.Error(diff)
	}
}

// publishFlavor publishes a build with the links of its architecture.
func publishFlavor(t *testing.T, out, id, content string) Published {
	t.Helper()
	return publishAs(t, out, id, "hook-"+id, content)
}

// publishAs publishes a build of a flavor with the links of its architecture.
func publishAs(t *testing.T, out, id, flavor, content string) Published {
	t.Helper()
	s := stageFor(t, out, id, content)
	for _, kind := range []string{"vmlinuz-", "initramfs-"} {
		if err := s.Link(kind+"x86_64", kind+id); err != nil {
			t.Fatal(err)
		}
	}
	artifacts, err := s.Artifacts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Publish(t.Context(), TarballName("hook", id), Build{ID: id, Arch: "x86_64", Flavor: flavor, Artifacts: artifacts}, nil)
	if err := errors.Join(err, s.Discard()); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFlavorsOfOneArchitecture publishes two flavors of one architecture into one
// directory. The names that EKS Anywhere asks for are those of the last.
func TestFlavorsOfOneArchitecture(t *testing.T) {
	out := filepath.Join(t.TempDir(), "o[2")
	publishFlavor(t, out, "a-x86_64", "a ")
	publishFlavor(t, out, "b-x86_64", "b ")
	publishFlavor(t, out, "a-x86_64", "new a ")
	dir := filepath.Join(out, "hook")
	for name, want := range map[string]string{"vmlinuz-a-x86_64": "new a ", "vmlinuz-b-x86_64": "b ", "vmlinuz-x86_64": "new a "} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	last, err := os.Stat(filepath.Join(dir, "vmlinuz-a-x86_64"))
	if err != nil {
		t.Fatal(err)
	}
	if link, err := os.Stat(filepath.Join(dir, "vmlinuz-x86_64")); err != nil || !os.SameFile(link, last) {
		t.Errorf("vmlinuz-x86_64 is not a link to the last flavor: %v", err)
	}
	m, err := ReadManifest(filepath.Join(dir, ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Builds) != 2 || len(m.Builds[0].Artifacts) != 4 || len(m.Builds[1].Artifacts) != 2 || m.Builds[0].Tarball == nil {
		t.Errorf("the manifest has %+v", m.Builds)
	}
	if got, want := names(t, out), []string{"hook", "hook_a-x86_64.tar.gz", "hook_b-x86_64.tar.gz"}; !slices.Equal(got, want) {
		t.Errorf("the output directory has %v", got)
	}

	// A flavor whose ID is the architecture has files, not links, of these names.
	p := publishFlavor(t, out, "x86_64", "own ")
	if len(p.Replaced) != 0 {
		t.Errorf("replacing links replaced builds: %+v", p.Replaced)
	}
	p = publishFlavor(t, out, "b-x86_64", "b ")
	if len(p.Replaced) != 1 || p.Replaced[0].ID != "x86_64" {
		t.Errorf("replaced: %+v", p.Replaced)
	}
}

// lines collects the texts of events.
type lines []string

func (l *lines) Report(e progress.Event) { *l = append(*l, e.Text) }

// TestReplacedFlavors checks what is said of a flavor whose files are replaced, whether
// or not the new ones have its output id.
func TestReplacedFlavors(t *testing.T) {
	out := t.TempDir()
	publish := func(id, flavor string) string {
		var said lines
		publishAs(t, out, id, flavor, flavor).WarnReplaced(&said)
		return strings.Join(said, "\n")
	}
	publish("x86_64", "default")
	if said := publish("x86_64", "default"); said != "" {
		t.Errorf("a second build says %s", said)
	}
	if said := publish("lts-x86_64", "lts"); !strings.Contains(said, "default is no longer in ") || !strings.Contains(said, "its tarball is kept; build it in another --out to keep both") {
		t.Errorf("another id says %s", said)
	}
	if said := publish("lts-x86_64", "other"); !strings.Contains(said, "lts is no longer in ") || !strings.Contains(said, "same names, as has its tarball; build it in another --out") {
		t.Errorf("the same id says %s", said)
	}
}

func TestOutThatIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewStage(path, "hook"); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
}

// publishISO publishes a build with an ISO image, "" for none, that is in out too.
func publishISO(t *testing.T, out, id, content string) error {
	t.Helper()
	s := stageFor(t, out, id, content)
	if content != "" {
		image := id + isoSuffix
		s.Beside(image)
		if err := s.WriteAside(image, func(w io.Writer) error { _, err := io.WriteString(w, content); return err }); err != nil {
			t.Fatal(err)
		}
	}
	artifacts, err := s.Artifacts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Publish(t.Context(), TarballName("hook", id), Build{ID: id, Arch: "x86_64", Artifacts: artifacts}, nil)
	return errors.Join(err, s.Discard())
}

func TestImagesBeside(t *testing.T) {
	out := t.TempDir()
	read := func(name string) string { b, _ := os.ReadFile(filepath.Join(out, name)); return string(b) }
	check := func(a, b string) {
		t.Helper()
		if got := []string{read("a.iso"), read("b.iso")}; got[0] != a || got[1] != b {
			t.Errorf("the images are %q, want %q and %q", got, a, b)
		}
		for _, name := range []string{"a.iso", "b.iso"} {
			if in := filepath.Join(out, "hook", name); read(name) != "" && !sameFile(in, filepath.Join(out, name)) {
				t.Errorf("%s is not a link", name)
			}
		}
	}
	publish := func(id, content string) {
		t.Helper()
		if err := publishISO(t, out, id, content); err != nil {
			t.Fatal(err)
		}
	}
	publish("a", "one")
	publish("b", "two")
	check("one", "two")
	publish("a", "three")
	check("three", "two")
	// A link that is the user's stays.
	if err := os.Link(filepath.Join(out, "hook/vmlinuz-a"), filepath.Join(out, "vmlinuz-a")); err != nil {
		t.Fatal(err)
	}
	publish("a", "")
	check("", "two")
	if _, err := os.Stat(filepath.Join(out, "vmlinuz-a")); err != nil {
		t.Error(err)
	}

	// A run that was killed after it exchanged the directories left the old links: one to
	// an image that the new directory has too, and one to an image that it does not have.
	publish("a", "four")
	stale := filepath.Join(out, stagePrefix+"killed/hook")
	if err := errors.Join(os.Mkdir(filepath.Dir(stale), 0o755), os.Mkdir(stale, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.iso", "b.iso"} {
		if err := os.Rename(filepath.Join(out, "hook", name), filepath.Join(stale, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(out, "hook/a.iso"), []byte("five"), 0o644); err != nil {
		t.Fatal(err)
	}
	// It was killed before it renamed the new link.
	if err := os.Link(filepath.Join(out, "hook/a.iso"), filepath.Join(filepath.Dir(stale), "a.iso")); err != nil {
		t.Fatal(err)
	}
	s, err := NewStage(out, "clock")
	if err != nil {
		t.Fatal(err)
	}
	check("five", "")
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}

	// If the link cannot be made, directory and tarball belong together.
	if err := errors.Join(os.Remove(filepath.Join(out, TarballName("hook", "b"))), os.Mkdir(filepath.Join(out, "b.iso"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := publishISO(t, out, "b", "six"); err == nil {
		t.Error("a directory in the link's place goes unnoticed")
	}
	if _, err := os.Stat(filepath.Join(out, TarballName("hook", "b"))); err != nil {
		t.Error(err)
	}
}
