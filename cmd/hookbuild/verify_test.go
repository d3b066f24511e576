package main

import (
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/build/verify"
	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// proof is a build result of which tests damage copies.
type proof struct {
	t     *testing.T
	site  *site.Site
	cache string
	out   string // with artifacts in "hook"
}

func newProof(t *testing.T, layout string) proof {
	t.Helper()
	p := proof{t, site.New(t, nil), sharedCache(t), t.TempDir()}
	pushAction(t, p.site)
	p.run(0, append(allArgs(t, p.site, p.cache, p.out), "--layout", layout)...)
	return p
}

// newSmallProof returns a proof with a small kernel, so that copies are cheap.
func newSmallProof(t *testing.T) proof {
	t.Helper()
	p, args := smallBuild(t)
	p.run(0, append(args, "--no-sbom")...)
	return p
}

// smallBuild returns the arguments that build it.
func smallBuild(t *testing.T) (proof, []string) {
	t.Helper()
	p := proof{t, site.New(t, nil), t.TempDir(), t.TempDir()}
	pushAction(t, p.site)
	dir := t.TempDir()
	site.WriteFile(t, filepath.Join(dir, "vmlinuz-6.6.1"), string(kerneltest.BzImage(t, "6.6.1", "CONFIG_RD_ZSTD=y\nCONFIG_OVERLAY_FS=y\n")))
	site.WriteFile(t, filepath.Join(dir, "lib/modules/6.6.1/modules.builtin"), "")
	args := allArgs(t, p.site, p.cache, p.out)
	args[slices.Index(args, "--kernel")+1] = "dir:" + dir
	args[1] = "hook-default-amd64" // whose id is x86_64: no links
	return p, slices.Clip(append(args, "--layout", "directory"))
}

func (p proof) run(code int, args ...string) outcome {
	p.t.Helper()
	got := runAt(p.t.Context(), p.site, append(args, "--cache-dir", p.cache, "--progress", "plain")...)
	if got.code != code {
		p.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, got.code, code, got.stdout, got.stderr)
	}
	return got
}

// spoiled returns a copy of the artifacts that spoil has changed.
func (p proof) spoiled(t *testing.T, spoil func(t *testing.T, dir string)) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(p.out, "hook"))); err != nil {
		t.Fatal(err)
	}
	spoil(t, dir)
	return dir
}

// findings returns the report of verify --json.
func (p proof) findings(t *testing.T, code int, args ...string) *verify.Report {
	t.Helper()
	got := p.run(code, append([]string{"verify", "--json"}, args...)...)
	var r verify.Report
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("%v\n%s", err, got.stdout)
	}
	if r.Faults == nil {
		t.Errorf("without faults there is no list of them:\n%s", got.stdout)
	}
	return &r
}

// change rewrites a file.
func change(t *testing.T, path string, edit func([]byte) []byte) {
	t.Helper()
	if err := os.WriteFile(path, edit([]byte(readFile(t, path))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sealed rewrites checksums and manifest, so that they agree with the files.
func sealed(spoil func(t *testing.T, dir string)) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		spoil(t, dir)
		recorded(func(r *artifact.Build) {
			for i, a := range r.Artifacts {
				content := readFile(t, filepath.Join(dir, a.Name))
				r.Artifacts[i].Size, r.Artifacts[i].SHA512 = int64(len(content)), sha512Of(content)
			}
		})(t, dir)
	}
}

// recorded changes the manifest, and checksums.txt accordingly.
func recorded(edit func(*artifact.Build)) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		m, err := artifact.ReadManifest(filepath.Join(dir, "manifest.json"))
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]string{}
		edit(&m.Builds[0])
		for _, a := range m.Builds[0].Artifacts {
			sums[a.Name] = a.SHA512
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		site.WriteFile(t, filepath.Join(dir, "manifest.json"), string(text))
		sums["manifest.json"] = sha512Of(string(text))
		var lines strings.Builder
		for _, name := range slices.Sorted(maps.Keys(sums)) {
			fmt.Fprintf(&lines, "%s  %s\n", sums[name], name)
		}
		site.WriteFile(t, filepath.Join(dir, "checksums.txt"), lines.String())
	}
}

func sha512Of(content string) string { return fmt.Sprintf("%x", sha512.Sum512([]byte(content))) }

