package kernel

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func paths(t *initramfs.Tree) []string {
	var all []string
	for e := range t.All() {
		if e.Type != initramfs.Dir {
			all = append(all, e.Path)
		}
	}
	return all
}

// TestDebianPackages reads Debian's kernels completely.
func TestDebianPackages(t *testing.T) {
	o := options(t)
	for debArch, arch := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		path := kerneltest.CloudKernel(t, debArch)
		m, err := FromDeb(t.Context(), []string{path}, o)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if m.Arch != arch || !strings.Contains(path, m.Release) || m.SystemMap == nil || m.Config == nil {
			t.Errorf("%s is read as %v: %+v", path, m, m)
		}
		if dtbs := len(paths(m.DTBs)); (dtbs > 100) != (arch == "aarch64") {
			t.Errorf("%s has %d device trees", path, dtbs)
		}
		files := kerneltest.Unpacked(t, path)
		want, err := os.ReadFile(filepath.Join(files, "boot/vmlinuz-"+m.Release))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readSmall(t.Context(), m.Kernel, 1<<30); err != nil || string(got) != string(want) {
			t.Errorf("the kernel has %d bytes, dpkg-deb unpacks %d; %v", len(got), len(want), err)
		}
		checkFeatures(t, m)
	}
}

func checkFeatures(t *testing.T, m *Image) {
	t.Helper()
	features, err := m.Features(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[string]State{"CONFIG_SQUASHFS": Module, "RD_ZSTD": BuiltIn, "OVERLAY_FS": Module, "CONFIG_IKCONFIG": Missing, "CONFIG_NO_SUCH": Missing} {
		if got := features.Option(option); got != want {
			t.Errorf("%s of %s is %v, want %v", option, m, got, want)
		}
	}
	for option, want := range map[string]string{
		"CONFIG_SQUASHFS": "module", "RD_ZSTD": "built in", "CONFIG_HZ": "250", "CONFIG_IKCONFIG": "missing", "CONFIG_NO_SUCH": "missing (not mentioned",
	} {
		if got := features.Answer(option); got != want && (!strings.HasSuffix(want, "mentioned") || !strings.HasPrefix(got, want)) {
			t.Errorf("%s of %s is %q, want %q", option, m, got, want)
		}
	}
	features.Config = nil
	for option, want := range map[string]State{"CONFIG_SQUASHFS": Module, "RD_ZSTD": Unknown, "BLK_DEV_LOOP": Module} {
		if got := features.Option(option); got != want {
			t.Errorf("%s of %s without a configuration is %v, want %v", option, m, got, want)
		}
	}
}

func TestMetaPackage(t *testing.T) {
	_, err := FromDeb(t.Context(), []string{kerneltest.MetaKernel(t, "amd64")}, options(t))
	if err == nil || !strings.Contains(err.Error(), "metapackage") || !strings.Contains(err.Error(), "use the package linux-image-") {
		t.Errorf("the error is %v", err)
	}
}

// ubuntu returns packages in Ubuntu's form: kernel and modules in separate
// packages.
func ubuntu(t *testing.T) (image, modules string) {
	dir := t.TempDir()
	image = write(t, filepath.Join(dir, "linux-image.deb"), kerneltest.MakeDeb(t,
		"Package: linux-image-6.8.0-1-generic\nVersion: 1\nArchitecture: amd64\nDepends: kmod, linux-modules-6.8.0-1-generic\n",
		map[string]string{"./boot/vmlinuz-6.8.0-1-generic": string(kerneltest.BzImage(t, "6.8.0-1-generic", ""))}))
	modules = write(t, filepath.Join(dir, "linux-modules.deb"), kerneltest.MakeDeb(t,
		"Package: linux-modules-6.8.0-1-generic\nVersion: 1\nArchitecture: amd64\n",
		map[string]string{
			"./usr/lib/modules/6.8.0-1-generic/":                 "",
			"./usr/lib/modules/6.8.0-1-generic/modules.builtin":  "kernel/fs/squashfs/squashfs.ko\n",
			"./usr/lib/modules/6.8.0-1-generic/build":            "-> /usr/src/linux",
			"./lib/firmware/6.8.0-1-generic/device-tree/a/b.dtb": "tree",
			"./boot/config-6.8.0-1-generic":                      "CONFIG_SQUASHFS=y\n",
		}))
	return image, modules
}

func TestTwoPackages(t *testing.T) {
	image, modules := ubuntu(t)
	o := options(t)
	_, err := FromDeb(t.Context(), []string{image}, o)
	if err == nil || !strings.Contains(err.Error(), "linux-modules-6.8.0-1-generic") {
		t.Errorf("the kernel without its modules gives %v", err)
	}
	m, err := FromDeb(t.Context(), []string{image, modules}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got := paths(m.Modules)
	if !slices.Contains(got, "lib/modules/6.8.0-1-generic/modules.dep.bin") || slices.Contains(got, "lib/modules/6.8.0-1-generic/build") {
		t.Errorf("the modules' files are %q", got)
	}
	if got := paths(m.DTBs); !slices.Equal(got, []string{"a/b.dtb"}) {
		t.Errorf("the device trees are %q", got)
	}
}

// Debian splits its kernels since Linux 7.3, and keeps all in lib/modules.
func TestSplitPackages(t *testing.T) {
	const release = "7.3.4+deb13-arm64"
	dir := t.TempDir()
	deb := func(name, depends string, files map[string]string) string {
		control := "Package: " + name + release + "\nVersion: 7.3.4-1\nArchitecture: arm64\nDepends: kmod, " + depends + "\n"
		placed := map[string]string{}
		for path, content := range files {
			placed["./usr/lib/modules/"+release+"/"+path] = content
		}
		return write(t, filepath.Join(dir, name+release+".deb"), kerneltest.MakeDeb(t, control, placed))
	}
	base := deb("linux-base-", "x", map[string]string{
		"config": "CONFIG_SQUASHFS=y\n", "System.map": "map", "modules.builtin": "kernel/fs/squashfs/squashfs.ko\n", "dtb/a/b.dtb": "tree",
	})
	binary := deb("linux-binary-", "linux-base-"+release+" (= 7.3.4-1)", map[string]string{"vmlinuz": string(kerneltest.BzImage(t, release, ""))})
	modules := deb("linux-modules-", "linux-base-"+release+" (= 7.3.4-1)", map[string]string{"modules.order": ""})
	meta := deb("linux-image-", "linux-base-"+release+" (= 7.3.4-1), linux-binary-"+release+", linux-modules-"+release, nil)
	for want, sources := range map[string][]string{
		"(not given: linux-modules-" + release + ")":                            {binary, base},
		"(not given: linux-base-" + release + ")":                               {binary, modules},
		"(not given: linux-binary-" + release + ", linux-base-" + release + ")": {modules},
		"linux-modules-" + release + ", linux-base-" + release + ")":            {meta},
	} {
		if _, err := FromDeb(t.Context(), sources, options(t)); err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: the error is %v; it should say %q", sources, err, want)
		}
	}
	m, err := FromDeb(t.Context(), []string{binary, modules, base}, options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := paths(m.DTBs); m.Release != release || !slices.Equal(got, []string{"a/b.dtb"}) {
		t.Errorf("the release is %q, the device trees are %q", m.Release, got)
	}
	for _, path := range paths(m.Modules) {
		if strings.Contains(path, "vmlinuz") || strings.HasSuffix(path, "/config") || strings.Contains(path, "dtb") {
			t.Errorf("%q is among the modules", path)
		}
	}
	if features, err := m.Features(t.Context()); err != nil || features.Option("SQUASHFS") != BuiltIn {
		t.Errorf("the features are %+v, %v", features, err)
	}
}

func TestBadSources(t *testing.T) {
	image, modules := ubuntu(t)
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	cut := write(t, filepath.Join(t.TempDir(), "cut.deb"), content[:len(content)-9])
	other := write(t, filepath.Join(t.TempDir(), "other.deb"), kerneltest.MakeDeb(t, "Package: linux-image-1\nVersion: 1\nArchitecture: amd64\n",
		map[string]string{"./boot/vmlinuz-1": string(kerneltest.BzImage(t, "1.0.0-other", ""))}))
	bad := write(t, filepath.Join(t.TempDir(), "bad.deb"), kerneltest.MakeDeb(t, "Package: linux-image-2\nVersion: 1\nArchitecture: amd64\n",
		map[string]string{"./boot/vmlinuz-2": "\x7fELF"}))
	for name, c := range map[string]struct {
		sources []string
		want    string
	}{
		"missing":        {[]string{"/no/such.deb"}, "no such file"},
		"directory":      {[]string{t.TempDir()}, "not a file"},
		"cut":            {[]string{cut}, "fetch the file again"},
		"wrong modules":  {[]string{other, modules}, "the kernel is 1.0.0-other and its modules are for 6.8.0-1-generic"},
		"two kernels":    {[]string{image, other}, "more than one kernel"},
		"only modules":   {[]string{modules}, "holds no kernel"},
		"no kernel file": {[]string{bad}, "not vmlinux"},
	} {
		_, err := FromDeb(t.Context(), c.sources, options(t))
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: the error is %v (%d); it should say %q", name, err, fault.KindOf(err), c.want)
		}
	}
}

func TestFromURL(t *testing.T) {
	image, modules := ubuntu(t)
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			asked++
		}
		switch r.URL.Path {
		case "/cut.deb":
			w.Header().Set("Content-Length", "100000")
			w.Write([]byte("!<arch>\n"))
		case "/page.deb":
			w.Write([]byte("<html>please log in</html>"))
		case "/none.deb":
			http.NotFound(w, r)
		default:
			http.ServeFile(w, r, map[string]string{"/image.deb": image, "/modules.deb": modules}[r.URL.Path])
		}
	}))
	defer server.Close()
	o := options(t)
	urls := []string{server.URL + "/image.deb", server.URL + "/modules.deb"}
	m, err := FromDeb(t.Context(), urls, o)
	if err != nil {
		t.Fatal(err)
	}
	digest := m.Digest
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	o.Offline = true
	again, err := FromDeb(t.Context(), urls, o)
	if err != nil || again.Digest != digest || asked != 2 {
		t.Fatalf("the second time: %v, %v after %d requests", again, err, asked)
	}
	defer again.Close()
	_, err = FromDeb(t.Context(), []string{server.URL + "/new.deb"}, o)
	if err == nil || !strings.Contains(err.Error(), "--offline") || fault.KindOf(err) != fault.Outside {
		t.Errorf("offline: %v", err)
	}
	o.Offline = false
	for file, want := range map[string]string{"cut.deb": "cut.deb", "page.deb": "an HTML or XML page", "none.deb": "404 Not Found"} {
		if _, err := FromDeb(t.Context(), []string{server.URL + "/" + file}, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", file, err, want)
		}
	}
}

