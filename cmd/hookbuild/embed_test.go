package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/squashfs"
	"hookbuild/internal/words"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// baseInitramfs writes an initramfs with one file and the given compression.
func baseInitramfs(t *testing.T, path string, c initramfs.Compression) {
	t.Helper()
	var tree initramfs.Tree
	if err := tree.Add(initramfs.BytesFile("init", []byte("#!/bin/sh\n"), initramfs.Epoch())); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := initramfs.WriteSegment(t.Context(), f, &tree, initramfs.SegmentOptions{Compression: c}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// embedding runs the commands for an existing initramfs.
type embedding struct {
	t     *testing.T
	site  *site.Site
	cache string
}

func (e embedding) run(want int, args ...string) outcome {
	e.t.Helper()
	got := runAt(e.t.Context(), e.site, append(args, "--cache-dir", e.cache, "--progress", "plain")...)
	if got.code != want {
		e.t.Fatalf("%v: exit code %d\n%s", args, got.code, got.stderr)
	}
	return got
}

func (e embedding) list(file string) []string {
	e.t.Helper()
	var names []string
	for line := range strings.Lines(e.run(0, "embed", "--list", file).stdout) {
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

func TestEmbedIntoAnExistingInitramfs(t *testing.T) {
	for _, c := range []initramfs.Compression{initramfs.Gzip, initramfs.Zstd, initramfs.None} {
		t.Run(string(c), func(t *testing.T) {
			s := site.New(t, nil)
			pushAction(t, s)
			e := embedding{t, s, t.TempDir()}
			dir := t.TempDir()
			in, first, second, third := filepath.Join(dir, "in"), filepath.Join(dir, "first"), filepath.Join(dir, "second"), filepath.Join(dir, "third")
			baseInitramfs(t, in, c)
			image := s.Host + "/actions/cexec:v1"

			e.run(0, "embed", "--initramfs", in, "-o", first, "--image", image+"=127.0.0.1/embedded/cexec")
			before, after := readFile(t, in), readFile(t, first)
			if !strings.HasPrefix(after, before) {
				t.Error("the input's bytes were changed")
			}
			want(t, e.list(first), "127.0.0.1/embedded/cexec:latest")

			e.run(0, "embed", "--initramfs", first, "-o", second, "--image", image+"=127.0.0.1/embedded/other")
			want(t, e.list(second), "127.0.0.1/embedded/other:latest")
			if !strings.HasPrefix(readFile(t, second), before) {
				t.Error("replacing the store changed the rest")
			}

			e.run(0, "embed", "--initramfs", first, "-o", third, "--keep-embedded", "--image", image+"=127.0.0.1/embedded/other")
			want(t, e.list(third), "127.0.0.1/embedded/cexec:latest", "127.0.0.1/embedded/other:latest")

			archive := filepath.Join(dir, "cexec.tar")
			e.run(0, "extract-image", third, "127.0.0.1/embedded/cexec", "-o", archive)
			e.run(0, "embed", "--initramfs", in, "-o", second, "--image", "docker-archive:"+archive+"=127.0.0.1/embedded/again")
			want(t, e.list(second), "127.0.0.1/embedded/again:latest")
		})
	}
}

func want(t *testing.T, got []string, names ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("got %q, want %q", got, names)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestEmbedRefuses(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	baseInitramfs(t, in, initramfs.Zstd)
	site.WriteFile(t, filepath.Join(dir, "text"), "no initramfs")
	site.WriteFile(t, filepath.Join(dir, "vmlinuz"), "MZ, as every kernel begins")
	whole := readFile(t, in)
	site.WriteFile(t, filepath.Join(dir, "cut"), whole[:len(whole)-5])
	site.WriteFile(t, filepath.Join(dir, "zeros"), strings.Repeat("\x00", 5000))
	site.WriteFile(t, filepath.Join(dir, "cut.iso"), strings.Repeat("\x00", 32768)+"\x01CD001"+strings.Repeat("\x00", 74)+"\x00\x04\x00\x00"+strings.Repeat("\x00", 40000-32768-84))
	image := s.Host + "/actions/cexec:v1"
	for _, test := range []struct {
		code int
		say  string
		args []string
	}{
		{3, "no such file or directory; name the directory that has its vmlinuz-ID and initramfs-ID", []string{"embed", "--base", filepath.Join(dir, "none"), "--out", out, "--image", image}},
		{3, "it has no vmlinuz-ID with an initramfs-ID; build them with", []string{"embed", "--list", dir}},
		{3, "it has no vmlinuz-ID with an initramfs-ID; build them with", []string{"extract-image", dir, "cexec", "-o", out}},
		{2, "-o OUT", []string{"embed", "--initramfs", in, "--image", image}},
		{2, "--images-file", []string{"embed", "--initramfs", in, "-o", out}},
		{2, "--from-bundle", []string{"embed", "--initramfs", in, "-o", out, "--no-worker"}},
		{3, "none.yaml", []string{"embed", "--initramfs", in, "-o", out, "--bundle", filepath.Join(dir, "none.yaml")}},
		{3, "none.yaml", []string{"embed", "--initramfs", in, "-o", out, "--embed-from-bundle", "--bundle", filepath.Join(dir, "none.yaml")}},
		{3, "text", []string{"embed", "--initramfs", filepath.Join(dir, "text"), "-o", out, "--image", image}},
		{3, "is a kernel; name the initramfs", []string{"embed", "--initramfs", filepath.Join(dir, "vmlinuz"), "-o", out, "--image", image}},
		{3, "is an ISO image, and it is incomplete: it ends at byte 40000, and has 2097152 bytes when it is whole; copy", []string{"inspect", filepath.Join(dir, "cut.iso")}},
		{3, "its 5000 bytes are all zero; copy, download or build it again", []string{"inspect", filepath.Join(dir, "zeros")}},
		{3, "it ends at byte 26, within its header; copy, download or build it again", []string{"inspect", filepath.Join(dir, "vmlinuz")}},
		{3, "in segment 1 (zstd, from byte 0): unexpected EOF; the file is incomplete", []string{"inspect", filepath.Join(dir, "cut")}},
		{3, "none", []string{"embed", "--initramfs", filepath.Join(dir, "none"), "-o", out, "--image", image}},
		{3, "it has no embedded images", []string{"embed", "--initramfs", in, "-o", out, "--image", image, "--keep-embedded"}},
		{3, "kexec", []string{"embed", "--initramfs", in, "-o", out, "--image", image + "=127.0.0.1/kexec", "--image", s.Host + "/hook/hook-hello:x=127.0.0.1/kexec"}},
		{3, "no embedded images", []string{"extract-image", in, "cexec", "-o", out}},
		{2, "extract-image IN NAME", []string{"extract-image", in}},
		{2, "choose gzip, zstd or xz", []string{"embed", "--initramfs", in, "-o", out, "--image", image, "--pack-compression", "lzo"}},
		{2, "power of two", []string{"embed", "--initramfs", in, "-o", out, "--image", image, "--pack-block", "100"}},
		{2, "apply only to the packed layout", []string{"embed", "--initramfs", in, "-o", out, "--image", image, "--pack-block", "64", "--layout", "directory"}},
		{3, "the kernel has no CONFIG_SQUASHFS_ZSTD", []string{"embed", "--initramfs", in, "-o", out, "--image", image, "--pack-compression", "zstd"}},
	} {
		got := e.run(test.code, test.args...)
		if !strings.Contains(got.stderr, test.say) {
			t.Errorf("%v: %s", test.args, got.stderr)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v: an output is there", test.args)
		}
	}
}

// TestEmbedReadsWhatOthersWrote embeds into initramfs files that other programs wrote,
// with each compression, from a file and from a URL. Their bytes must not change.
func TestEmbedReadsWhatOthersWrote(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	for name, compress := range map[string]string{
		"gzip": "gzip -9", "zstd": "zstd -19", "xz": "xz --check=crc32", "lz4": "lz4 -l -9", "none": "cat",
	} {
		t.Run(name, func(t *testing.T) {
			e.t = t
			in := cpioBy(t, compress)
			server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(in))))
			t.Cleanup(server.Close)
			for title, source := range map[string]string{"file": in, "url": server.URL + "/" + filepath.Base(in)} {
				out := filepath.Join(t.TempDir(), "out")
				e.run(0, "embed", "--initramfs", source, "-o", out, "--image", s.Host+"/actions/cexec:v1=127.0.0.1/embedded/cexec")
				if !strings.HasPrefix(readFile(t, out), readFile(t, in)) {
					t.Errorf("%s: the input's bytes were changed", title)
				}
				want(t, e.list(out), "127.0.0.1/embedded/cexec:latest")
			}
			e.replaceMiddle(in, s.Host+"/actions/cexec:v1")
		})
	}
}

// replaceMiddle replaces a store between other segments.
func (e embedding) replaceMiddle(in, image string) {
	e.t.Helper()
	dir := e.t.TempDir()
	one, both, out := filepath.Join(dir, "one"), filepath.Join(dir, "both"), filepath.Join(dir, "out")
	e.run(0, "embed", "--initramfs", in, "-o", one, "--image", image+"=127.0.0.1/embedded/old")
	first := readFile(e.t, one)
	first += strings.Repeat("\x00", -len(first)&3)
	site.WriteFile(e.t, both, first+readFile(e.t, in))
	e.run(0, "embed", "--initramfs", both, "-o", out, "--image", image+"=127.0.0.1/embedded/new")
	want(e.t, e.list(out), "127.0.0.1/embedded/new:latest")
	got := readFile(e.t, out)
	if rest, ok := strings.CutPrefix(got, readFile(e.t, in)); !ok || !strings.HasPrefix(strings.TrimLeft(rest, "\x00"), readFile(e.t, in)) {
		e.t.Error("the bytes around the store were changed")
	}
}

// cpioBy creates an initramfs of two segments with cpio. The command compresses the
// second.
func cpioBy(t *testing.T, compress string) string {
	t.Helper()
	testneed.Tool(t, "cpio")
	tool, _, _ := strings.Cut(compress, " ")
	testneed.Tool(t, tool)
	dir := t.TempDir()
	script := `mkdir early late; echo microcode >early/code; echo '#!/bin/sh' >late/init
(cd early; find . | cpio -o -H newc --quiet) >initramfs; (cd late; find . | cpio -o -H newc --quiet) | ` + compress + ` >>initramfs`
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "initramfs")
}

// hookConfig is the kernel configuration that a store needs.
const hookConfig = "CONFIG_RD_ZSTD=y\nCONFIG_BLK_DEV_LOOP=y\nCONFIG_OVERLAY_FS=y\nCONFIG_SQUASHFS=y\nCONFIG_SQUASHFS_XATTR=y\n"

// TestLayoutFollowsTheKernel checks that the layout depends on the kernel next to the
// initramfs.
func TestLayoutFollowsTheKernel(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	for name, test := range map[string]struct {
		config, layout string
		code           int
		say            string
		packed         squashfs.Compression // "" for directories
	}{
		"gzip":                      {hookConfig + "CONFIG_SQUASHFS_ZLIB=y\n", "packed", 0, "", squashfs.Gzip},
		"zstd is better":            {hookConfig + "CONFIG_SQUASHFS_ZLIB=y\nCONFIG_SQUASHFS_ZSTD=y\n", "packed", 0, "", squashfs.Zstd},
		"xz alone":                  {hookConfig + "CONFIG_SQUASHFS_XZ=y\n", "auto", 0, "", squashfs.XZ},
		"no decompressor":           {hookConfig, "packed", 3, "the kernel has no CONFIG_SQUASHFS_ZLIB", ""},
		"no loop":                   {without(hookConfig+"CONFIG_SQUASHFS_ZLIB=y\n", "CONFIG_BLK_DEV_LOOP"), "packed", 3, "the kernel has no CONFIG_BLK_DEV_LOOP", ""},
		"no squashfs":               {without(hookConfig, "CONFIG_SQUASHFS"), "packed", 3, "(--layout auto)", ""},
		"no squashfs, auto":         {without(hookConfig, "CONFIG_SQUASHFS"), "auto", 0, "laid out as directories: for the packed layout the kernel lacks CONFIG_SQUASHFS", ""},
		"tells nothing":             {"", "packed", 0, "the images need CONFIG_SQUASHFS, ", squashfs.Gzip},
		"no squashfs, directory":    {without(hookConfig, "CONFIG_SQUASHFS"), "directory", 0, "", ""},
		"no overlay":                {without(hookConfig+"CONFIG_SQUASHFS_ZLIB=y\n", "CONFIG_OVERLAY_FS"), "auto", 3, "CONFIG_OVERLAY_FS", ""},
		"cannot unpack what we add": {without(hookConfig+"CONFIG_SQUASHFS_ZLIB=y\n", "CONFIG_RD_ZSTD"), "packed", 3, "choose another --compression", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e.t = t
			dir := t.TempDir()
			in, out := filepath.Join(dir, "initramfs-x86_64"), filepath.Join(dir, "out")
			baseInitramfs(t, in, initramfs.Zstd)
			kerneltest.WriteFile(t, filepath.Join(dir, "vmlinuz-x86_64"), kerneltest.BzImage(t, "6.6.32", test.config))
			got := e.run(test.code, "embed", "--initramfs", in, "-o", out, "--layout", test.layout, "--image", s.Host+"/actions/cexec:v1=127.0.0.1/embedded/cexec")
			if !strings.Contains(got.stderr, test.say) {
				t.Errorf("said %s", got.stderr)
			}
			if test.code != 0 {
				return
			}
			want(t, e.list(out), "127.0.0.1/embedded/cexec:latest")
			if c, _ := packedWith(t, out); c != test.packed {
				t.Errorf("the layers are packed with %q, want %q", c, test.packed)
			}
		})
	}
}

