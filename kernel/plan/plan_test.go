package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/kernel/container"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/modules"
	"hookbuild/kernel/source"
	"hookbuild/test/kerneltest"
)

const defconfig = "CONFIG_SQUASHFS=y\n# CONFIG_ENIC is not set\n"

// sourceArchive writes a minimal source of Linux with a version.
func sourceArchive(t *testing.T, point string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "linux.tar")
	makefile := "# SPDX\nVERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = " + point + "\nEXTRAVERSION = -rc1\nVERSION_TEXT = x\n"
	kerneltest.WriteFile(t, name, kerneltest.Tar(t, map[string]string{
		"linux-6.6/Documentation/Makefile": "VERSION = 1\n", "linux-6.6/Kbuild": "", "linux-6.6/Makefile": makefile,
	}))
	return name
}

// checkout creates the part of a Hook checkout that kernels need.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	kerneltest.WriteFile(t, filepath.Join(dir, "kernel/configs/generic-6.6.y-x86_64"), []byte(defconfig))
	kerneltest.WriteFile(t, filepath.Join(dir, "kernel/configs/generic-6.6.y-aarch64"), []byte("CONFIG_SQUASHFS=m\n"))
	kerneltest.WriteFile(t, filepath.Join(dir, "kernel/Dockerfile"), []byte("FROM debian:stable\n"))
	return dir
}

func lts(t *testing.T) flavor.Flavor {
	t.Helper()
	f, err := flavor.Upstream().Find("hook-latest-lts-amd64")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func request(t *testing.T) Request {
	t.Helper()
	return Request{Flavor: lts(t), HookDir: checkout(t), PointRelease: "32", Strip: true, Download: source.Options{Dir: t.TempDir()}}
}

// TestReferenceIsUpstreams computes the tag as build.sh does.
func TestReferenceIsUpstreams(t *testing.T) {
	p, err := Resolve(t.Context(), request(t))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(defconfig + "FROM debian:stable\n"))
	if want := Repository + ":6.6.32-" + hex.EncodeToString(sum[:])[:8]; p.Reference != want {
		t.Errorf("the image is %q, want %q", p.Reference, want)
	}
}

