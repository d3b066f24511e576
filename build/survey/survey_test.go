package survey

import (
	"bytes"
	"errors"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/embed"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/devices"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/modules"
	"hookbuild/test/testneed"
)

// system returns a HookOS with the files, configuration and embedded images.
func system(t *testing.T, name, config string, images []Image, files map[string]string) *System {
	t.Helper()
	s := &System{Name: name, Tree: &initramfs.Tree{}, HasTree: true, Images: images}
	for path, text := range files {
		if err := s.Tree.Add(initramfs.BytesFile(path, []byte(text), initramfs.Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := kconfig.Parse(strings.NewReader(config), name)
	if err != nil {
		t.Fatal(err)
	}
	s.Features = &kernel.Features{Config: parsed}
	s.Kernel = &kernel.Report{Release: "6.6.32", Arch: "x86_64", Format: "bzImage", Compression: "gzip", Digest: "sha256:" + name}
	if s.Catalog, err = modules.ReadCatalog(t.Context(), s.Tree, "6.6.32", 1); err != nil {
		t.Fatal(err)
	}
	s.Drivers = devices.ClaimsOf(s.Catalog)
	return s
}

func twoSystems(t *testing.T) (a, b *System) {
	const root = "lib/modules/6.6.32/"
	alias := func(module, device string) string {
		return module + ".alias=pci:v00008086d0000" + device + "sv*sd*bc*sc*i*\x00"
	}
	a = system(t, "a", "CONFIG_ICE=m\nCONFIG_SND=y\n", []Image{{ID: "sha256:1", Names: []string{"cexec:v1"}, Layers: []string{"sha256:a", "sha256:b"}}, {ID: "sha256:2", Names: []string{"kexec:v1"}}}, map[string]string{
		root + "modules.builtin.modinfo": alias("e1000e", "10D3") + alias("igb", "1521"),
		"etc/motd":                       "one", "etc/same": "same", "old/file": "x", "lib/firmware/a.bin": "a",
	})
	b = system(t, "b", "CONFIG_ICE=y\n", []Image{{ID: "sha256:3", Names: []string{"cexec:v1"}, Layers: []string{"sha256:a", "sha256:c"}}, {ID: "sha256:4", Names: []string{"reboot:v1"}, Size: 5}}, map[string]string{
		root + "modules.builtin.modinfo": alias("e1000e", "10D3") + alias("e1000e", "10F6") + alias("ice", "1592"),
		"etc/motd":                       "two", "etc/same": "same", "new/deep/file": "x", "lib/firmware/b/b.bin": "b",
	})
	return a, b
}

func TestCompare(t *testing.T) {
	a, b := twoSystems(t)
	got, err := Compare(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := &Diff{
		From: "a", To: "b",
		Facts:   []Fact{{"kernel file", "sha256:a", "sha256:b"}},
		Options: []kconfig.Change{{Option: "CONFIG_ICE", Old: "m", New: "y"}, {Option: "CONFIG_SND", Old: "y", New: "n"}},
		Drivers: []DriverChange{
			{Module: "e1000e", Gained: []string{"pci 8086:10f6"}, Now: "built in"},
			{Module: "ice", Gained: []string{"pci 8086:1592"}, Now: "built in"},
			{Module: "igb", Lost: []string{"pci 8086:1521"}, Now: "gone"},
		},
		Firmware: Names{Added: []string{"lib/firmware/b/b.bin"}, Removed: []string{"lib/firmware/a.bin"}},
		Files:    Names{Added: []string{"new/deep/file"}, Removed: []string{"old/file"}, Changed: []string{"etc/motd"}},
		Images: []ImageChange{
			{"cexec:v1", "sha256:1", "sha256:3", &LayerChange{Kept: 1, Added: []string{"sha256:c"}, Removed: []string{"sha256:b"}}},
			{Name: "kexec:v1", Old: "sha256:2"}, {Name: "reboot:v1", New: "sha256:4"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var text, narrow bytes.Buffer
	if err := errors.Join(got.WriteText(&text, 0), got.WriteText(&narrow, 24)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(narrow.String()) {
		if len(line) > 24+1 {
			t.Errorf("a terminal of 24 columns gets %q", line)
		}
	}
	if squeeze := strings.NewReplacer(" ", "", "\n", ""); !strings.Contains(squeeze.Replace(narrow.String()), "-lib/firmware/a.bin") {
		t.Errorf("a narrow terminal does not get everything:\n%s", &narrow)
	}
	for _, line := range []string{"  CONFIG_ICE: m -> y", "  ice (built in)\n    + pci 8086:1592", "  - lib/firmware/a.bin", "  ~ etc/motd", "      layers: 1 the same, 1 added, 1 removed", "  + reboot:v1\n      sha256:4"} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("no %q in\n%s", line, &text)
		}
	}
	if same, err := Compare(t.Context(), a, a); err != nil || !same.Empty() {
		t.Errorf("a system differs from itself: %+v, %v", same, err)
	}
}

// An image that has only another configuration, such as another label, has the same
// layers. Files of the store are compared if its images are the same.
func TestCompareStores(t *testing.T) {
	of := func(id, record string) *System {
		return system(t, "a", "", []Image{{ID: id, Names: []string{"cexec:v1"}, Layers: []string{"sha256:a", "sha256:b"}}}, map[string]string{
			embed.StorePath + "/image/overlay2/layerdb/sha256/a/cache-id": record,
			embed.StorePath + "/overlay2/" + record + "/diff/file":        "x",
		})
	}
	for _, c := range []struct {
		to   *System
		want string
	}{
		{of("sha256:2", "other"), "images         1 changed\n  ~ cexec:v1\n      sha256:1 ->\n      sha256:2\n      the same 2 layers, another configuration\n"},
		{of("sha256:1", "other"), "image store    0 added, 0 removed, 1 changed\n  ~ " + embed.StorePath + "/image/overlay2/layerdb/sha256/a/cache-id\n"},
	} {
		d, err := Compare(t.Context(), of("sha256:1", "record"), c.to)
		var text bytes.Buffer
		if err := errors.Join(err, d.WriteText(&text, 0)); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimPrefix(text.String(), "from a\nto   a\n"); got != c.want {
			t.Errorf("the difference is\n%s\nwant\n%s", got, c.want)
		}
	}
}

func TestTreemap(t *testing.T) {
	big := strings.Repeat("x", 10000)
	s := system(t, "s", "", nil, map[string]string{"a/b/c/big": big, "a/b/c/other": big, "d/1": "1", "d/2": "22", "d/big": big})
	root := s.treemap()
	if root.Size != 30003 || root.Files != 5 || len(root.Children) != 2 {
		t.Fatalf("the root is %+v", root)
	}
	if a, d := root.Children[0], root.Children[1]; a.Name != "a/b/c" || a.Size != 20000 || len(d.Children) != 2 || d.Children[1].Files != 2 || d.Children[1].Name != "" {
		t.Errorf("the children are %+v and %+v", a, d)
	}
}

// TestPage draws the page in a browser without network access, as wide as a
// desktop's window and a phone's.
func TestPage(t *testing.T) {
	a, b := twoSystems(t)
	diff, err := Compare(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	b.Name = "<script>alert(1)</script>"
	var page bytes.Buffer
	if err := WritePage(&page, b, diff); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script>alert") {
		t.Error("a name was executed as a script")
	}
	if found := regexp.MustCompile(`(?:src|href)=|url\(|@import|https?://`).FindString(page.String()); found != "" {
		t.Errorf("the page loads something: %s", found)
	}
	chromium := testneed.Tool(t, "chromium")
	dir := t.TempDir()
	file := filepath.Join(dir, "page.html")
	if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	draw := func(more ...string) string {
		t.Helper()
		args := []string{"--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + filepath.Join(dir, "profile"),
			"--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000"}
		out, err := exec.Command(chromium, append(append(args, more...), "file://"+file)...).Output()
		if err != nil {
			t.Fatalf("running chromium: %v", err)
		}
		return string(out)
	}
	for _, size := range []string{"1280,1600", "390,1600"} {
		if n := strings.Count(draw("--window-size="+size, "--dump-dom"), `class="cell`); n < 3 {
			t.Errorf("at %s the treemap has %d boxes", size, n)
		}
	}
	corner := func(scheme string) color.Color {
		t.Helper()
		shot := filepath.Join(dir, "shot.png")
		draw("--window-size=400,400", "--blink-settings=preferredColorScheme="+scheme, "--screenshot="+shot)
		content, err := os.ReadFile(shot)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		return color.RGBAModel.Convert(img.At(0, 0))
	}
	for scheme, want := range map[string]color.RGBA{"0": {0x12, 0x16, 0x1c, 0xff}, "1": {0xf6, 0xf7, 0xf9, 0xff}} {
		if got := corner(scheme); got != want {
			t.Errorf("in the colour scheme %s (0 is dark) the background is %v, want %v", scheme, got, want)
		}
	}
}

// A module of the same release that was built anew is told, and one of another release
// is not compared.
func TestCompareModules(t *testing.T) {
	tree := func(files map[string]string) *System {
		s := &System{Tree: &initramfs.Tree{}, HasTree: true}
		for path, text := range files {
			if err := s.Tree.Add(initramfs.BytesFile("lib/modules/"+path, []byte(text), initramfs.Epoch())); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	old := tree(map[string]string{"6.6.32/updates/snd-ice.ko": "1.13", "6.6.32/kernel/igb.ko.zst": "same", "6.6.32/modules.dep": "x"})
	now := tree(map[string]string{"6.6.32/updates/snd-ice.ko": "1.14", "6.6.32/kernel/igb.ko.zst": "same", "6.6.32/modules.dep": "y", "6.6.33/kernel/igb.ko.zst": "other"})
	d, err := Compare(t.Context(), old, now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Names{Changed: []string{"snd_ice"}}, d.Modules); diff != "" || d.Empty() {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPageOfAKernelAlone(t *testing.T) {
	s := &System{Name: "vmlinuz", Tree: &initramfs.Tree{}, Kernel: &kernel.Report{Release: "6.6.32", Arch: "x86_64"}}
	var page bytes.Buffer
	if err := WritePage(&page, s, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "give the initramfs too") || strings.Contains(page.String(), `id="map"`) {
		t.Errorf("the page is\n%s", &page)
	}
}