func TestPackAsAsked(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	baseInitramfs(t, in, initramfs.Zstd)
	e.run(0, "embed", "--initramfs", in, "-o", out, "--image", s.Host+"/actions/cexec:v1", "--pack-compression", "xz", "--pack-block", "1024")
	if c, block := packedWith(t, out); c != squashfs.XZ || block != 1<<20 {
		t.Errorf("the layers are packed with %s in blocks of %d bytes", c, block)
	}
}

// A layer that unpacks to more than --max-layer is refused.
func TestMaxLayer(t *testing.T) {
	s := site.New(t, nil)
	site.Push(t, s.Host+"/zeros:1", map[string]string{"disk.img": strings.Repeat("\x00", 16_000_000)})
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	baseInitramfs(t, in, initramfs.Zstd)
	for limit, code := range map[string]int{"1MB": 3, "20MB": 0} {
		e := embedding{t, s, t.TempDir()}
		got := e.run(code, "embed", "--initramfs", in, "-o", filepath.Join(dir, "out"), "--image", s.Host+"/zeros:1=127.0.0.1/embedded/disk", "--max-layer", limit)
		if said := strings.Contains(got.stderr, "raise the limit with --max-layer"); said != (code != 0) {
			t.Errorf("with --max-layer %s: %s", limit, got.stderr)
		}
	}
}

