package driver

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
)

func options(t *testing.T) Options {
	t.Helper()
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Cache: c}
}

func open(t *testing.T, s Spec, o Options) *Driver {
	t.Helper()
	d, err := Open(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// names lists the files of a driver, without directories.
func names(d *Driver) string {
	var all []string
	for e := range d.Tree.All() {
		if e.Type != initramfs.Dir {
			all = append(all, e.Path)
		}
	}
	return strings.Join(all, " ")
}

func TestParseSpec(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for text, want := range map[string]Spec{
		"ice-1.14.tar.gz": {Source: "ice-1.14.tar.gz"},
		"a,b,name.tar,name=ice,make=CFLAGS_EXTRA=-Wa,-x y,make=modules,dir=src/ice,patch=p1,patch=p2,sha256=" + sum: {
			Source: "a,b,name.tar", Name: "ice", Make: []string{"CFLAGS_EXTRA=-Wa,-x y", "modules"}, Dir: "src/ice", Patches: []string{"p1", "p2"}, SHA256: sum,
		},
		"https://e/x.tgz#sha256=" + sum: {Source: "https://e/x.tgz#sha256=" + sum},
	} {
		if got, err := ParseSpec(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                       "names no directory, archive or URL",
		",name=x":                "names no directory, archive or URL",
		"x,name=":                "name= has no value",
		"x,name=../x":            "may have only letters",
		"x,name=-x":              "may have only letters",
		"x,dir=../x":             "below the source's top directory",
		"x,dir=/x":               "below the source's top directory",
		"x,sha256=12":            "64 hexadecimal digits",
		"x,make=-j1":             "neither VARIABLE=VALUE nor a target",
		"x,make=A=b\nc":          "neither VARIABLE=VALUE nor a target",
		"https://u:secret@e/x#y": "# must be followed by sha256=",
		"https://e/x#sha256=" + sum + ",sha256=" + strings.Repeat("cd", 32): "different checksums",
	} {
		if _, err := ParseSpec(text); err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v; it should say %q", text, err, want)
		}
	}
}

// FuzzParseSpec wants what is read to name nothing outside the source.
func FuzzParseSpec(f *testing.F) {
	f.Add("ice.tar.gz,name=ice,make=A=b,dir=src,patch=p")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text)
		if err == nil && (s.Source == "" || s.Name != "" && !filepath.IsLocal(s.Name) || s.Dir != "" && !filepath.IsLocal(s.Dir)) {
			t.Errorf("%q is %+v", text, s)
		}
	})
}

const rules = "default:\n\t$(MAKE) -C /lib/modules/$(shell uname -r)/build M=$(CURDIR) modules\n"

// TestForms finds out how a source is built, whatever it comes in.
func TestForms(t *testing.T) {
	for name, c := range map[string]struct {
		files     map[string]string
		spec      Spec
		form      Form
		dir, call string
		make      []string
	}{
		"intel":         {map[string]string{"src/Makefile": rules, "src/Kbuild": "obj-m := ice.o\n", "README": ""}, Spec{}, Make, "src", "intel", nil},
		"modules rule":  {map[string]string{"Makefile": "all: clean modules install\nmodules:\n\ttrue\n"}, Spec{}, Make, "", "modules-rule", []string{"modules"}},
		"own target":    {map[string]string{"Makefile": "all:\nmodules:\n"}, Spec{Make: []string{"A=b", "all"}}, Make, "", "own-target", []string{"A=b", "all"}},
		"kbuild":        {map[string]string{"Kbuild": "obj-m := a.o\n"}, Spec{Make: []string{"A=b"}}, Kbuild, "", "kbuild", []string{"A=b", "modules"}},
		"only objects":  {map[string]string{"Makefile": "obj-$(CONFIG_X) += a.o\na-objs := b.o c.o\n$(obj)/b.o: x\nb.o: y\nKDIR ?= /x:y\n"}, Spec{}, Kbuild, "", "only-objects", []string{"modules"}},
		"dkms":          {map[string]string{"dkms.conf": "# x\nPACKAGE_NAME=\"v4l2loopback\"\n", "Makefile": rules}, Spec{}, DKMS, "", "v4l2loopback", nil},
		"computed name": {map[string]string{"dkms.conf": "PACKAGE_NAME=$X\n"}, Spec{}, DKMS, "", "computed-name", nil},
		"chosen":        {map[string]string{"Makefile": rules, "deep/er/Makefile": "obj-m := a.o\n"}, Spec{Dir: "deep/er", Name: "mine"}, Kbuild, "deep/er", "mine", []string{"modules"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			for file, text := range c.files {
				kerneltest.WriteFile(t, filepath.Join(dir, file), []byte(text))
			}
			c.spec.Source = dir
			d := open(t, c.spec, options(t))
			if d.Form != c.form || d.Dir != c.dir || d.Name != c.call || !slices.Equal(d.Make, c.make) {
				t.Errorf("it is %s in %q, called %q, with %q", d.Form, d.Dir, d.Name, d.Make)
			}
		})
	}
}