// TestReferenceNamesInputs changes one input at a time: each must change the
// tag, and none may result in upstream's.
func TestReferenceNamesInputs(t *testing.T) {
	fragment := filepath.Join(t.TempDir(), "cisco.config")
	kerneltest.WriteFile(t, fragment, []byte("# Cisco UCS\nCONFIG_FCOE_FNIC=y\n"))
	archive := sourceArchive(t, "32")
	seen := map[string]string{}
	for name, change := range map[string]func(*Request){
		"nothing":   func(*Request) {},
		"set":       func(r *Request) { r.Sets = []string{"ENIC=m"} },
		"other set": func(r *Request) { r.Sets = []string{"ENIC=y"} },
		"fragment":  func(r *Request) { r.Fragments = []string{fragment} },
		"source":    func(r *Request) { r.Source = archive },
		"sum":       func(r *Request) { r.Source, r.SHA256 = "https://e/linux-6.6.32.tar.xz", "ab" },
		"own":       func(r *Request) { own(t, r, "CONFIG_ICE=m\n") },
		"own, set":  func(r *Request) { own(t, r, "CONFIG_ICE=m\n"); r.Sets = []string{"ICE=y"} },
		"debugging": func(r *Request) { r.Strip = false },
		"include":   func(r *Request) { r.Modules = modules.Choice{Include: []string{"ice"}} },
		"exclude":   func(r *Request) { r.Modules = modules.Choice{Exclude: []string{"ice"}} },
		"firmware":  func(r *Request) { r.Firmware = "fw" },
		"version":   func(r *Request) { r.PointRelease = "33" },
		"arch":      func(r *Request) { r.Flavor, _ = flavor.Upstream().Find("hook-latest-lts-arm64") },
	} {
		r := request(t)
		change(&r)
		p, err := Resolve(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, taken := seen[p.Reference]; taken {
			t.Errorf("%s and %s give the same image %q", name, other, p.Reference)
		}
		seen[p.Reference] = name
	}
}

// own adds another fragment to the request's flavor.
func own(t *testing.T, r *Request, text string) {
	t.Helper()
	r.Flavor.Fragments = []string{"kernel/fragments/own.config"}
	kerneltest.WriteFile(t, filepath.Join(r.HookDir, "kernel/fragments/own.config"), []byte(text))
}

// TestReferenceIsOfContents requests one kernel in several ways: its name must
// not depend on where files are, or on the machine.
func TestReferenceIsOfContents(t *testing.T) {
	fragment := func(text string) string {
		name := filepath.Join(t.TempDir(), "a.config")
		kerneltest.WriteFile(t, name, []byte(text))
		return name
	}
	archive := func() string { return sourceArchive(t, "32") }
	text, err := os.ReadFile(archive())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	for name, ways := range map[string][]func(*Request){
		"options": {
			func(r *Request) { r.Fragments = []string{fragment("CONFIG_ENIC=y\n")} },
			func(r *Request) { r.Fragments = []string{fragment("# why\nCONFIG_ENIC=y\n")} },
			func(r *Request) { r.Sets = []string{"ENIC=y"} },
			func(r *Request) { own(t, r, "CONFIG_ENIC=y\n") },
		},
		"source": {
			func(r *Request) { r.Source = archive() },
			func(r *Request) { r.Source = archive() },
			func(r *Request) { r.Source, r.SHA256 = archive(), strings.ToUpper(hex.EncodeToString(sum[:])) },
			func(r *Request) { r.Source, r.SHA256 = "https://e/linux-6.6.32.tar.xz", hex.EncodeToString(sum[:]) },
		},
	} {
		var first string
		for i, way := range ways {
			r := request(t)
			way(&r)
			p, err := Resolve(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if !p.Certain() {
				t.Errorf("%s, way %d: the image is built each time", name, i)
			}
			if first == "" {
				first = p.Reference
			}
			if p.Reference != first {
				t.Errorf("%s: way %d gives %q, the first %q", name, i, p.Reference, first)
			}
		}
	}
}

// TestCertain: an image whose content may change under its name never counts as
// already built.
func TestCertain(t *testing.T) {
	tree := t.TempDir()
	kerneltest.WriteFile(t, filepath.Join(tree, "Makefile"), []byte("VERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = 32\n"))
	for name, c := range map[string]struct {
		change func(*Request)
		want   bool
	}{
		"release":              {func(*Request) {}, true},
		"firmware of an image": {func(r *Request) { r.Firmware = "image:r/fw@sha256:0" }, true},
		"firmware directory":   {func(r *Request) { r.Firmware = tree }, false},
		"directory":            {func(r *Request) { r.Source = tree }, false},
		"unchecked URL":        {func(r *Request) { r.Source = "https://e/linux-6.6.32.tar.xz" }, false},
		"checked URL":          {func(r *Request) { r.Source, r.SHA256 = "https://e/linux-6.6.32.tar.xz", "ab" }, true},
	} {
		r := request(t)
		c.change(&r)
		p, err := Resolve(t.Context(), r)
		if err != nil || p.Certain() != c.want {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

func TestOwnFragmentErrors(t *testing.T) {
	r := request(t)
	r.Flavor.Fragments = []string{"kernel/fragments/none.config"}
	_, err := Resolve(t.Context(), r)
	if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), flavor.File) || !strings.Contains(err.Error(), "none.config") {
		t.Errorf("a missing fragment gives %v", err)
	}
	own(t, &r, "CONFIG_A=y\nCONFIG_B=maybe\n")
	_, err = Resolve(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a wrong fragment gives %v", err)
	}
}

// TestTagHash checks the hash by which published kernels are found.
func TestTagHash(t *testing.T) {
	r := request(t)
	own(t, &r, "CONFIG_ENIC=y\n")
	p, err := Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := TagHash(r)
	if err != nil || !strings.HasSuffix(p.Reference, "-"+hash) {
		t.Errorf("the image is %q, its hash %q, %v", p.Reference, hash, err)
	}
}

func TestResolveErrors(t *testing.T) {
	armbian, err := flavor.Upstream().Find("armbian-uefi-x86-edge")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Request)
		want   string
		kind   fault.Kind
	}{
		"ready-made":   {func(r *Request) { r.Flavor = armbian }, "ready-made from Armbian", fault.Usage},
		"no defconfig": {func(r *Request) { r.Flavor.Series = "9.9" }, "generic-6.6.y-aarch64, generic-6.6.y-x86_64", fault.Invalid},
		"bad point":    {func(r *Request) { r.PointRelease = "x" }, `the kernel version "6.6.x"`, fault.Usage},
		"bad set":      {func(r *Request) { r.Sets = []string{"ENIC"} }, "--set", fault.Usage},
		"no source":    {func(r *Request) { r.Source = "/no/such.tar.xz" }, "/no/such.tar.xz", fault.Invalid},
		"no fragment":  {func(r *Request) { r.Fragments = []string{"/no/such"} }, "/no/such", fault.Invalid},
		"bad config": {func(r *Request) {
			kerneltest.WriteFile(t, r.ConfigFile(), []byte("<html>\n"))
		}, "generic-6.6.y-x86_64", fault.Invalid},
		"no network": {func(r *Request) { r.PointRelease, r.Download.Offline = "", true }, "KERNEL_POINT_RELEASE", fault.Outside},
	} {
		r := request(t)
		c.change(&r)
		_, err := Resolve(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != c.kind {
			t.Errorf("%s: the error is %v (%d); it should say %q", name, err, fault.KindOf(err), c.want)
		}
	}
}

// TestVersionOfSource: the version in the tag comes from the Makefile.
func TestVersionOfSource(t *testing.T) {
	dir := t.TempDir()
	kerneltest.WriteFile(t, filepath.Join(dir, "Makefile"), []byte("# SPDX\nVERSION = 6\nPATCHLEVEL = 6\nSUBLEVEL = 40\nEXTRAVERSION = -rc1\nVERSION_TEXT = x\n"))
	text, err := os.ReadFile(sourceArchive(t, "41"))
	if err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(t.TempDir(), "linux-6.6.1.tar.gz") // a misleading name
	kerneltest.WriteFile(t, packed, kerneltest.Gzip(t, text))
	server := httptest.NewServer(http.FileServerFS(os.DirFS(filepath.Dir(packed))))
	defer server.Close()
	kerneltest.WriteFile(t, filepath.Join(filepath.Dir(packed), "source.tgz"), kerneltest.Gzip(t, text))
	for from, want := range map[string]string{
		dir: "6.6.40", packed: "6.6.41", server.URL + "/source.tgz": "6.6.41", "https://e/linux-6.6.7.tar.xz": "6.6.7",
	} {
		r := request(t)
		r.PointRelease, r.Source = "", from
		p, err := Resolve(t.Context(), r)
		if err != nil || p.Version.String() != want || !strings.Contains(p.Reference, ":"+want+"-") {
			t.Errorf("the version of %q is %v, %v; want %s", from, p, err, want)
		}
	}
	r := request(t)
	r.PointRelease, r.Source = "", server.URL+"/linux-6.6.1.tar.gz"
	p, err := Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Target(t.Context()); err == nil || !strings.Contains(err.Error(), "its name says Linux 6.6.1, but its Makefile says 6.6.41") {
		t.Errorf("a name that does not tell the truth gives %v", err)
	}
}

// TestOtherSource rejects sources of another release or series.
func TestOtherSource(t *testing.T) {
	text := filepath.Join(t.TempDir(), "linux-6.6.32.tar.xz")
	kerneltest.WriteFile(t, text, []byte("<html>"))
	archive := sourceArchive(t, "32")
	for name, c := range map[string]struct {
		change func(*Request)
		want   string
		kind   fault.Kind
	}{
		"series":        {func(r *Request) { r.Flavor.Series = "5.10"; r.PointRelease = ""; r.Source = archive }, "--accept-lost", fault.Invalid},
		"point release": {func(r *Request) { r.PointRelease = "33"; r.Source = archive }, "requests 6.6.33", fault.Usage},
		"no archive":    {func(r *Request) { r.Source = text }, "not a tar archive", fault.Invalid},
		"no Makefile":   {func(r *Request) { r.PointRelease, r.Source = "", t.TempDir() }, "Makefile", fault.Invalid},
	} {
		r := request(t)
		kerneltest.WriteFile(t, filepath.Join(r.HookDir, "kernel/configs/generic-5.10.y-x86_64"), []byte(defconfig))
		c.change(&r)
		if _, err := Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v; it should say %q", name, err, c.want)
		}
		if name == "series" {
			r.AcceptLost = true
			if p, err := Resolve(t.Context(), r); err != nil || !strings.Contains(p.Reference, ":6.6.32-") {
				t.Errorf("accepted, a source of another series gives %v, %v", p, err)
			}
		}
	}
}

func TestTarget(t *testing.T) {
	r := request(t)
	archive := sourceArchive(t, "32")
	r.Source = archive
	p, err := Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	target, err := p.Target(t.Context())
	if err != nil || target.Source.Archive != archive || len(target.Source.SHA256) != 64 || target.Arch != "x86_64" || string(target.Defconfig) != defconfig {
		t.Errorf("the target is %+v, %v", target, err)
	}
	p.Request.SHA256, p.archive = strings.Repeat("0", 64), nil
	if _, err := p.Target(t.Context()); err == nil || !strings.Contains(err.Error(), "want 000") {
		t.Errorf("a wrong sum gives %v", err)
	}
	p.Request.Source = t.TempDir()
	if _, err := p.Target(t.Context()); err == nil || !strings.Contains(err.Error(), "omit --sha256") {
		t.Errorf("a directory with a sum gives %v", err)
	}
	p.Request.Source, p.Request.SHA256 = "", ""
	if _, err := p.Target(t.Context()); err == nil || !strings.Contains(err.Error(), "no keyring") {
		t.Errorf("a checkout without keys gives %v", err)
	}
}

func configured(t *testing.T, before, after string) *container.Configured {
	t.Helper()
	read := func(text string) *kconfig.Config {
		c, err := kconfig.Parse(strings.NewReader(text), "x")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return &container.Configured{Before: read(before), After: read(after), Defconfig: []byte("NEW\n")}
}

func TestKeep(t *testing.T) {
	p, err := Resolve(t.Context(), request(t))
	if err != nil {
		t.Fatal(err)
	}
	file := p.Request.ConfigFile()
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	same, err := p.keep(configured(t, "CONFIG_A=y\n", "CONFIG_A=y\n# CONFIG_B is not set\n"))
	if err != nil || same.Written || len(same.Changes) != 0 {
		t.Errorf("without a change: %+v, %v", same, err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != defconfig {
		t.Errorf("without a change the file became %q, %v", got, err)
	}
	edit, err := p.keep(configured(t, "CONFIG_A=y\n", "CONFIG_A=m\n"))
	if err != nil || !edit.Written || edit.Changes[0].String() != "CONFIG_A: y -> m" {
		t.Errorf("with a change: %+v, %v", edit, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode became %v, %v", info.Mode(), err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "NEW\n" {
		t.Errorf("the file is %q, %v", got, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".new-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestDiff(t *testing.T) {
	r := request(t)
	other := filepath.Join(t.TempDir(), "mine.config")
	kerneltest.WriteFile(t, other, []byte("CONFIG_SQUASHFS=y\nCONFIG_ENIC=m\n"))
	for with, want := range map[string]string{
		other:                   "CONFIG_ENIC: not set -> m",
		"hook-latest-lts-arm64": "CONFIG_ENIC: not set -> default\nCONFIG_SQUASHFS: y -> m",
	} {
		changes, err := Diff(r, with, flavor.Upstream())
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, c := range changes {
			lines = append(lines, c.String())
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("compared with %q: %q, want %q", with, got, want)
		}
	}
	if _, err := Diff(r, "no-such", flavor.Upstream()); err == nil || fault.KindOf(err) != fault.Usage {
		t.Errorf("compared with nothing: %v", err)
	}
}

// TestCheckLost: lines that the source does not accept prevent an edit, unless
// the request allows losing them.
func TestCheckLost(t *testing.T) {
	p, err := Resolve(t.Context(), request(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.checkLost(nil); err != nil {
		t.Error(err)
	}
	err = p.checkLost([]string{"CONFIG_A=y is gone", "CONFIG_B=y is gone"})
	if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "Linux 6.6.32 does not accept 2 of its lines") || !strings.Contains(err.Error(), "--accept-lost") || !strings.HasSuffix(err.Error(), ":\nCONFIG_A=y is gone\nCONFIG_B=y is gone") {
		t.Errorf("the error is %v", err)
	}
	p.Request.AcceptLost = true
	if err := p.checkLost([]string{"CONFIG_A=y is gone"}); err != nil {
		t.Errorf("accepted, and yet %v", err)
	}
}