// repacked changes the files in the initramfs.
func repacked(edit func(t *testing.T, tree *initramfs.Tree)) func(*testing.T, string) {
	return sealed(func(t *testing.T, dir string) {
		t.Helper()
		path := filepath.Join(dir, "initramfs-x86_64")
		spool, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer spool.Close()
		in, err := initramfs.Load(t.Context(), strings.NewReader(readFile(t, path)), spool, "x", initramfs.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		edit(t, in.Tree)
		var out strings.Builder
		if err := initramfs.WriteSegment(t.Context(), &out, in.Tree, initramfs.SegmentOptions{Compression: initramfs.Gzip, Level: 1}); err != nil {
			t.Fatal(err)
		}
		site.WriteFile(t, path, out.String())
	})
}

// swap changes the bytes, but not the size, of the files that chosen selects.
func swap(chosen func(path string) bool) func(*testing.T, *initramfs.Tree) {
	return func(t *testing.T, tree *initramfs.Tree) {
		t.Helper()
		done := false
		for e := range tree.All() {
			if e.Type != initramfs.Regular || !chosen(e.Path) {
				continue
			}
			done = true
			size := int(e.Size)
			e.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(strings.Repeat("#", size))), nil }
			if err := tree.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		if !done {
			t.Fatal("there is no such file")
		}
	}
}

const (
	goodTemplate = "tasks:\n- name: install\n  actions:\n  - {name: run, image: 127.0.0.1/embedded/cexec}\n"
	badTemplate  = "kind: Template\nspec:\n  data: |\n    tasks:\n    - name: install\n      actions:\n" +
		"      - {name: run, image: '127.0.0.1/embedded/cexec:latest'}\n      - {name: go, image: 127.0.0.1/embedded/cexec:v1}\n      - {name: fly, image: '{{.x}}/y'}\n"
)

func TestVerifyIntact(t *testing.T) {
	for _, layout := range []string{"packed", "directory"} {
		t.Run(layout, func(t *testing.T) {
			p := newProof(t, layout)
			template := filepath.Join(t.TempDir(), "cluster.yaml")
			site.WriteFile(t, template, goodTemplate)
			for _, dir := range []string{p.out, filepath.Join(p.out, "hook")} {
				got := p.run(0, "verify", dir, "--template", template)
				for _, said := range []string{"artifact  vmlinuz-x86_64", "artifact  vmlinuz-latest-lts-x86_64", "artifact  manifest.json", "system    initramfs-latest-lts-x86_64", "127.0.0.1/embedded/cexec:latest", "action    install: run", ", on board\n"} {
					if !strings.Contains(got.stdout, said) {
						t.Errorf("%q is not in\n%s", said, got.stdout)
					}
				}
				if !strings.Contains(got.stderr, "no problems found in") || strings.Contains(got.stdout, "wrong") {
					t.Errorf("it says\n%s%s", got.stdout, got.stderr)
				}
			}
			r := p.findings(t, 0, "--out", p.out, "--arch", "amd64")
			if len(r.Faults) > 0 || len(r.Systems) != 1 || len(r.Systems[0].Images) != 1 || len(r.Artifacts) != 7 || r.Systems[0].Kernel == "" {
				t.Errorf("the findings are %+v", r)
			}
		})
	}
}

// TestVerifyWarnsOfContainerd checks the warning about settings that make dockerd keep
// its images in containerd.
func TestVerifyWarnsOfContainerd(t *testing.T) {
	const service = "containers/services/hook-docker/"
	p := newSmallProof(t)
	for _, test := range []struct {
		path, content string
		warns         bool
	}{
		{service + "config.json", `{"process": {"args": ["dockerd", "--feature", "containerd-snapshotter"]}}`, true},
		{service + "config.json", `{"process": {"args": ["dockerd", "--feature=containerd-snapshotter=true"]}}`, true},
		{service + "config.json", `{"process": {"args": ["dockerd", "--feature=containerd-snapshotter=false"]}}`, false},
		{service + "lower/etc/docker/daemon.json", `{"features": {"containerd-snapshotter": true}}`, true},
		{service + "rootfs/etc/docker/daemon.json", `{"features": {"containerd-snapshotter": true}}`, true},
		{service + "lower/etc/docker/daemon.json", `{"features": {"containerd-snapshotter": false}}`, false},
		{"etc/docker/daemon.json", `{"features": {"containerd-snapshotter": true}}`, true},
		{"etc/docker/daemon.json", `containerd-snapshotter`, false},
	} {
		dir := p.spoiled(t, repacked(func(t *testing.T, tree *initramfs.Tree) {
			t.Helper()
			if err := tree.Add(initramfs.BytesFile(test.path, []byte(test.content), initramfs.Epoch())); err != nil {
				t.Fatal(err)
			}
		}))
		got := p.run(0, "verify", dir)
		if warned := strings.Contains(got.stderr, test.path+" enables containerd-snapshotter"); warned != test.warns {
			t.Errorf("%s with %s: it warns: %t\n%s", test.path, test.content, warned, got.stderr)
		}
	}
}