// TestFromHugeFile refuses a kernel with a hole of 30 GB before it reads the hole.
func TestFromHugeFile(t *testing.T) {
	vmlinuz := filepath.Join(t.TempDir(), "vmlinuz")
	write(t, vmlinuz, kerneltest.BzImage(t, "6.6.1", ""))
	if err := os.Truncate(vmlinuz, 30<<30); err != nil {
		t.Fatal(err)
	}
	if m, err := FromParts(t.Context(), vmlinuz, nil); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "has 32212254720 bytes") {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestFromDir(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "boot/vmlinuz-6.6.1"), kerneltest.BzImage(t, "6.6.1", "CONFIG_SQUASHFS=y\nCONFIG_RD_ZSTD=y\n"))
	write(t, filepath.Join(dir, "usr/lib/modules/6.6.1/modules.builtin"), nil)
	write(t, filepath.Join(dir, "dtbs/x/y.dtb"), []byte("tree"))
	m, err := fromDir(t.Context(), dir, options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Release != "6.6.1" || m.Arch != "x86_64" || !strings.HasPrefix(m.Digest, "sha256:") || !slices.Equal(paths(m.DTBs), []string{"x/y.dtb"}) {
		t.Errorf("the directory is read as %+v", m)
	}
	features, err := m.Features(t.Context())
	if err != nil || features.Option("RD_ZSTD") != BuiltIn || features.Option("CONFIG_OVERLAY_FS") != Missing || !strings.Contains(features.Origin, "inside") {
		t.Errorf("the features are %+v, %v", features, err)
	}
	// A file in its usual place counts before the one that is with the modules.
	write(t, filepath.Join(dir, "usr/lib/modules/6.6.1/vmlinuz"), kerneltest.BzImage(t, "6.6.2", ""))
	again, err := fromDir(t.Context(), dir, options(t))
	if err != nil || again.Release != "6.6.1" {
		t.Fatalf("with a vmlinuz among the modules: %+v, %v", again, err)
	}
	defer again.Close()
	write(t, filepath.Join(dir, "bzImage"), kerneltest.BzImage(t, "6.6.1", ""))
	if _, err := fromDir(t.Context(), dir, options(t)); err == nil || !strings.Contains(err.Error(), "boot/vmlinuz-6.6.1, bzImage") && !strings.Contains(err.Error(), "bzImage, boot/vmlinuz-6.6.1") {
		t.Errorf("two kernels give %v", err)
	}
	if _, err := fromDir(t.Context(), t.TempDir(), options(t)); err == nil || !strings.Contains(err.Error(), "but it has none") {
		t.Errorf("an empty directory gives %v", err)
	}
}