// TestSourcesAreEqual reads one source as a directory, as archives and as a
// Debian package.
func TestSourcesAreEqual(t *testing.T) {
	files := map[string]string{"ice-1.14.9/": "", "ice-1.14.9/src/Makefile": rules, "ice-1.14.9/src/a.c": "a", "ice-1.14.9/ddp/ice-1.3.36.0.pkg": "package", "ice-1.14.9/link": "-> ../../x"}
	dir := t.TempDir()
	packed := filepath.Join(dir, "ice-1.14.9.tar.gz")
	kerneltest.WriteFile(t, packed, kerneltest.Gzip(t, kerneltest.Tar(t, files)))
	inPackage := map[string]string{"./usr/share/doc/ice/copyright": "x"}
	for name, text := range files {
		inPackage["./usr/src/"+name] = text
	}
	kerneltest.WriteFile(t, filepath.Join(dir, "ice-dkms_1.14.9_all.deb"), kerneltest.MakeDeb(t, "Package: ice-dkms\nVersion: 1\nArchitecture: all\n", inPackage))
	server := httptest.NewServer(http.FileServerFS(os.DirFS(dir)))
	defer server.Close()
	text, err := os.ReadFile(packed)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	pinned := hex.EncodeToString(sum[:])
	o := options(t)
	for source, want := range map[string]string{
		packed: "ice", server.URL + "/ice-1.14.9.tar.gz#sha256=" + pinned: "ice", filepath.Join(dir, "ice-dkms_1.14.9_all.deb"): "ice-dkms",
	} {
		d := open(t, Spec{Source: source}, o)
		if names(d) != "ddp/ice-1.3.36.0.pkg link src/Makefile src/a.c" || d.Dir != "src" || d.Name != want {
			t.Errorf("%s: it is %q in %q, with %s", source, d.Name, d.Dir, names(d))
		}
	}
	byFile, byURL := open(t, Spec{Source: packed, SHA256: strings.ToUpper(pinned)}, o), open(t, Spec{Source: server.URL + "/ice-1.14.9.tar.gz", SHA256: pinned}, o)
	if byFile.Digest != byURL.Digest {
		t.Error("one archive has two digests")
	}
	e, ok := byFile.Firmware("intel/ice/ddp/ice.pkg")
	if !ok || e.Path != "ddp/ice-1.3.36.0.pkg" {
		t.Errorf("the firmware is %v, %v", e.Path, ok)
	}
	if e, ok := byFile.Firmware("intel/ice/ddp/other.pkg"); ok {
		t.Errorf("there is the firmware %v", e.Path)
	}
}

// TestDigest changes with all that goes into a build, and with nothing else.
func TestDigest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	kerneltest.WriteFile(t, filepath.Join(dir, "Makefile"), []byte(rules))
	kerneltest.WriteFile(t, filepath.Join(dir, "a.c"), []byte("a\n"))
	change := filepath.Join(t.TempDir(), "p")
	kerneltest.WriteFile(t, change, []byte("--- a/a.c\n+++ b/a.c\n@@ -1 +1 @@\n-a\n+b\n"))
	o := options(t)
	plain := open(t, Spec{Source: dir}, o)
	seen := map[string]string{plain.Digest: "plain"}
	for name, s := range map[string]Spec{
		"name": {Source: dir, Name: "y"}, "make": {Source: dir, Make: []string{"A=b"}}, "patch": {Source: dir, Patches: []string{change}},
	} {
		d := open(t, s, o)
		if other, taken := seen[d.Digest]; taken {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d.Digest] = name
	}
	patched := open(t, Spec{Source: dir, Patches: []string{change}}, o)
	if got := kerneltest.Content(t, patched.Tree, "a.c"); string(got) != "b\n" {
		t.Errorf("the patched file is %q", got)
	}
	// What an earlier build left, and git's files, are not part of the source.
	for _, made := range []string{".git/config", ".a.o.cmd", "a.o", ".x.ko.cmd", "x.ko", "x.mod.c", "x.mod", "Module.symvers", ".tmp_versions/x"} {
		kerneltest.WriteFile(t, filepath.Join(dir, made), []byte("made"))
	}
	kerneltest.WriteFile(t, filepath.Join(dir, "blob.o"), []byte("a vendor's"))
	d := open(t, Spec{Source: dir}, o)
	if names(d) != "Makefile a.c blob.o" {
		t.Errorf("the files are %s", names(d))
	}
	if err := os.Remove(filepath.Join(dir, "blob.o")); err != nil {
		t.Fatal(err)
	}
	if d := open(t, Spec{Source: dir}, o); d.Digest != plain.Digest {
		t.Error("what an earlier build left changes the digest")
	}
}