// TestVerifyFinds checks that every problem is reported, for each damaged file.
func TestVerifyFinds(t *testing.T) {
	p := newSmallProof(t)
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	without := func(paths ...string) func(*testing.T, *initramfs.Tree) {
		return func(_ *testing.T, tree *initramfs.Tree) {
			for _, path := range paths {
				tree.Remove(path)
			}
		}
	}
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  []string // in this order, and no more
	}{
		"a byte of the initramfs": {func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "initramfs-x86_64"), func(b []byte) []byte { b[len(b)/2] ^= 0x55; return b })
		}, []string{"unlike in checksums.txt and manifest.json", "initramfs-x86_64: unpacking "}},
		"a cut initramfs": {func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "initramfs-x86_64"), func(b []byte) []byte { return b[:len(b)-100] })
		}, []string{"unlike in checksums.txt and manifest.json", "initramfs-x86_64: unpacking "}},
		"no vmlinuz":   {remove("vmlinuz-x86_64"), []string{"vmlinuz-x86_64: it does not exist"}},
		"no initramfs": {remove("initramfs-x86_64"), []string{"initramfs-x86_64: it does not exist"}},
		"no manifest":  {remove("manifest.json"), []string{"manifest.json: it does not exist"}},
		"no checksums": {remove("checksums.txt"), []string{"checksums.txt: it does not exist"}},
		"a directory": {func(t *testing.T, dir string) {
			remove("vmlinuz-x86_64")(t, dir)
			site.WriteFile(t, dir+"/vmlinuz-x86_64/x", "")
		}, []string{"vmlinuz-x86_64: it is not a regular file"}},
		"extra vmlinuz": {func(t *testing.T, dir string) { site.WriteFile(t, dir+"/vmlinuz-latest-lts-x86_64", "MZ") }, []string{"vmlinuz-latest-lts-x86_64: neither checksums.txt nor manifest.json lists it"}},
		"extra initramfs": {func(t *testing.T, dir string) { site.WriteFile(t, dir+"/initramfs-aarch64", "x") }, []string{
			"initramfs-aarch64: neither", "initramfs-aarch64: unpacking",
		}},
		"a damaged sum": {func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "checksums.txt"), func(b []byte) []byte { b[0] = 'x'; return b })
		}, []string{"checksums.txt: line 1 is not a SHA-512 checksum", "initramfs-x86_64: manifest.json lists it, but checksums.txt does not"}},
		"paths in checksums": {func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "checksums.txt"), func(b []byte) []byte {
				return append(b, strings.Repeat("0", 128)+"  ../../etc/passwd\n\n\n"...)
			})
		}, []string{"checksums.txt: line 4 and 2 others are not"}},
		"a broken manifest": {func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "manifest.json"), func([]byte) []byte { return []byte("{") })
		}, []string{"manifest.json: reading the manifest", "manifest.json: it has 1 bytes"}},
		"another size in the manifest": {recorded(func(r *artifact.Build) { r.Artifacts[0].Size++ }), []string{"unlike in manifest.json"}},
		"another image in the manifest": {recorded(func(r *artifact.Build) { r.Embedded[0].ID = "sha256:0" }), []string{
			"the image 127.0.0.1/embedded/cexec:latest is sha256:",
		}},
		"paths in the manifest": {func(t *testing.T, dir string) {
			t.Helper()
			change(t, filepath.Join(dir, "manifest.json"), func(b []byte) []byte {
				return []byte(strings.ReplaceAll(string(b), `"vmlinuz-x86_64"`, `"../vmlinuz"`))
			})
		}, []string{`manifest.json: it lists "../vmlinuz"`, "manifest.json: it has "}},
		"a manifest of nothing": {func(t *testing.T, dir string) {
			t.Helper()
			change(t, filepath.Join(dir, "manifest.json"), func([]byte) []byte { return []byte("{}") })
		}, []string{"manifest.json: it lists no builds", "manifest.json: it has 2 bytes"}},
		"another kernel": {sealed(func(t *testing.T, dir string) {
			site.WriteFile(t, dir+"/vmlinuz-x86_64", string(kerneltest.BzImage(t, "6.6.2", "")))
		}), []string{"vmlinuz-x86_64: reading the kernel"}},
		"a pipe": {func(t *testing.T, dir string) {
			t.Helper()
			remove("initramfs-x86_64")(t, dir)
			if err := syscall.Mkfifo(filepath.Join(dir, "initramfs-x86_64"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"initramfs-x86_64: it is not a regular file"}},
		"no file and no name": {func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Symlink("nowhere", filepath.Join(dir, "initramfs-aarch64")); err != nil {
				t.Fatal(err)
			}
		}, []string{"initramfs-aarch64: neither"}},
		"a kernel by another's name": {sealed(func(t *testing.T, dir string) {
			t.Helper()
			for _, name := range []string{"vmlinuz-", "initramfs-"} {
				if err := os.Link(filepath.Join(dir, name+"x86_64"), filepath.Join(dir, name+"aarch64")); err != nil {
					t.Fatal(err)
				}
			}
		}), []string{"initramfs-aarch64: neither", "vmlinuz-aarch64: neither", "vmlinuz-aarch64: it is a kernel for x86_64"}},
		"what the kernel drops": {sealed(func(t *testing.T, dir string) {
			t.Helper()
			var tree initramfs.Tree
			if err := tree.Add(initramfs.BytesFile("etc", nil, initramfs.Epoch())); err != nil {
				t.Fatal(err)
			}
			var more strings.Builder
			if err := initramfs.WriteSegment(t.Context(), &more, &tree, initramfs.SegmentOptions{Compression: initramfs.Gzip}); err != nil {
				t.Fatal(err)
			}
			change(t, filepath.Join(dir, "initramfs-x86_64"), func(b []byte) []byte { return append(b, more.String()...) })
		}), []string{`the kernel silently drops "etc": a non-empty directory`}},
		"no init": {repacked(without("init")), []string{"initramfs-x86_64: it has no /init"}},
		"an init that is not a program": {repacked(func(t *testing.T, tree *initramfs.Tree) {
			t.Helper()
			init, _ := tree.Lookup("init")
			init.Mode = 0o644
			if err := tree.Add(init); err != nil {
				t.Fatal(err)
			}
		}), []string{"its /init cannot be executed"}},
		"modules of another kernel": {repacked(func(t *testing.T, tree *initramfs.Tree) {
			t.Helper()
			tree.Remove("lib/modules")
			if err := tree.Add(initramfs.BytesFile("lib/modules/6.6.9/modules.builtin", nil, initramfs.Epoch())); err != nil {
				t.Fatal(err)
			}
		}), []string{"the kernel is 6.6.1 and its modules are for 6.6.9"}},
		"a dead layer": {repacked(swap(func(path string) bool { return strings.HasSuffix(path, "/diff/bin/cexec") })), []string{"embedded image 127.0.0.1/embedded/cexec:latest: the layer cannot be reassembled exactly"}},
		"no images":    {repacked(without("etc/embedded-images")), []string{"initramfs-x86_64: it has no embedded images, but manifest.json lists 1"}},
		"no names": {repacked(func(t *testing.T, tree *initramfs.Tree) {
			names, _ := tree.Lookup("etc/embedded-images/image/overlay2/repositories.json")
			if err := tree.Add(initramfs.BytesFile(names.Path, []byte(`{"Repositories":{}}`), names.ModTime)); err != nil {
				t.Fatal(err)
			}
		}), []string{"the image 127.0.0.1/embedded/cexec:latest, which manifest.json lists, is not embedded (embedded: none)"}},
		"a broken store": {repacked(swap(func(path string) bool { return strings.HasSuffix(path, "repositories.json") })), []string{"reading the images embedded in"}},
	} {
		t.Run(name, func(t *testing.T) {
			var faults []string
			for _, f := range p.findings(t, 3, p.spoiled(t, test.spoil)).Faults {
				faults = append(faults, f.String())
			}
			if len(faults) != len(test.want) {
				t.Errorf("%d faults:\n%s", len(faults), strings.Join(faults, "\n"))
			}
			for i := range min(len(faults), len(test.want)) {
				if !strings.Contains(faults[i], test.want[i]) {
					t.Errorf("no %q in %q", test.want[i], faults[i])
				}
			}
		})
	}
	t.Run("a broken store", func(t *testing.T) {
		template := filepath.Join(t.TempDir(), "template.yaml")
		site.WriteFile(t, template, goodTemplate)
		dir := p.spoiled(t, repacked(swap(func(path string) bool { return strings.HasSuffix(path, "repositories.json") })))
		got := p.run(3, "verify", dir, "--template", template)
		says(t, got.stdout, "images    not known", ", not known whether on board\n")
		if strings.Contains(got.stdout, "none on board") || strings.Count(got.stdout, "problem: ") != 1 {
			t.Errorf("it says\n%s", got.stdout)
		}
	})
	t.Run("no worker", func(t *testing.T) {
		dir := p.spoiled(t, func(*testing.T, string) {})
		says(t, p.run(0, "verify", dir).stdout, "worker    none on board")
		site.WriteFile(t, filepath.Join(dir, "cmdline-x86_64"), "console=ttyS0") // of a LinuxKit document
		if got := p.run(0, "verify", dir); strings.Contains(got.stdout, "worker") {
			t.Errorf("it says\n%s", got.stdout)
		}
	})
	t.Run("several at once", func(t *testing.T) {
		dir := p.spoiled(t, repacked(without("init")))
		remove("vmlinuz-x86_64")(t, dir)
		got := p.run(3, "verify", dir)
		if strings.Count(got.stdout, "problem: ") != 2 || !strings.Contains(got.stderr, "2 problems in vmlinuz-x86_64, initramfs-x86_64; standard output lists each") {
			t.Errorf("it says\n%s%s", got.stdout, got.stderr)
		}
	})
	t.Run("templates", p.templates)
	t.Run("misuse", p.misuse)
}

