package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
)

// TestWrongLinesAreFoundAtOnce checks that wrong command lines are rejected before
// anything is fetched.
func TestWrongLinesAreFoundAtOnce(t *testing.T) {
	s := site.New(t, nil)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("a server was asked for %s", r.URL) }))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	file, in := filepath.Join(dir, "file"), filepath.Join(dir, "in")
	site.WriteFile(t, file, "")
	baseInitramfs(t, in, initramfs.Gzip)
	debs := t.TempDir()
	for _, name := range []string{"linux-image-6.1.deb", "linux-modules-6.1.deb", "linux-headers-6.1.deb", "readme"} {
		site.WriteFile(t, filepath.Join(debs, name), "")
	}
	half, other := t.TempDir(), filepath.Join(t.TempDir(), "hook")
	site.WriteFile(t, filepath.Join(half, "initramfs-x86_64"), "")
	site.WriteFile(t, filepath.Join(other, "vmlinuz-a"), "")
	image := host + "/actions/cexec:v1=127.0.0.1/embedded/cexec"
	all := []string{"all", "hook-latest-lts-amd64", "--hook-dir", s.Dir, "--kernel", "image:" + host + "/kernel:1", "--image", image}
	compiled := append(slices.Clone(all[:4]), "--kernel", "build")
	bundle := []string{"--embed-from-bundle", "--bundle", "http://" + host + "/b"}
	bundle = slices.Clip(bundle) // each test appends
	embed := []string{"embed", "--initramfs", in, "--image", image}
	for name, test := range map[string]struct {
		code int
		say  string
		line []string
		more []string
	}{
		"a level that zstd has not":  {2, "levels 1 to 22", all, []string{"--level", "99"}},
		"a level that gzip has not":  {2, "levels 1 to 9", embed, []string{"-o", file, "--compression", "gzip", "--level", "10"}},
		"a level of nothing":         {2, "no levels", all, []string{"--compression", "none", "--level", "1"}},
		"no such template":           {3, "the templates are hook", all, []string{"--template", "nosuch"}},
		"--out is a file":            {2, "is not a directory", all, []string{"--out", file}},
		"--out below a file":         {2, "not a directory", all, []string{"--out", file + "/out"}},
		"an ISO without a loader":    {3, "with --iso-loader", all, []string{"--iso", "--iso-loader", t.TempDir()}},
		"two workers":                {2, "are mutually exclusive", all, []string{"--embed-from-bundle", "--bundle", "http://" + host + "/b", "--worker-image", "x", "--no-worker"}},
		"half a release":             {2, "not a release", all, []string{"--embed-from-bundle", "--eksa-version", "24", "--releases-url", "http://" + host + "/r"}},
		"a block of 3 KiB":           {2, "power of two", all, append(bundle, "--pack-block", "3")},
		"no such layout":             {2, "layout", all, append(bundle, "--layout", "nosuch")},
		"no assignment":              {2, "CONFIG_NAME=VALUE", compiled, append(bundle, "--set", "CONFIG_X")},
		"no such fragment":           {3, "--fragment names: stat nosuch", compiled, append(bundle, "--fragment", "nosuch")},
		"no such patch":              {3, "--patch names: stat nosuch", compiled, append(bundle, "--patch", "nosuch")},
		"no such boot loader":        {3, "--iso-loader names: stat nosuch.efi", all, append(bundle, "--iso", "--iso-loader", "nosuch.efi")},
		"a directory for a list":     {3, "--images-file names: \"" + dir + "\" is a directory; name a file in it", all, append(bundle, "--images-file", dir)},
		"an initramfs's directory":   {3, "name the initramfs in it, or the directory of a HookOS with --base", []string{"embed", "--initramfs", dir, "-o", file + "2", "--image", image}, nil},
		"no place for JUnit XML":     {2, "nosuch", []string{"verify", "--boot", "--junit", dir + "/nosuch/x"}, nil},
		"no such source":             {3, "--source names: stat nosuch", compiled, append(bundle, "--source", "nosuch")},
		"no such module source":      {3, "--module-source names: stat nosuch", compiled, append(bundle, "--module-source", "nosuch")},
		"no such firmware":           {3, "--firmware names: stat nosuch", all, append(bundle, "--firmware", "nosuch")},
		"no such package":            {3, "--kernel names: stat nosuch", all, append(bundle, "--kernel", "deb:"+file+",nosuch")},
		"a directory of packages":    {3, "a directory; name the packages of one kernel in it as deb:FILE or deb:FILE,FILE: " + debs + "/linux-image-6.1.deb, " + debs + "/linux-modules-6.1.deb\n", all, append(bundle, "--kernel", "deb:"+debs)},
		"a directory of no packages": {3, "a directory without .deb files; name a package as deb:FILE", all, append(bundle, "--kernel", "deb:"+dir)},
		"no such kernel":             {3, "--kernel names: stat nosuch", all, append(bundle, "--kernel", "dir:nosuch")},
		"no such worker":             {3, "--worker-from names: stat nosuch", all, append(bundle, "--worker-from", "nosuch")},
		"no such image":              {3, "--image names: stat nosuch", all, append(bundle, "--image", "docker-archive:nosuch:x/y")},
		"no such initramfs":          {3, "--initramfs names: stat nosuch", []string{"embed", "--initramfs", "nosuch", "-o", file, "--image", image}, nil},
		"no such vmlinuz":            {3, "--vmlinuz names: stat nosuch", embed, []string{"-o", file, "--vmlinuz", "nosuch"}},
		"-o is a directory":          {2, "is a directory", embed, []string{"-o", dir}},
		"-o in no directory":         {2, "does not exist", embed, []string{"-o", dir + "/none/out"}},
		"a file for sbom":            {3, strconv.Quote(file) + " is a file; name the directory that `hookbuild all` wrote", []string{"sbom", file}, nil},
		"a file for push":            {3, strconv.Quote(file) + " is a file; name the directory that `hookbuild all` wrote", []string{"push", file, host + "/x:1"}, nil},
		"half a base":                {3, `it has initramfs-x86_64, but not vmlinuz-x86_64; put that beside it`, []string{"embed", "--image", image, "--base", half}, nil},
		"half a base in hook":        {3, `it has vmlinuz-a, but not initramfs-a; put that beside it`, []string{"embed", "--image", image, "--base", filepath.Dir(other)}, nil},
		"an initramfs as the base":   {3, `is an initramfs alone; use it with --initramfs ` + half + `/initramfs-x86_64 -o OUT, or name its directory "` + half + `", where vmlinuz-x86_64 is not beside it yet`, []string{"embed", "--image", image, "--base", half + "/initramfs-x86_64"}, nil},
		"a file as the base":         {3, "is a file; name the directory that has vmlinuz-ID and initramfs-ID, or an initramfs alone with --initramfs FILE -o OUT", []string{"embed", "--image", image, "--base", file}, nil},
		"a base without a HookOS":    {3, "--base: looking for a HookOS in \"" + dir + "\": it has no vmlinuz-ID with an initramfs-ID", []string{"embed", "--image", image, "--base", dir}, nil},
		"a base that does not exist": {3, "no such file", []string{"embed", "--image", image, "--base", dir + "/none"}, nil},
		"a base and an output":       {2, "leave out --output", []string{"embed", "--image", image, "--base", dir, "-o", file}, nil},
		"extract into a directory":   {2, "is a directory", []string{"extract-image", in, "cexec", "-o", dir}, nil},
		"verify one file":            {2, "both a vmlinuz and an initramfs", []string{"verify", in}, nil},
		"verify two initramfs":       {2, "one vmlinuz and one initramfs", []string{"verify", in, in}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			args := append(append([]string{}, test.line...), append(test.more, "--cache-dir", t.TempDir(), "--progress", "plain")...)
			got := runAt(t.Context(), s, args...)
			if got.code != test.code || !strings.Contains(got.stderr, test.say) || got.stdout != "" {
				t.Errorf("exit code %d, want %d\n%s%s", got.code, test.code, got.stdout, got.stderr)
			}
		})
	}
}