// TestBadSources names what is wrong with a source.
func TestBadSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		kerneltest.WriteFile(t, file, content)
		return file
	}
	makefile := map[string]string{"x/Makefile": rules}
	var device bytes.Buffer
	w := tar.NewWriter(&device)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "x/null", Typeflag: tar.TypeChar, Mode: 0o666}), w.Close()); err != nil {
		t.Fatal(err)
	}
	var huge bytes.Buffer
	w = tar.NewWriter(&huge)
	if err := w.WriteHeader(&tar.Header{Name: "x/Makefile", Mode: 0o644, Size: mostBytes}); err != nil {
		t.Fatal(err)
	}
	nothing := filepath.Join(dir, "nothing")
	if err := os.MkdirAll(nothing, 0o755); err != nil {
		t.Fatal(err)
	}
	write("deep/a/b/Makefile", []byte(rules))
	ok := write("ok.tar", kerneltest.Tar(t, makefile))
	change := write("p", []byte("--- a/none.c\n+++ b/none.c\n@@ -1 +1 @@\n-a\n+b\n"))
	for name, c := range map[string]struct {
		spec Spec
		kind fault.Kind
		want string
	}{
		"not there":    {Spec{Source: filepath.Join(dir, "none")}, fault.Invalid, "no such file"},
		"no Makefile":  {Spec{Source: nothing}, fault.Invalid, "it has no dkms.conf, Makefile or Kbuild at its top and in src/ or in any other directory"},
		"deep":         {Spec{Source: filepath.Join(dir, "deep")}, fault.Invalid, "add dir=a/b to build that directory"},
		"no directory": {Spec{Source: ok, Dir: "none"}, fault.Invalid, `it has no directory "none"`},
		"wrong sha256": {Spec{Source: ok, SHA256: strings.Repeat("0", 64)}, fault.Invalid, "and it should have sha256:000"},
		"dir sha256":   {Spec{Source: nothing, SHA256: strings.Repeat("0", 64)}, fault.Usage, "a directory has no sha256"},
		"text":         {Spec{Source: write("text", []byte("<html>not an archive, and longer than a header"))}, fault.Invalid, "reading the tar archive"},
		"zip":          {Spec{Source: write("x.zip", []byte("PK\x03\x04xxxx"))}, fault.Invalid, "it is a zip archive"},
		"empty":        {Spec{Source: write("empty.tar", kerneltest.Tar(t, nil))}, fault.Invalid, "the archive is empty"},
		"escape":       {Spec{Source: write("escape.tar", kerneltest.Tar(t, map[string]string{"x/../../etc/passwd": "x"}))}, fault.Invalid, "unsafe path"},
		"device":       {Spec{Source: write("device.tar", device.Bytes())}, fault.Invalid, `"null" is a character device`},
		"truncated":    {Spec{Source: write("huge.tar", huge.Bytes())}, fault.Invalid, "reading the tar archive"},
		"patch":        {Spec{Source: ok, Patches: []string{change}}, fault.Invalid, `applying the patch "` + change + `": line 1 changes "none.c", and the source has no such file`},
	} {
		d, err := Open(t.Context(), c.spec, options(t))
		if err == nil {
			t.Errorf("%s: no error, but %v %v", name, d, d.Close())
			continue
		}
		if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "reading the module source") {
			t.Errorf("%s: %v (%d); it should say %q", name, err, fault.KindOf(err), c.want)
		}
	}
	_, err := OpenAll(t.Context(), []Spec{{Source: ok}, {Source: ok}}, options(t))
	if err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "both are called ok") {
		t.Errorf("the same source twice: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Spec{Source: filepath.Join(dir, "deep")}, options(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestMostFiles rejects a source that is too large.
func TestMostFiles(t *testing.T) {
	d := &Driver{Tree: &initramfs.Tree{}}
	err := d.addArchive([]initramfs.Entry{{Path: "x/a", Size: mostBytes}, {Path: "x/b", Size: 1}})
	if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "which no driver's source has") {
		t.Errorf("a source that is too large: %v", err)
	}
}
