package modules

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// realModules returns the modules of Debian's cloud kernel as a tree, the Set
// read from it, and a directory with the indexes that depmod wrote.
func realModules(t *testing.T, arch string) (dir string, tree *initramfs.Tree, set *Set) {
	t.Helper()
	depmod := testneed.Tool(t, "depmod")
	files := kerneltest.Unpacked(t, kerneltest.CloudKernel(t, arch))
	tree = kerneltest.Tree(t, files)
	releases, err := filepath.Glob(filepath.Join(files, "lib/modules/*"))
	if err != nil || len(releases) != 1 {
		t.Fatalf("%s: releases %v, %v", files, releases, err)
	}
	dir = t.TempDir()
	release := filepath.Base(releases[0])
	set, err = Read(t.Context(), tree, release, 2)
	if err != nil {
		t.Fatal(err)
	}
	linkAll(t, releases[0], filepath.Join(dir, Root(release)))
	if out, err := exec.Command(depmod, "-b", dir, release).CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	return dir, tree, set
}

// linkAll creates the directory to with a link to everything in from.
func linkAll(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Symlink(name, filepath.Join(to, filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRealModules reads the modules of Debian's cloud kernels.
func TestRealModules(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			dir, tree, set := realModules(t, arch)
			if len(set.Modules) < 500 {
				t.Fatalf("only %d modules were read", len(set.Modules))
			}
			answers := askModprobe(t, dir, set)
			if err := set.WriteIndexes(tree); err != nil {
				t.Fatal(err)
			}
			t.Run("indexes are depmod's", func(t *testing.T) { compareIndexes(t, dir, tree, set) })
			for _, f := range indexFiles() {
				name := path.Join(Root(set.Release), f.name)
				if err := os.WriteFile(filepath.Join(dir, name), kerneltest.Content(t, tree, name), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(answers, askModprobe(t, dir, set)); diff != "" {
				t.Errorf("modprobe answers otherwise with our indexes than with depmod's (-depmod +ours):\n%s", diff)
			}
			t.Run("pruned", func(t *testing.T) {
				pruned(t, kerneltest.Tree(t, kerneltest.Unpacked(t, kerneltest.CloudKernel(t, arch))), set)
			})
			t.Run("catalog", func(t *testing.T) { catalogOf(t, tree, set) })
			t.Run("compressed", func(t *testing.T) { compressedModules(t, tree, set) })
		})
	}
}

// compareIndexes compares every file with the output of kmod's depmod for the
// same modules.
func compareIndexes(t *testing.T, dir string, tree *initramfs.Tree, set *Set) {
	for _, f := range indexFiles() {
		name := path.Join(Root(set.Release), f.name)
		want, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) && f.name == "modules.weakdep" {
			continue // kmod writes it since version 33
		}
		if err != nil {
			t.Fatal(err)
		}
		compareIndex(t, f.name, kerneltest.Content(t, tree, name), want)
	}
}

// compareIndex requires equal bytes, with two exceptions: the order of
// modules.symbols is that of depmod's hash table, and the order of a binary
// index's nodes changed between versions of kmod.
func compareIndex(t *testing.T, name string, got, want []byte) {
	t.Helper()
	switch {
	case strings.HasSuffix(name, ".bin"):
		if len(got) != len(want) {
			t.Errorf("%s has %d bytes, depmod's %d", name, len(got), len(want))
		}
		if diff := cmp.Diff(decodeTrie(t, want), decodeTrie(t, got)); diff != "" {
			t.Errorf("%s differs from depmod's (-want +got):\n%s", name, diff)
		}
	case name == "modules.symbols":
		if diff := cmp.Diff(sortedLines(want), sortedLines(got)); diff != "" {
			t.Errorf("%s differs from depmod's (-want +got):\n%s", name, diff)
		}
	case !bytes.Equal(got, want):
		t.Errorf("%s differs from depmod's (-want +got):\n%s", name, cmp.Diff(string(want), string(got)))
	}
}

func sortedLines(text []byte) []string {
	return slices.Sorted(strings.Lines(string(text)))
}

// askModprobe queries kmod's modprobe, the reader that matters.
func askModprobe(t *testing.T, dir string, set *Set) []string {
	t.Helper()
	modprobe := testneed.Tool(t, "modprobe")
	var answers []string
	for _, question := range [][]string{
		{"--show-depends", "btrfs"}, {"--show-depends", "overlay"}, {"--show-depends", "nf_conntrack"}, {"--show-depends", "ext4"},
		{"-R", "pci:v00001AF4d00001000sv*sd*bc*sc*i*"}, {"-R", "fs-btrfs"}, {"-R", "symbol:nf_send_unreach"}, {"-R", "crypto-crc32c"},
	} {
		args := append([]string{"-d", dir, "-S", set.Release}, question...)
		out, err := exec.Command(modprobe, args...).CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Errorf("modprobe %v: %v\n%s", question, err, out)
		}
		answers = append(answers, string(out))
	}
	return answers
}

