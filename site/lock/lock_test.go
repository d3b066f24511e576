package lock_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
	"hookbuild/site/lock"
)

func sum(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

// example has everything that a lock can have.
func example() lock.File {
	return lock.File{Version: lock.Version, Hookbuild: "v1.2.3", Builds: []lock.Build{
		{
			Flavor: "hook-latest-lts-amd64", Arch: "amd64",
			Options:   map[string]lock.Values{"set": {"CONFIG_A=y", "CONFIG_B=m"}, "kernel": {"build"}},
			Variables: map[string]string{"HOOK_VERSION": "0.11.1"},
			Bundle:    &lock.Bundle{Number: 124, Release: "v0.26.1", Location: "https://example.test/124/manifest.yaml", SHA256: sum("a")},
			Kernel: lock.Kernel{
				From: lock.FromSource, Release: "6.6.32",
				Source:  &lock.Input{Name: "https://example.test/linux-6.6.32.tar.xz", SHA256: sum("b")},
				Config:  &lock.Input{Name: "kernel/configs/generic-6.6.y-x86_64", SHA256: sum("c")},
				Builder: &lock.Builder{Name: "example.test/builder:1", Digest: sum("d"), ID: sum("e")},
			},
			Template: lock.Input{Name: "linuxkit-templates/hook.template.yaml", SHA256: sum("f")},
			Files:    []lock.Input{{Name: "files/a", SHA256: sum("1")}, {Name: "files/b", SHA256: sum("2")}},
			Images:   []lock.Image{{Reference: "example.test/init:1", Digest: sum("3"), Manifest: sum("4"), Size: 1 << 20}},
			Embedded: []lock.Image{{Reference: "example.test/cexec:1", As: []string{"127.0.0.1/embedded/cexec:latest"}, Digest: sum("5")}},
		},
		{
			Flavor: "mine", Arch: "arm64",
			Kernel:   lock.Kernel{From: lock.FromImage, Image: &lock.Image{Reference: "example.test/kernel:6.6.1", ID: sum("6")}},
			Template: lock.Input{Name: "mine.yaml", SHA256: sum("7")},
		},
	}}
}

func encode(t *testing.T, f lock.File) string {
	t.Helper()
	text, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGolden(t *testing.T) {
	const golden = "testdata/example.lock"
	got := encode(t, example())
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}

func TestWriteThenRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), lock.Name)
	f := example()
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := lock.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	got.Sum = ""
	if diff := cmp.Diff(f, *got); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
}

func TestOrderIsStable(t *testing.T) {
	f := example()
	f.Builds[0], f.Builds[1] = f.Builds[1], f.Builds[0]
	files := f.Builds[1].Files
	files[0], files[1] = files[1], files[0]
	if diff := cmp.Diff(encode(t, example()), encode(t, f)); diff != "" {
		t.Errorf("the same inputs in another order are another lock:\n%s", diff)
	}
}

func TestCommentsMayBeAdded(t *testing.T) {
	text := strings.Replace(encode(t, example()), "bundle:", "# reviewed by me\n    bundle:", 1)
	if _, err := lock.Parse([]byte(text), "x"); err != nil {
		t.Error(err)
	}
}

func TestParseRefuses(t *testing.T) {
	whole := encode(t, example())
	edit := func(old, to string) string {
		t.Helper()
		if !strings.Contains(whole, old) {
			t.Fatalf("the lock has no %q", old)
		}
		return strings.Replace(whole, old, to, 1)
	}
	for name, test := range map[string]struct{ text, want string }{
		"nothing":        {"", "it is empty"},
		"no YAML":        {edit("builds:", "builds: ["), "not valid YAML"},
		"a list":         {"- a\n", "it seems to be text that begins with \"- a\", not a lock; name the file that `hookbuild lock` wrote"},
		"hardware":       {"m1,192.0.2.1,root,geheim,52:54:00:12:34:56\n", "it seems to be a table of values, such as a hardware.csv, not a lock"},
		"a kernel":       {"MZ\x00", "a kernel or another EFI program, not a lock"},
		"no mapping":     {"version: 1\n- a\n", "not valid YAML"},
		"newer":          {edit("version: 1", "version: 2"), "its version is 2 and this hookbuild reads version 1"},
		"unknown key":    {edit("arch: amd64", "arch: amd64\n    color: red"), "color"},
		"twice":          {edit("arch: amd64", "arch: amd64\n    arch: amd64"), "arch"},
		"no builds":      {"version: 1\nhookbuild: x\n", "it has no builds"},
		"cut off":        {whole[:strings.Index(whole, "\nsum:")], "changed after hookbuild wrote it"},
		"only comments":  {whole[:strings.Index(whole, "\nversion:")], "it is empty; restore it from version control"},
		"digest":         {edit(sum("3"), "sha256:3"), `image "example.test/init:1": its digest "sha256:3"`},
		"edited":         {edit("cexec:1", "cexec:2"), "or remove it and write it again with `hookbuild lock FLAVOR`"},
		"kernel kind":    {edit("from: source", "from: luck"), `from is "luck"`},
		"arch":           {edit("arch: amd64", "arch: riscv64"), "neither amd64 nor arm64"},
		"alias":          {"version: 1\nhookbuild: &a x\nbuilds: []\n", "alias or anchor"},
		"merge conflict": {edit("builds:", "<<<<<<< HEAD\nbuilds:"), "merge conflict"},
		"two documents":  {whole + "---\nversion: 1\n", "second document"},
		"too long":       {whole + strings.Repeat("#", 4<<20), "more than 4 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := lock.Parse([]byte(test.text), "some.lock")
			if err == nil {
				t.Fatalf("it was read: %v", f)
			}
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `"some.lock"`) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestReadSaysHowToWriteOne(t *testing.T) {
	_, err := lock.Read(filepath.Join(t.TempDir(), "none.lock"))
	if err == nil || !strings.Contains(err.Error(), "hookbuild lock") {
		t.Errorf("got %v", err)
	}
}

func TestDiff(t *testing.T) {
	was, is := example().Builds[0], example().Builds[0]
	if changes := lock.Diff(was, is); len(changes) > 0 {
		t.Fatalf("a build differs from itself: %v", changes)
	}
	is.Kernel.Release = "6.6.33"
	is.Kernel.Source = &lock.Input{Name: is.Kernel.Source.Name, SHA256: sum("9")}
	is.Images = []lock.Image{{Reference: "example.test/init:2", Digest: sum("8")}}
	is.Embedded = nil
	is.Files = append(is.Files[:1:1], lock.Input{Name: "files/c", SHA256: sum("0")})
	var got []string
	for _, c := range lock.Diff(was, is) {
		got = append(got, c.String())
	}
	want := []string{
		"kernel: source Linux 6.6.32 " + sum("b") + " -> source Linux 6.6.33 " + sum("9"),
		"b files/b: gone: " + sum("2"),
		"init: example.test/init:1 " + sum("3") + " (" + sum("4") + ") -> example.test/init:2 " + sum("8"),
		"cexec example.test/cexec:1: gone: " + sum("5") + " as 127.0.0.1/embedded/cexec:latest",
		"c files/c: new: " + sum("0"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "builder", "bundle", "cexec", "init", "kernel", "template"}, was.Names()); diff != "" {
		t.Errorf("names: %s", diff)
	}
}