// TestVerifyNamesEveryImageOnBoard embeds an image that two references have.
func TestVerifyNamesEveryImageOnBoard(t *testing.T) {
	p, args := smallBuild(t)
	args = append(args, "--no-sbom")
	for _, name := range []string{"mytool", "same"} {
		site.Push(t, p.site.Host+"/"+name+":v1", map[string]string{"bin/tool": "tool"})
		args = append(args, "--image", p.site.Host+"/"+name+":v1=127.0.0.1/embedded/"+name)
	}
	says(t, p.run(0, args...).stderr, "put 3 images into a Docker store: 2 images (equal images are stored once), ")
	// The directory of the HookOS does as well as its initramfs, and so does the end of
	// the image's name.
	says(t, p.run(0, "embed", "--list", p.out).stdout, "127.0.0.1/embedded/same:latest")
	says(t, p.run(0, "extract-image", p.out, "mytool").stdout, "manifest.json")
	template := filepath.Join(t.TempDir(), "template.yaml")
	site.WriteFile(t, template, "tasks: [{name: t, actions: [{name: one, image: 127.0.0.1/embedded/othertool}]}]\n")
	r := p.findings(t, 3, p.out, "--template", template)
	if len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Problem, "(embedded: 127.0.0.1/embedded/cexec:latest, 127.0.0.1/embedded/mytool:latest, 127.0.0.1/embedded/same:latest)") {
		t.Errorf("%v", r.Faults)
	}
}

