package modules

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
)

// decodeTrie reads a binary index as libkmod does and returns "key priority
// value" in the order of keys; values of one key keep their order.
func decodeTrie(t *testing.T, index []byte) []string {
	t.Helper()
	word := func(at uint32) uint32 { return binary.BigEndian.Uint32(index[at:]) }
	if word(0) != trieMagic || word(4) != trieVersion {
		t.Fatalf("the index begins with % x", index[:8])
	}
	text := func(at uint32) string {
		end := bytes.IndexByte(index[at:], 0)
		return string(index[at : int(at)+end])
	}
	var out []string
	var walk func(offset uint32, key string)
	walk = func(offset uint32, key string) {
		at := offset & 0x0FFFFFFF
		if offset&trieHasPrefix != 0 {
			prefix := text(at)
			key += prefix
			at += uint32(len(prefix)) + 1
		}
		var children []func()
		if offset&trieHasChildren != 0 {
			first, last := index[at], index[at+1]
			at += 2
			for b := int(first); b <= int(last); b++ {
				if child := word(at); child != 0 {
					children = append(children, func() { walk(child, key+string(rune(b))) })
				}
				at += 4
			}
		}
		if offset&trieHasValues != 0 {
			count := word(at)
			at += 4
			for range count {
				value := text(at + 4)
				out = append(out, fmt.Sprintf("%s %d %s", key, word(at), value))
				at += 4 + uint32(len(value)) + 1
			}
		}
		for _, child := range children {
			child()
		}
	}
	walk(word(8), "")
	return out
}

func FuzzTrie(f *testing.F) {
	f.Add("pci:v1 pci:v2 pci p usb usb", "a b")
	f.Add("x", "")
	f.Fuzz(func(t *testing.T, keys, values string) {
		root := &trieNode{}
		var want []string
		for i, key := range strings.Fields(keys) {
			value := strings.Fields(values + " v")[i%len(strings.Fields(values+" v"))]
			if root.insert(key, value, i) {
				want = append(want, fmt.Sprintf("%s %d %s", key, i, value))
			}
		}
		got := decodeTrie(t, root.encode())
		sort.Strings(got)
		sort.Strings(want)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("written %q, read %q", want, got)
		}
	})
}

func TestNormalizeAlias(t *testing.T) {
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"crypto-sha256", "crypto_sha256", true},
		{"usb:v0[0-9]d-*", "usb:v0[0-9]d_*", true},
		{"a[0-9", "", false},
		{"a]b", "", false},
		{"", "", true},
	} {
		got, ok := normalizeAlias(c.in)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q becomes %q, %v; want %q, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

// made returns a set of modules with these exports and needs ("name exports
// needs", lists with commas).
func made(t *testing.T, lines ...string) (*Set, error) {
	t.Helper()
	s := &Set{Release: "1.2.3", byName: map[string]*Module{}, owners: map[string]*Module{}}
	var list []*Module
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '-' })
	}
	for _, line := range lines {
		f := strings.Fields(line)
		list = append(list, &Module{Name: f[0], Path: "kernel/" + f[0] + ".ko", exports: split(f[1]), needs: split(f[2])})
	}
	s.sort(list, nil)
	return s, s.link()
}

func TestDependencies(t *testing.T) {
	s, err := made(t, "top - a,b", "mid a b,c", "low b,c -", "alone - printk")
	if err != nil {
		t.Fatal(err)
	}
	want := "kernel/top.ko: kernel/mid.ko kernel/low.ko\nkernel/mid.ko: kernel/low.ko\nkernel/low.ko:\nkernel/alone.ko:\n"
	if got := string(s.depText()); got != want {
		t.Errorf("modules.dep is\n%swant\n%s", got, want)
	}
}

func TestCircularDependency(t *testing.T) {
	_, err := made(t, "one a b", "two b a", "three - a")
	if err == nil || !strings.Contains(err.Error(), "circle: one, two") {
		t.Errorf("one and two need each other; the error is %v", err)
	}
}

func TestDevname(t *testing.T) {
	for _, c := range []struct {
		aliases []string
		want    string
	}{
		{[]string{"devname:fuse", "char-major-10-229"}, "m fuse c10:229\n"},
		{[]string{"block-major-7-0", "devname:loop"}, "m loop b7:0\n"},
		{[]string{"devname:fuse"}, ""},
		{[]string{"char-major-10-229"}, ""},
		{[]string{"devname:x", "char-major-10-*"}, ""},
	} {
		got, _ := (&Module{Name: "m", Aliases: c.aliases}).devname()
		if got != c.want {
			t.Errorf("%q give %q, want %q", c.aliases, got, c.want)
		}
	}
}