func TestEmbedOntoStandardOutput(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	dir := t.TempDir()
	in, out, null := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "null")
	baseInitramfs(t, in, initramfs.Zstd)
	args := []string{"embed", "--initramfs", in, "--image", s.Host + "/actions/cexec:v1=127.0.0.1/embedded/cexec", "-o"}
	for range 2 { // packed, and from the cache
		if got := e.run(0, append(args, "-")...); len(got.stdout) < 100 || e.run(0, append(args, out)...).stdout != out+"\n" || got.stdout != readFile(t, out) {
			t.Errorf("standard output got %d bytes, the file has %d", len(got.stdout), len(readFile(t, out)))
		}
	}
	if err := os.Symlink("/dev/null", null); err != nil {
		t.Fatal(err)
	}
	if got := e.run(0, append(args, null)...); got.stdout != "" {
		t.Errorf("the path of a device was printed: %q", got.stdout)
	}
	if to, err := os.Readlink(null); err != nil || to != "/dev/null" {
		t.Errorf("the link became %q, %v", to, err)
	}
	if got := e.run(0, "extract-image", out, "127.0.0.1/embedded/cexec"); !strings.Contains(got.stdout, "manifest.json") {
		t.Errorf("extract-image writes no archive: %.100q", got.stdout)
	}
}