func (p proof) templates(t *testing.T) {
	dir := t.TempDir()
	good, bad, broken := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "broken.yaml")
	site.WriteFile(t, good, goodTemplate)
	site.WriteFile(t, bad, badTemplate)
	site.WriteFile(t, broken, "tasks: [")
	twice := filepath.Join(dir, "twice.yaml")
	site.WriteFile(t, twice, "tasks: [{name: t, actions: [{name: one, image: x/one}, {name: two, image: x/two}]}]\n")
	if r := p.findings(t, 3, p.out, "--template", twice); len(r.Faults) != 2 || !strings.Contains(r.Faults[1].String(), "(embedded: see above)") {
		t.Errorf("the images on board are named again: %v", r.Faults)
	}
	r := p.findings(t, 3, p.out, "--template", good, "--template", bad)
	want(t, []string{fmt.Sprint(len(r.Faults)), fmt.Sprint(len(r.Actions))}, "2", "4")
	for i, said := range []string{
		`bad.yaml:8: task "install", action "go": its image 127.0.0.1/embedded/cexec:v1 is not in initramfs-x86_64 (embedded: 127.0.0.1/embedded/cexec:latest); if it is one of EKS Anywhere's own actions, build with`,
		`bad.yaml:9: task "install", action "fly": its image {{...}}/y is a placeholder`,
	} {
		if !strings.Contains(r.Faults[i].String(), said) {
			t.Errorf("no %q in %q", said, r.Faults[i])
		}
	}
	// What cannot be read ends the command before the artifacts are read.
	for option, name := range map[string]string{"--template": broken, "--signature": broken, "--bundle": broken, "--cluster": good} {
		got := p.run(3, "verify", p.out, option, name)
		if !strings.Contains(got.stderr, name) || strings.Contains(got.stderr, "read the initramfs") {
			t.Errorf("%s %s: %s", option, name, got.stderr)
		}
	}
}