// compressedModules compresses some modules with each method and reads them
// again.
func compressedModules(t *testing.T, tree *initramfs.Tree, set *Set) {
	suffixes := map[string]string{"gzip": ".gz", "xz": ".xz", "zstd": ".zst"}
	for i, tool := range []string{"gzip", "xz", "zstd"} {
		name := path.Join(Root(set.Release), set.Modules[i*10].Path)
		command := exec.Command(testneed.Tool(t, tool), "-c")
		command.Stdin = bytes.NewReader(kerneltest.Content(t, tree, name))
		packed, err := command.Output()
		if err != nil {
			t.Fatalf("%s: %v", tool, err)
		}
		tree.Remove(name)
		if err := tree.Add(initramfs.BytesFile(name+suffixes[tool], packed, initramfs.Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	packed, err := Read(t.Context(), tree, set.Release, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, suffix := range []string{".gz", ".xz", ".zst"} {
		m, want := packed.Modules[i*10], set.Modules[i*10]
		if m.Name != want.Name || m.Path != want.Path+suffix || !slices.Equal(m.Aliases, want.Aliases) || !slices.Equal(m.needs, want.needs) {
			t.Errorf("%s packed as %s is read as %+v", want.Path, suffix, m)
		}
	}
	if got, want := string(packed.aliasText()), string(set.aliasText()); got != want {
		t.Error("modules.alias changes with the compression")
	}
}

// pruned keeps some modules and their dependencies, and checks the result with
// depmod and modprobe.
func pruned(t *testing.T, tree *initramfs.Tree, set *Set) {
	kept, err := set.Choose(Choice{Include: []string{"btrfs", "fs/overlayfs", "drivers/net/veth", "net/netfilter/nf_conntrack*"}, Exclude: []string{"raid6_pq", "nf_conntrack_ftp"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(kept.Needed) != 1 || kept.Needed[0].Name != "raid6_pq" {
		t.Errorf("excluded but needed are %v", kept.Needed)
	}
	left, err := set.Prune(tree, kept)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for e := range tree.All() {
		name := filepath.Join(dir, e.Path)
		switch {
		case e.Type == initramfs.Dir:
			err = os.MkdirAll(name, 0o755)
		case strings.HasPrefix(e.Path, Root(set.Release)):
			err = os.WriteFile(name, kerneltest.Content(t, tree, e.Path), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, Root(set.Release), "kernel/drivers/scsi")); err == nil {
		t.Error("a directory without modules is left")
	}
	for name, want := range map[string]bool{"btrfs": true, "overlay": true, "veth": true, "nf_conntrack": true, "raid6_pq": true, "nf_conntrack_ftp": false, "cifs": false} {
		out, err := exec.Command(testneed.Tool(t, "modprobe"), "-d", dir, "-S", set.Release, "--show-depends", name).CombinedOutput()
		if (err == nil) != want {
			t.Errorf("modprobe %s: %v\n%s", name, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if file, found := strings.CutPrefix(strings.TrimSpace(line), "insmod "); found && want {
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s needs a module that is gone: %v", name, err)
				}
			}
		}
	}
	ours := kerneltest.Content(t, tree, Root(set.Release)+"/modules.dep")
	if out, err := exec.Command(testneed.Tool(t, "depmod"), "-b", dir, set.Release).CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	theirs, err := os.ReadFile(filepath.Join(dir, Root(set.Release), "modules.dep"))
	if err != nil || string(theirs) != string(ours) {
		t.Errorf("modules.dep of %d modules differs from depmod's, %v:\n%s", len(left.Modules), err, cmp.Diff(string(theirs), string(ours)))
	}
}

// catalogOf checks that the indexes contain the same information as the
// modules.
func catalogOf(t *testing.T, tree *initramfs.Tree, set *Set) {
	got, complete, err := catalogFromIndexes(tree, set.Release)
	if err != nil || !complete {
		t.Fatalf("the indexes are complete: %t, %v", complete, err)
	}
	want := set.Catalog()
	if len(got.Modules) != len(want.Modules) || !slices.Equal(got.BuiltinNames(), want.BuiltinNames()) {
		t.Fatalf("%d modules, not %d", len(got.Modules), len(want.Modules))
	}
	for _, w := range want.Modules {
		g, ok := got.Lookup(w.Name)
		if !ok || g.Path != w.Path || !slices.Equal(g.Aliases, w.Aliases) {
			t.Errorf("%s is listed as %+v", w.Path, g)
			continue
		}
		theirs, err := want.Firmware(w)
		ours, errOurs := got.Firmware(g)
		slices.Sort(theirs)
		slices.Sort(ours)
		if err != nil || errOurs != nil || !slices.Equal(ours, theirs) {
			t.Errorf("%s asks for %q, not %q; %v %v", w.Name, ours, theirs, err, errOurs)
		}
	}
	tree.Remove(Root(set.Release) + "/modules.alias")
	if _, complete, err := catalogFromIndexes(tree, set.Release); err != nil || complete {
		t.Errorf("without modules.alias the indexes are complete: %t, %v", complete, err)
	}
}