// without removes an option and those whose names begin with it.
func without(config, option string) string {
	var kept strings.Builder
	for line := range strings.Lines(config) {
		if !strings.HasPrefix(line, option) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// packedWith returns the compression of the layers in an initramfs, "" if they are
// directories, and the block size in bytes.
func packedWith(t *testing.T, path string) (squashfs.Compression, int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spool, err := os.Create(filepath.Join(t.TempDir(), "contents"))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	loaded, err := initramfs.Load(t.Context(), f, spool, path, initramfs.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := loaded.Tree.Lookup(embed.StorePath + "/layers.squashfs")
	if !ok {
		return "", 0
	}
	r, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	image, err := squashfs.Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return image.Compression(), image.BlockSize()
}

// TestWorkerFromAnOlderHookOS takes the worker for a bundle without one from another
// HookOS.
func TestWorkerFromAnOlderHookOS(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	dir := t.TempDir()
	in, old, out := filepath.Join(dir, "in"), filepath.Join(dir, "old"), filepath.Join(dir, "out")
	baseInitramfs(t, in, initramfs.Gzip)
	e.run(0, "embed", "--initramfs", in, "-o", old, "--layout", "directory", "--image", s.Host+"/actions/cexec:v1=127.0.0.1/embedded/tink-worker")
	bundle := filepath.Join(dir, "bundle.yaml")
	site.WriteFile(t, bundle, `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Bundles
metadata: {name: bundles-7}
spec:
  number: 7
  cliMinVersion: v0.26.1
  cliMaxVersion: v0.26.1
  versionsBundles:
    - kubeVersion: "1.31"
      tinkerbell:
        version: v0.6.0
        tinkerbellStack:
          actions:
            cexec: {name: cexec, uri: "`+s.Host+`/actions/cexec:v1"}
`)
	args := []string{"embed", "--initramfs", in, "-o", out, "--from-bundle", "--bundle", bundle}
	if got := e.run(3, args...); !strings.Contains(got.stderr, "the bundle names no HookOS") || !strings.Contains(got.stderr, "--worker-from") {
		t.Errorf("without a worker: %s", got.stderr)
	}
	e.run(0, append(args, "--worker-from", old)...)
	want(t, e.list(out), "127.0.0.1/embedded/cexec:latest", "127.0.0.1/embedded/tink-worker:latest")
	if got := e.run(3, append(args, "--worker-from", in)...); !strings.Contains(got.stderr, "it has no embedded images") {
		t.Errorf("from one without images: %s", got.stderr)
	}
}

// Images that the new ones do not replace are named when they are removed.
func TestEmbedNamesWhatItRemoves(t *testing.T) {
	s := site.New(t, nil)
	e := embedding{t, s, t.TempDir()}
	image := func(name string) []string {
		site.Push(t, s.Host+"/actions/"+name+":v1", map[string]string{"bin/" + name: name})
		return []string{"--image", s.Host + "/actions/" + name + ":v1=127.0.0.1/embedded/" + name}
	}
	dir := t.TempDir()
	in, first, next := filepath.Join(dir, "in"), filepath.Join(dir, "first"), filepath.Join(dir, "next")
	baseInitramfs(t, in, initramfs.Zstd)
	cexec, worker := image("cexec"), image("tink-worker")
	said := e.run(0, slices.Concat([]string{"embed", "--initramfs", in, "-o", first}, cexec, worker)...).stderr
	if strings.Contains(said, "removed") {
		t.Errorf("the first embedding: %s", said)
	}
	site.WriteFile(t, filepath.Join(dir, "checksums.txt"), "0123  next\n")
	for _, test := range []struct {
		say    string
		images []string
	}{
		{"removed 2 embedded images of " + first + ", among them the worker 127.0.0.1/embedded/tink-worker:latest; --keep-embedded keeps them", image("other")},
		{"removed 1 embedded image of " + first + "; --keep-embedded keeps them", worker},
		{"", append(cexec, worker...)},
		{"", append(image("other"), "--keep-embedded")},
	} {
		said := e.run(0, append([]string{"embed", "--initramfs", first, "-o", next}, test.images...)...).stderr
		if !strings.Contains(said, test.say) || strings.Contains(said, "removed ") != (test.say != "") || !strings.Contains(said, "checksums.txt and manifest.json describe the file that was replaced") {
			t.Errorf("%v: %s", test.images, said)
		}
	}
}

// TestOneMoreImage checks that adding an image packs only its own layer, although it
// shares a file with the other image.
func TestOneMoreImage(t *testing.T) {
	s := site.New(t, nil)
	e := embedding{t, s, t.TempDir()}
	var images []string
	for _, name := range []string{"zeta", "alpha"} {
		site.Push(t, s.Host+"/actions/"+name+":v1", map[string]string{"bin/" + name: name, "etc/shared": "shared"})
		images = append(images, "--image", s.Host+"/actions/"+name+":v1=127.0.0.1/embedded/"+name)
	}
	dir := t.TempDir()
	in, one, both, kept := filepath.Join(dir, "in"), filepath.Join(dir, "one"), filepath.Join(dir, "both"), filepath.Join(dir, "kept")
	baseInitramfs(t, in, initramfs.Zstd)
	for _, step := range []struct {
		say  string
		args []string
	}{
		{"1 packed now", append([]string{"--initramfs", in, "-o", one}, images[:2]...)},
		{"1 packed now, 1 cached or equal to others", append([]string{"--initramfs", one, "-o", kept, "--keep-embedded"}, images[2:]...)},
		{"0 packed now", append([]string{"--initramfs", in, "-o", both}, images...)},
	} {
		if got := e.run(0, append([]string{"embed"}, step.args...)...); !strings.Contains(got.stderr, step.say) {
			t.Errorf("%q: said %s", step.args, got.stderr)
		}
	}
	want(t, e.list(kept), e.list(both)...)
}

// TestEmbedTellsTheMemory checks that embed and inspect report the same RAM.
func TestEmbedTellsTheMemory(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	e := embedding{t, s, t.TempDir()}
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	baseInitramfs(t, in, initramfs.Zstd)
	for _, layout := range []string{"packed", "directory"} {
		// The second time there is a store to replace.
		for _, source := range []string{in, out} {
			said := e.run(0, "embed", "--initramfs", source, "-o", out, "--layout", layout, "--image", s.Host+"/actions/cexec:v1").stderr
			found := e.run(0, "inspect", out).stdout
			_, least, _ := strings.Cut(said, "booting it takes about ")
			least, _, _ = strings.Cut(least, " of RAM")
			if least == "" || !strings.Contains(found, "RAM to boot") || !strings.Contains(found, " about "+least+", because LinuxKit's init") {
				t.Errorf("%s into %s: embed says %q, inspect %s", layout, filepath.Base(source), least, found)
			}
		}
	}
}

// TestAllTellsTheMemory checks that all and inspect report the same RAM, and that the
// size report counts every file of the initramfs.
func TestAllTellsTheMemory(t *testing.T) {
	l := newLocker(t)
	said := l.run(0, append([]string{"all"}, l.options()...)...).stderr
	found := l.run(0, "inspect", "--json", filepath.Join(l.out, "hook/initramfs-x86_64")).stdout
	var report struct{ Initramfs struct{ Memory embed.Memory } }
	if err := json.Unmarshal([]byte(found), &report); err != nil {
		t.Fatal(err)
	}
	memory := report.Initramfs.Memory
	if want := "booting it takes about " + words.Bytes(memory.Least) + " of RAM"; memory.Least == 0 || !strings.Contains(said, want) {
		t.Errorf("all does not say %q:\n%s", want, said)
	}
	// The segments' common directories count twice in the size report.
	const directories = 32 << 10
	place := place(l.proof)
	if counted := place.manifest("hook").Size.RAM - memory.Unpacked; counted < 0 || counted > directories {
		t.Errorf("the size report counts %d bytes more than inspect", counted)
	}
}

// TestEmbedKnowsTheOptionsThatAllKnew checks that embed reads a kernel's options in
// manifest.json, where the vmlinuz does not carry them.
func TestEmbedKnowsTheOptionsThatAllKnew(t *testing.T) {
	p := proof{t, site.New(t, nil), t.TempDir(), t.TempDir()}
	pushAction(t, p.site)
	dir := filepath.Join(t.TempDir(), "kernel")
	site.WriteFile(t, filepath.Join(dir, "vmlinuz-6.6.1"), string(kerneltest.BzImage(t, "6.6.1", "")))
	site.WriteFile(t, filepath.Join(dir, "config-6.6.1"), packedConfig)
	site.WriteFile(t, filepath.Join(dir, "lib/modules/6.6.1/modules.builtin"), "")
	p.run(0, "all", "hook-latest-lts-amd64", "--hook-dir", p.site.Dir, "--out", p.out, "--kernel", "dir:"+dir)
	args := []string{"--image", p.site.Host + "/actions/cexec:v1", "--out", t.TempDir(), "--base"}
	said := p.run(0, append([]string{"embed"}, append(args, p.out)...)...).stderr
	if strings.Contains(said, "unknown") || strings.Contains(said, "not known") {
		t.Errorf("embed does not know what all knew:\n%s", said)
	}
	// Without the manifest the zstd of the initramfs remains as evidence.
	if err := os.Remove(filepath.Join(p.out, "hook/manifest.json")); err != nil {
		t.Fatal(err)
	}
	said = p.run(0, append([]string{"embed"}, append(args, p.out)...)...).stderr
	if strings.Contains(said, "CONFIG_RD_ZSTD") || !strings.Contains(said, "the images need CONFIG_") {
		t.Errorf("without manifest.json embed says:\n%s", said)
	}
}

// TestCompressedModules checks that compressed modules in an existing initramfs, which
// HookOS cannot load, are warned of, and that others are not.
func TestCompressedModules(t *testing.T) {
	s := site.New(t, nil)
	pushAction(t, s)
	dir := t.TempDir()
	vmlinuz := filepath.Join(dir, "vmlinuz")
	site.WriteFile(t, vmlinuz, string(kerneltest.BzImage(t, "6.6.1", "")))
	for name, module := range map[string]string{"packed": "x.ko.zst", "plain": "x.ko"} {
		var tree initramfs.Tree
		for path, text := range map[string]string{"init": "#!/bin/sh\n", "lib/modules/6.6.1/kernel/" + module: "", "usr/share/y.ko.xz": ""} {
			e := initramfs.BytesFile(path, []byte(text), initramfs.Epoch())
			e.Mode = 0o755
			if err := tree.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		var packed bytes.Buffer
		if err := initramfs.WriteSegment(t.Context(), &packed, &tree, initramfs.SegmentOptions{Compression: initramfs.Zstd}); err != nil {
			t.Fatal(err)
		}
		in := filepath.Join(dir, name)
		site.WriteFile(t, in, packed.String())
		e := embedding{t, s, t.TempDir()}
		outputs := []outcome{
			runAt(t.Context(), s, "inspect", in, "--cache-dir", e.cache, "--progress", "plain"),
			runAt(t.Context(), s, "verify", vmlinuz, in, "--cache-dir", e.cache, "--progress", "plain"),
			e.run(0, "embed", "--initramfs", in, "-o", in+".out", "--image", s.Host+"/actions/cexec:v1=127.0.0.1/embedded/cexec"),
		}
		for _, got := range outputs {
			warned := strings.Contains(got.stderr, `has 1 compressed kernel module, such as "lib/modules/6.6.1/kernel/x.ko.zst", which HookOS' busybox cannot load`)
			if got.code != 0 || warned != (name == "packed") {
				t.Errorf("%s: exit code %d\n%s", name, got.code, got.stderr)
			}
		}
	}
}