type tags []string

func (s tags) Tags(context.Context, string) ([]string, error) {
	if s == nil {
		return nil, errors.New("unauthorized")
	}
	return s, nil
}

func TestLatest(t *testing.T) {
	repo := tags{"latest", "6.6.99-aaaaaaaa", "6.6.100-bbbbbbbb", "6.6.100-aaaaaaaa", "6.60.200-cccccccc", "5.10.213-dddddddd", "6.6.101", "6.6.102-rc1", "6.6.9999999999999999999999-aaaaaaaa"}
	for _, c := range []struct{ series, hash, want string }{
		{"6.6", "", "r/k:6.6.100-bbbbbbbb"},
		{"6.6.y", "aaaaaaaa", "r/k:6.6.100-aaaaaaaa"},
		{"6.6", "12345678", "r/k:6.6.100-bbbbbbbb"},
		{"5.10", "", "r/k:5.10.213-dddddddd"},
	} {
		got, err := latest(t.Context(), repo, wanted{Repository: "r/k", Series: c.series, Hash: c.hash})
		if err != nil || got[0] != c.want {
			t.Errorf("the latest of %s with %q is %q, %v; want %q", c.series, c.hash, got, err, c.want)
		}
	}
	for _, c := range []struct {
		repo tags
		want string
	}{
		{repo, "only kernels of the series 5.10, 6.6, 6.60"},
		{tags{"latest", "v1"}, "2 tags, none of the form VERSION-HASH"},
		{tags{}, "0 tags"},
		{nil, "unauthorized"},
	} {
		if _, err := latest(t.Context(), c.repo, wanted{Repository: "r/k", Series: "6.1"}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("no kernel 6.1: the error is %v; it should say %q", err, c.want)
		}
	}
}