// TestEmbedIntoABase checks that a HookOS with images added is complete.
func TestEmbedIntoABase(t *testing.T) {
	p := newSmallProof(t)
	base := filepath.Join(t.TempDir(), "base")
	args := []string{"embed", "--layout", "directory", "--image", p.site.Host + "/actions/cexec:v1=127.0.0.1/embedded/other"}
	p.run(0, append(args, "--base", p.out, "--out", base)...)
	r := p.findings(t, 0, base)
	if len(r.Systems) != 1 || len(r.Systems[0].Images) != 1 || len(r.Tarballs) != 1 || r.Systems[0].Images[0].Names[0] != "127.0.0.1/embedded/other:latest" {
		t.Errorf("the result is %+v", r)
	}
	want := "checksums.txt initramfs-x86_64 manifest.json provenance.json sbom.spdx.json vmlinuz-x86_64"
	if got := strings.Join(dirNames(t, filepath.Join(base, "hook")), " "); got != want {
		t.Errorf("it has %s", got)
	}
	// Upstream's tarball has only the flavor's names.
	upstream := t.TempDir()
	for _, kind := range []string{"vmlinuz-", "initramfs-"} {
		site.WriteFile(t, filepath.Join(upstream, kind+"latest-lts-x86_64"), readFile(t, filepath.Join(p.out, "hook", kind+"x86_64")))
	}
	site.WriteFile(t, filepath.Join(upstream, "cmdline-latest-lts-x86_64"), "console=ttyS0")
	p.run(0, append(args, "--base", upstream, "--out", base, "--keep-embedded")...)
	for _, name := range []string{"cmdline-x86_64", "cmdline-latest-lts-x86_64"} {
		if got := readFile(t, filepath.Join(base, "hook", name)); got != "console=ttyS0" {
			t.Errorf("%s has %q", name, got)
		}
	}
	r = p.findings(t, 0, base)
	if len(r.Systems) != 1 || r.Systems[0].Initramfs != "initramfs-latest-lts-x86_64" || len(r.Systems[0].Images) != 2 && len(r.Systems[0].Images[0].Names) != 2 {
		t.Errorf("the result is %+v", r.Systems)
	}
}