func (p proof) misuse(t *testing.T) {
	for name, test := range map[string]struct {
		code int
		args []string
		said string
	}{
		"no artifacts":         {3, []string{t.TempDir()}, "there are none in"},
		"no directory":         {3, []string{"/no/such"}, "there are none in"},
		"a file":               {2, []string{filepath.Join(p.out, "hook/manifest.json")}, "name a directory"},
		"two directories":      {2, []string{"a", "b"}, "one directory"},
		"no such architecture": {2, []string{"--arch", "riscv"}, "riscv"},
		"the other one":        {3, []string{p.out, "--arch", "arm64"}, "initramfs-aarch64"},
	} {
		got := p.run(test.code, append([]string{"verify"}, test.args...)...)
		if !strings.Contains(got.stderr, test.said) {
			t.Errorf("%s: %s", name, got.stderr)
		}
	}
}

// TestVerifySignature signs checksums.txt as docs/publish.md says.
func TestVerifySignature(t *testing.T) {
	p, build := smallBuild(t)
	p.run(0, build...)
	hook := filepath.Join(p.out, "hook")
	openssl := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "openssl"), args...)
		cmd.Dir = hook
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	keys := t.TempDir()
	private, public, other := filepath.Join(keys, "key.pem"), filepath.Join(keys, "key.pub"), filepath.Join(keys, "other.pub")
	openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", private)
	openssl("pkey", "-in", private, "-pubout", "-out", public)
	openssl("genpkey", "-algorithm", "ed25519", "-out", other+".pem")
	openssl("pkey", "-in", other+".pem", "-pubout", "-out", other)
	if got := p.run(3, "verify", "--signature", public, p.out); !strings.Contains(got.stdout, "there is no signature of it by such a key, neither checksums.txt.sigstore.json nor checksums.txt.sig") {
		t.Error(got.stdout)
	}
	openssl("dgst", "-sha256", "-sign", private, "-out", "checksums.txt.sig", "checksums.txt")
	if got := p.run(0, "verify", "--signature", public, p.out); !strings.Contains(got.stdout, "signature  checksums.txt.sig") {
		t.Error(got.stdout)
	}
	if got := p.run(3, "verify", "--signature", other, p.out); !strings.Contains(got.stdout, "problem: checksums.txt.sig: the signature is not one by this key") {
		t.Error(got.stdout)
	}
	p.run(3, "verify", "--signature", filepath.Join(hook, "manifest.json"), p.out)
	p.run(2, "verify", "--signature", public, filepath.Join(hook, "vmlinuz-x86_64"), filepath.Join(hook, "initramfs-x86_64"))
	change(t, filepath.Join(hook, artifact.ChecksumsFile), func(text []byte) []byte { return append(text, '\n') })
	p.run(3, "verify", "--signature", public, p.out)
	p.run(0, build...) // takes the signature of other checksums away
	if _, err := os.Stat(filepath.Join(hook, "checksums.txt.sig")); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}
