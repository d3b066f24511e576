package container

import (
	"strings"
	"testing"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/kernel/patch"
	"hookbuild/test/kerneltest"
)

func parsePatches(t *testing.T, texts ...string) []*patch.Patch {
	t.Helper()
	var all []*patch.Patch
	for _, text := range texts {
		p, err := patch.Parse("a.patch", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// changeOf replaces the only line of a file of [sourceTar].
func changeOf(name, line string) string {
	return "--- a/" + name + "\n+++ b/" + name + "\n@@ -1 +1 @@\n-#define COMMAND_LINE_SIZE\t2048\n+" + line + "\n"
}

// TestPatched applies patches, others after them, and again the first ones. What
// does not change keeps its time, by which make finds what to compile.
func TestPatched(t *testing.T) {
	when := time.Unix(1_700_000_000, 0)
	target := Target{Flavor: "test-patched", Arch: "x86_64", Source: Source{Archive: sourceTar(t, when, "Kbuild", "a.c", "b.c", "c.c"), SHA256: "faced123beef4567"}}
	added := "--- /dev/null\n+++ b/new/dir/n.c\n@@ -0,0 +1 @@\n+new\n"
	removed := "--- a/c.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-#define COMMAND_LINE_SIZE\t2048\n"
	target.Patches = parsePatches(t, changeOf("a.c", "one"), added, removed)
	b, r := cheap(t, target)
	const original = "#define COMMAND_LINE_SIZE\t2048\n"
	var last time.Time
	for _, step := range []struct {
		patches []*patch.Patch
		want    map[string]string // "" is a file that does not exist
		jobs    int
	}{
		{target.Patches, map[string]string{"a.c": "one\n", "b.c": original, "c.c": "", "new/dir/n.c": "new\n"}, 1},
		{target.Patches, map[string]string{"a.c": "one\n"}, 1},
		{parsePatches(t, changeOf("a.c", "one"), changeOf("b.c", "two")), map[string]string{"a.c": "one\n", "b.c": "two\n", "c.c": original, "new/dir/n.c": ""}, 2},
		{target.Patches, map[string]string{"a.c": "one\n", "b.c": original, "c.c": "", "new/dir/n.c": "new\n"}, 3},
	} {
		target.Patches = step.patches
		if err := b.ensureSource(t.Context(), target, kerneltest.BaseImage); err != nil {
			t.Fatal(err)
		}
		if n := r.started("patch the kernel of test-patched"); n != step.jobs {
			t.Errorf("the source was patched %d times, want %d", n, step.jobs)
		}
		id, err := b.create(t.Context(), job{target: target, step: "look", script: unpackScript, image: kerneltest.BaseImage})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range step.want {
			c, err := b.fileOf(t.Context(), id, "/src/linux/"+name)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if c != nil {
				got = string(c.Text)
			}
			if got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if err := b.remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		_, at := b.fileIn(t, target, "/src/linux/a.c")
		if at.Equal(when) || !last.IsZero() && !at.Equal(last) {
			t.Errorf("the file that all patches change alike is of %v, and was of %v", at, last)
		}
		last = at
	}
	plain := target
	plain.Patches = nil
	if plain.sourceVolume() == target.sourceVolume() || plain.volumes()["/obj"] == target.volumes()["/obj"] || string(stamp(plain, "x")) == string(stamp(target, "x")) {
		t.Error("a patched kernel shares the source or the objects of the kernel without patches")
	}
}

// TestPatchedDir copies a directory again after its patches changed: a file that
// is no longer patched has its old time, and still has to be compiled.
func TestPatchedDir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"Kbuild", "a.c", "b.c"} {
		kerneltest.WriteFile(t, dir+"/"+name, []byte("#define COMMAND_LINE_SIZE\t2048\n"))
	}
	target := Target{Flavor: "test-patched-dir", Arch: "x86_64", Source: Source{Dir: dir}}
	var begun time.Time
	for _, name := range []string{"a.c", "b.c"} {
		target.Patches = parsePatches(t, changeOf(name, "patched"))
		b, _ := cheap(t, target)
		if err := b.ensureSource(t.Context(), target, kerneltest.BaseImage); err != nil {
			t.Fatal(err)
		}
		if got, _ := b.fileIn(t, target, "/src/linux/"+name); got != "patched\n" {
			t.Errorf("%s is %q", name, got)
		}
		if name == "a.c" {
			_, begun = b.fileIn(t, target, "/src/linux/a.c")
			continue
		}
		got, at := b.fileIn(t, target, "/src/linux/a.c")
		if got == "patched\n" || at.Before(begun) {
			t.Errorf("the file that is no longer patched is %q of %v; it was patched at %v", got, at, begun)
		}
	}
}

// TestPatchDoesNotFit leaves the source as it is.
func TestPatchDoesNotFit(t *testing.T) {
	target := Target{Flavor: "test-patch-bad", Arch: "x86_64", Source: Source{Archive: sourceTar(t, time.Now(), "Kbuild", "a.c"), SHA256: "badfa123beef4567"}}
	target.Patches = parsePatches(t, changeOf("a.c", "one"), strings.ReplaceAll(changeOf("a.c", "two"), "2048", "1024"))
	b, r := cheap(t, target)
	err := b.ensureSource(t.Context(), target, kerneltest.BaseImage)
	if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), `patching the kernel's source for test-patch-bad: applying the patch "a.patch": its change 1 of "a.c"`) || !strings.Contains(err.Error(), "-#define COMMAND_LINE_SIZE\t1024\n+two") {
		t.Errorf("the error is %v", err)
	}
	if r.started("patch the kernel") != 0 {
		t.Error("the source was patched")
	}
}