// TestLatestOfOwnInputs looks only for the kernels of one configuration.
func TestLatestOfOwnInputs(t *testing.T) {
	repo := tags{"6.6.100-bbbbbbbb", "6.6.99-aaaaaaaa", "6.6.98-aaaaaaaa", "5.10.1-aaaaaaaa"}
	w := wanted{Repository: "r/k", Series: "6.6", Hash: "aaaaaaaa", HashOnly: true}
	got, err := latest(t.Context(), repo, w)
	if want := []string{"r/k:6.6.99-aaaaaaaa", "r/k:6.6.98-aaaaaaaa"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	w.Hash = "cccccccc"
	if got, err := latest(t.Context(), repo, w); err == nil || !strings.Contains(err.Error(), "kernel ends in cccccccc); use --kernel build to compile it") || !strings.Contains(err.Error(), "--kernel build") || strings.Contains(err.Error(), "--kernel latest") {
		t.Errorf("without one: %q, %v", got, err)
	}
	w.Insist = true
	if _, err := latest(t.Context(), repo, w); err == nil || !strings.Contains(err.Error(), "--kernel latest to use the newest published one anyway") || strings.Contains(err.Error(), "bbbbbbbb") {
		t.Errorf("without one, where others serve: %v", err)
	}
	w.Series = "6.12"
	if _, err := latest(t.Context(), repo, w); err == nil || !strings.Contains(err.Error(), "only kernels of the series 5.10, 6.6") {
		t.Errorf("without the series: %v", err)
	}
}

func TestVersion(t *testing.T) {
	for source, want := range map[string]string{
		"image:ghcr.io/tinkerbell/hook/kernel/hook-kernel:6.6.32-14b8be17":       "6.6.32-14b8be17",
		"image:daemon:h:5000/hook-kernel:6.6.32-14b8be17":                        "6.6.32-14b8be17",
		"image:h/hook-kernel:6.6.32-14b8be17@sha256:" + strings.Repeat("ab", 32): "6.6.32-14b8be17",
		"build:h/hook-kernel:6.6.32-14b8be17":                                    "6.6.32-14b8be17",
		"armbian:h/kernel-x86-edge:6.8.9-Sab12-D1":                               "6.8.9-Sab12-D1",
		"image:h/hook-kernel:mine":                                               "6.6.32",
		"image:h:5000/hook-kernel":                                               "6.6.32",
		"deb:linux-image-6.6.32-14b8be17.deb":                                    "6.6.32", "dir:/boot:6.6.32-14b8be17": "6.6.32",
	} {
		if got := (&Image{Source: source, Release: "6.6.32"}).Version(); got != want {
			t.Errorf("the version of %s is %q, want %q", source, got, want)
		}
	}
}