func TestUpdatesWin(t *testing.T) {
	tree := &initramfs.Tree{}
	for _, name := range []string{"kernel/net/x-y.ko", "updates/dkms/x_y.ko.xz", "kernel/z.ko"} {
		if err := tree.Add(initramfs.BytesFile("lib/modules/1/"+name, nil, initramfs.Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range moduleFiles(tree, "lib/modules/1") {
		got = append(got, e.Path)
	}
	if want := "lib/modules/1/kernel/z.ko lib/modules/1/updates/dkms/x_y.ko.xz"; strings.Join(got, " ") != want {
		t.Errorf("taken are %q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		m := &Module{Path: "kernel/x.ko"}
		if err := m.parse(content); err != nil {
			return
		}
	})
}

func TestDamagedModule(t *testing.T) {
	tree := &initramfs.Tree{}
	if err := tree.Add(initramfs.BytesFile("lib/modules/1/kernel/bad.ko", []byte("<html>"), initramfs.Epoch())); err != nil {
		t.Fatal(err)
	}
	_, err := Read(t.Context(), tree, "1", 1)
	if err == nil || !strings.Contains(err.Error(), `the module "kernel/bad.ko"`) {
		t.Errorf("the error is %v", err)
	}
}

// TestCatalogReadsNoModule has whole indexes beside a module that nobody can read:
// it is not looked at until its firmware is asked for.
func TestCatalogReadsNoModule(t *testing.T) {
	const alias = "pci:v00008086d00001592sv*sd*bc*sc*i*"
	tree := &initramfs.Tree{}
	for name, text := range map[string]string{
		"modules.dep": "kernel/ice.ko.xz:\n", "modules.alias": "alias " + alias + " ice\n", "modules.builtin": "", "kernel/ice.ko.xz": "damaged",
	} {
		if err := tree.Add(initramfs.BytesFile("lib/modules/1/"+name, []byte(text), initramfs.Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	c, err := ReadCatalog(t.Context(), tree, "1", 1)
	if err != nil || len(c.Modules) != 1 || !slices.Equal(c.Modules[0].Aliases, []string{alias}) {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := c.Firmware(c.Modules[0]); err == nil {
		t.Error("the module can be read: the test proves nothing")
	}
}

func TestPatterns(t *testing.T) {
	m := &Module{Name: "snd_hda_intel", Path: "kernel/sound/pci/hda/snd-hda-intel.ko.xz"}
	for pattern, want := range map[string]bool{
		"snd-hda-intel": true, "snd_hda_intel": true, "snd-*": true, "sound": true, "sound/": true, "sound/pci": true, "kernel/sound": true,
		"sound/pci/hda/snd-hda-intel": true, "sound/*/hda": true, "sound/usb": false, "hda": false, "sound/pci/hda/snd-hda-intel/x": false, "snd": false,
	} {
		if got, err := m.matches(pattern); err != nil || got != want {
			t.Errorf("%q matches: %v, %v; want %v", pattern, got, err, want)
		}
	}
	s, err := made(t, "one a -")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"two", "[", "drivers/["} {
		if _, err := s.Choose(Choice{Exclude: []string{pattern}}); err == nil || !strings.Contains(err.Error(), pattern) {
			t.Errorf("the pattern %q gives %v", pattern, err)
		}
	}
}

func TestFirmware(t *testing.T) {
	s, err := made(t, "ice - -", "iwlwifi - -")
	if err != nil {
		t.Fatal(err)
	}
	s.Modules[0].Firmware = []string{"intel/ice/ddp/ice.pkg", "absent.bin"}
	s.Modules[1].Firmware = []string{"iwlwifi-*.ucode"}
	s.builtinFields = []builtinField{{"tg3", "firmware=tigon/tg3.bin"}}
	from, to := &initramfs.Tree{}, &initramfs.Tree{}
	for _, e := range []initramfs.Entry{
		initramfs.BytesFile("lib/firmware/intel/ice/ddp/ice-1.3.30.0.pkg.zst", []byte("ddp"), initramfs.Epoch()),
		{Path: "lib/firmware/intel/ice/ddp/ice.pkg.zst", Type: initramfs.Symlink, Target: "ice-1.3.30.0.pkg.zst"},
		initramfs.BytesFile("lib/firmware/iwlwifi-7265-17.ucode", []byte("w"), initramfs.Epoch()),
		initramfs.BytesFile("lib/firmware/iwlwifi-8000C-36.ucode", []byte("w"), initramfs.Epoch()),
		initramfs.BytesFile("lib/firmware/tigon/tg3.bin", []byte("t"), initramfs.Epoch()),
		initramfs.BytesFile("lib/firmware/unused.bin", []byte("u"), initramfs.Epoch()),
	} {
		if err := from.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	missing, err := s.AddFirmware(to, from)
	if err != nil || len(missing) != 1 || missing[0].Name != "absent.bin" || missing[0].Module != "ice" {
		t.Errorf("missing are %v, %v", missing, err)
	}
	var got []string
	for e := range to.All() {
		if e.Type != initramfs.Dir {
			got = append(got, e.Path)
		}
	}
	want := "lib/firmware/intel/ice/ddp/ice.pkg.zst lib/firmware/iwlwifi-7265-17.ucode lib/firmware/iwlwifi-8000C-36.ucode lib/firmware/tigon/tg3.bin"
	if strings.Join(got, " ") != want {
		t.Errorf("added are %q, want %q", got, want)
	}
}

// FuzzIndexes reads text files that come with modules.
func FuzzIndexes(f *testing.F) {
	f.Add("kernel/a.ko: kernel/b.ko\nkernel/b.ko:\n", "alias pci:v00008086d*sv*sd*bc*sc*i* a\n", "a.alias=x\x00a.firmware=y\x00", "kernel/c.ko\n")
	f.Add("a.ko", "alias", "\x00.=\x00", "/")
	f.Fuzz(func(t *testing.T, dep, alias, info, list string) {
		tree := &initramfs.Tree{}
		for name, text := range map[string]string{"modules.dep": dep, "modules.alias": alias, "modules.builtin.modinfo": info, "modules.builtin": list, "modules.order": list, "kernel/a.ko": "", "kernel/b.ko": ""} {
			if err := tree.Add(initramfs.BytesFile("lib/modules/1/"+name, []byte(text), initramfs.Epoch())); err != nil {
				t.Fatal(err)
			}
		}
		c, complete, err := catalogFromIndexes(tree, "1")
		if err != nil || !complete {
			return
		}
		if len(c.Modules) != 2 {
			t.Errorf("%d modules", len(c.Modules))
		}
		for _, name := range c.BuiltinNames() {
			c.BuiltinValues(name, "alias")
		}
	})
}