func dirNames(t *testing.T, dir string) []string {
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

func TestVerifyAPair(t *testing.T) {
	p := newSmallProof(t)
	vmlinuz, initrd := filepath.Join(p.out, "hook/vmlinuz-x86_64"), filepath.Join(p.out, "hook/initramfs-x86_64")
	for _, pair := range [][]string{{vmlinuz, initrd}, {initrd, vmlinuz}} {
		if r := p.findings(t, 0, pair...); len(r.Systems) != 1 || r.Systems[0].Kernel != "6.6.1" || len(r.Systems[0].Images) != 1 {
			t.Errorf("the findings are %+v", r)
		}
	}
	change(t, initrd, func(b []byte) []byte { return b[:len(b)-100] })
	if r := p.findings(t, 3, vmlinuz, initrd); len(r.Faults) != 1 {
		t.Errorf("the faults are %v", r.Faults)
	}
}

// TestVerifyLooksIntoTheTarball checks that damage anywhere in the tarball is found,
// and so is a tarball of another run.
func TestVerifyLooksIntoTheTarball(t *testing.T) {
	p := newSmallProof(t)
	path := filepath.Join(p.out, "hook_x86_64.tar.gz")
	sound := readFile(t, path)
	if r := p.findings(t, 0, p.out); len(r.Tarballs) != 1 || r.Tarballs[0].Name != "hook_x86_64.tar.gz" {
		t.Errorf("the findings are %+v", r)
	}
	damages := map[string]string{"cut": sound[:len(sound)/2], "longer": sound + "x", "empty": "", "no tarball": "text"}
	for i := range 26 {
		at := i * (len(sound) - 1) / 25
		b := []byte(sound)
		b[at] ^= 0x10
		damages["byte "+strings.Repeat("i", i)] = string(b)
	}
	for name, damaged := range damages {
		site.WriteFile(t, path, damaged)
		r := p.findings(t, 3, filepath.Join(p.out, "hook"))
		if len(r.Faults) == 0 || r.Faults[0].File != "hook_x86_64.tar.gz" {
			t.Errorf("%s: the faults are %v", name, r.Faults)
		}
	}
	site.WriteFile(t, path, sound)
	other := newSmallProof(t)
	site.WriteFile(t, path, readFile(t, filepath.Join(other.out, "hook_x86_64.tar.gz")))
	if r := p.findings(t, 3, p.out); !strings.Contains(r.Faults[0].Problem, "the initramfs-x86_64 in it is not the one in the directory") {
		t.Errorf("the faults are %v", r.Faults)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	p.findings(t, 0, p.out)
}

// TestVerifyAClusterSpecification checks that a cluster specification requires the
// embedded worker, and every template that it refers to.
func TestVerifyAClusterSpecification(t *testing.T) {
	p := newSmallProof(t)
	dir := t.TempDir()
	cluster, template := filepath.Join(dir, "cluster.yaml"), filepath.Join(dir, "template.yaml")
	site.WriteFile(t, cluster, "kind: TinkerbellMachineConfig\nmetadata: {name: cp}\nspec: {templateRef: {kind: TinkerbellTemplateConfig, name: mine}}\n")
	site.WriteFile(t, template, "kind: TinkerbellTemplateConfig\nmetadata: {name: mine}\nspec: {template: {tasks: [{name: t, actions: [{name: run, image: 127.0.0.1/embedded/cexec}]}]}}\n")
	r := p.findings(t, 3, p.out, "--template", cluster)
	if len(r.Faults) != 2 || !strings.Contains(r.Faults[0].String(), "the worker 127.0.0.1/embedded/tink-worker, which is not in initramfs-x86_64") ||
		!strings.Contains(r.Faults[0].String(), "or, without a bundle, with --image SRC=127.0.0.1/embedded/tink-worker") ||
		!strings.Contains(r.Faults[1].String(), "cluster.yaml:3: the TinkerbellMachineConfig cp refers to the TinkerbellTemplateConfig mine, which is in none of the files") {
		t.Errorf("the faults are %v", r.Faults)
	}
	p.run(0, "embed", "--layout", "directory", "--base", p.out, "--out", p.out, "--keep-embedded", "--image", p.site.Host+"/actions/cexec:v1=127.0.0.1/embedded/tink-worker")
	if r := p.findings(t, 0, p.out, "--template", cluster, "--template", template); len(r.Actions) != 1 || !r.Actions[0].OnBoard {
		t.Errorf("the actions are %+v", r.Actions)
	}
}

// TestWhatPullImagesLeftIsNamed checks the warning about images that pull-images.sh
// left in the checkout.
func TestWhatPullImagesLeftIsNamed(t *testing.T) {
	p := newSmallProof(t)
	site.WriteFile(t, filepath.Join(p.site.Dir, "images/hook-embedded/images/.keep"), "")
	args := []string{"linuxkit", "hook-default-amd64", "--hook-dir", p.site.Dir, "--out", p.out}
	const said = "images/hook-embedded/images in the checkout has files from pull-images.sh"
	kernel := filepath.Join(t.TempDir(), "kernel")
	site.WriteFile(t, filepath.Join(kernel, "vmlinuz-6.6.1"), string(kerneltest.BzImage(t, "6.6.1", "CONFIG_RD_ZSTD=y\n")))
	args = append(args, "--kernel", "dir:"+kernel)
	if got := p.run(0, args...); strings.Contains(got.stderr, said) {
		t.Errorf("a warning without images: %s", got.stderr)
	}
	const list = "images/hook-embedded/images.txt"
	site.WriteFile(t, filepath.Join(p.site.Dir, list), p.site.Host+"/actions/cexec:v1 127.0.0.1/embedded/cexec\n")
	says(t, p.run(0, args...).stderr, list+" in the checkout is not read", "hookbuild all hook-default-amd64 --images-file "+filepath.Join(p.site.Dir, list))
	args[0] = "all"
	if got := p.run(0, append(args, "--images-file", filepath.Join(p.site.Dir, list))...); strings.Contains(got.stderr, "is not read") {
		t.Errorf("a warning about a list that is read: %s", got.stderr)
	}
	site.WriteFile(t, filepath.Join(p.site.Dir, "images/hook-embedded/images/overlay2/x"), "")
	if got := p.run(0, args...); !strings.Contains(got.stderr, said+" (overlay2 and others)") {
		t.Errorf("no warning: %s", got.stderr)
	}
}
