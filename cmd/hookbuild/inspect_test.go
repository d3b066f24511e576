package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/build/survey"
	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// inspected runs inspect on a small kernel and its initramfs.
func inspected(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return inspectedBeside(t, "", args...)
}

// inspectedBeside is inspected with a manifest.json beside the files, "" for none.
func inspectedBeside(t *testing.T, manifest string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	if manifest != "" {
		kerneltest.WriteFile(t, filepath.Join(dir, artifact.ManifestFile), []byte(manifest))
	}
	vmlinuz := filepath.Join(dir, "vmlinuz-x86_64")
	kerneltest.WriteFile(t, vmlinuz, kerneltest.BzImage(t, "6.6.32", "CONFIG_RD_ZSTD=y\nCONFIG_SQUASHFS=m\n# CONFIG_ICE is not set\n# CONFIG_MLX5_CORE is not set\n"))
	bare := filepath.Join(dir, "vmlinuz-bare")
	kerneltest.WriteFile(t, bare, kerneltest.BzImage(t, "6.6.32", ""))
	var tree initramfs.Tree
	for name, text := range map[string]string{
		"lib/modules/6.6.32/modules.builtin":         "kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko\n",
		"lib/modules/6.6.32/modules.builtin.modinfo": "e1000e.alias=pci:v00008086d000010D3sv*sd*bc*sc*i*\x00",
		"usr/bin/tool": strings.Repeat("x", 5000),
	} {
		if err := tree.Add(initramfs.BytesFile(name, []byte(text), initramfs.Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if err := initramfs.WriteSegment(t.Context(), &packed, &tree, initramfs.SegmentOptions{Compression: initramfs.Zstd}); err != nil {
		t.Fatal(err)
	}
	initrd := filepath.Join(dir, "initramfs-x86_64")
	kerneltest.WriteFile(t, initrd, packed.Bytes())
	for i, arg := range args {
		args[i] = strings.NewReplacer("VMLINUZ", vmlinuz, "BARE", bare, "INITRAMFS", initrd, "DIR", dir).Replace(arg)
	}
	var out, errs bytes.Buffer
	env := environment{getenv: os.Getenv, stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	code = run(t.Context(), append([]string{"inspect", "--cache-dir", dir, "--progress", "plain"}, args...), env)
	return code, out.String(), errs.String()
}

func TestInspect(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"kernel":    {[]string{"VMLINUZ"}, []string{"Linux 6.6.32 for x86_64, bzImage (gzip)", "CONFIG_RD_ZSTD", "from the configuration inside the kernel"}},
		"initramfs": {[]string{"INITRAMFS"}, []string{"segment 1", "zstd at 0", "usr/bin", "RAM to boot"}},
		"option":    {[]string{"VMLINUZ", "--config", "SQUASHFS", "--config", "CONFIG_ENIC"}, []string{"SQUASHFS     module", "CONFIG_ENIC  missing"}},
		"option of modules": {
			[]string{"BARE", "INITRAMFS", "--config", "CONFIG_ICE", "--config", "E1000E", "--config", "HZ"},
			[]string{
				"CONFIG_ICE  missing (the kernel carries no configuration, CONFIG_IKCONFIG; judged by the module ice)",
				"E1000E      built in (the kernel carries no configuration",
				"HZ          unknown (the kernel carries no configuration, CONFIG_IKCONFIG, and which module the option builds, if any, is not known)",
			},
		},
		"ready to paste": {[]string{"VMLINUZ", "INITRAMFS", "--pci", "15b3:1017", "--pci", "8086:1592"},
			[]string{"\nhookbuild all --kernel build --set CONFIG_MLX5_CORE=m --set CONFIG_MLX5_CORE_EN=y --set CONFIG_ICE=m --firmware /lib/firmware\n"}},
		"option of a module that no device names": {[]string{"BARE", "INITRAMFS", "--config", "CONFIG_MLX4_EN"}, []string{"missing (the kernel carries no configuration, CONFIG_IKCONFIG; judged by the module mlx4_en)"}},
		"option without modules":                  {[]string{"BARE", "--config", "CONFIG_ICE"}, []string{"and the module ice: not known without its modules; add the initramfs)"}},
		"vmlinuz alone": {[]string{"VMLINUZ", "--pci", "8086:1592", "--pci", "144d:a80a"},
			[]string{"ice: missing; CONFIG_ICE adds it", "add the class, as in"}},
		"devices": {[]string{"VMLINUZ", "INITRAMFS", "--pci", "8086:10d3", "--pci", "8086:1592"},
			[]string{"pci 8086:10d3  e1000e: built in", "pci 8086:1592\n    ice: missing; CONFIG_ICE adds it; firmware not on board:\n      intel/ice/ddp/ice.pkg", "\nWhat the kernel lacks is looked up in Linux "}},
		"initramfs alone": {[]string{"INITRAMFS", "--pci", "8086:10d3"}, []string{"e1000e: built in"}},
	} {
		code, stdout, stderr := inspected(t, c.args...)
		if code != 0 {
			t.Errorf("%s: exit code %d\n%s", name, code, stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q in\n%s", name, want, stdout)
			}
		}
	}
}

// TestInspectNamesTheFlavor checks the command that builds with missing drivers.
func TestInspectNamesTheFlavor(t *testing.T) {
	for _, test := range []struct{ more, location, release, want string }{
		{want: "hookbuild all hook-lts-amd64 --embed-from-bundle --kernel build "},
		{release: "v0.24.1", want: "hookbuild all hook-lts-amd64 --eksa-version v0.24.1 --kernel build "},
		{location: "bundle.yaml", release: "v0.24.1", want: "hookbuild all hook-lts-amd64 --embed-from-bundle --bundle bundle.yaml --kernel build "},
		{location: "https://a.example/b.yaml", release: "v0.24.1", want: "hookbuild all hook-lts-amd64 --eksa-version v0.24.1 --kernel build "},
		{more: "cmdline-x86_64", want: "hookbuild all --kernel build "},
	} {
		a := artifact.Build{ID: "x86_64", Arch: "x86_64", Flavor: "hook-lts-amd64", Bundle: &artifact.Bundle{Release: test.release, Location: test.location}, Artifacts: []artifact.File{{Name: "initramfs-x86_64"}, {Name: test.more}}}
		manifest := filepath.Join(artifactsOf(t, "hook", a), "hook", artifact.ManifestFile)
		code, stdout, stderr := inspectedBeside(t, readFile(t, manifest), "VMLINUZ", "INITRAMFS", "--pci", "8086:1592")
		if code != 0 || !strings.Contains(stdout, "\n"+test.want) {
			t.Errorf("exit code %d, no %q in\n%s%s", code, test.want, stdout, stderr)
		}
	}
}

func TestInspectJSON(t *testing.T) {
	code, stdout, stderr := inspected(t, "VMLINUZ", "INITRAMFS", "--json", "--config", "RD_ZSTD", "--usb", "0bda:8153")
	var got struct {
		Kernel    struct{ Release string }
		Initramfs struct{ Files int }
		Options   map[string]string
		Devices   []struct {
			Drivers []struct{ Module, State string }
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if got.Kernel.Release != "6.6.32" || got.Initramfs.Files == 0 || got.Options["RD_ZSTD"] != "built in" || len(got.Devices) != 1 || got.Devices[0].Drivers[0].State != "missing" {
		t.Errorf("the findings are %+v", got)
	}
}

func TestInspectErrors(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":     {nil, 3, "out/hook"},
		"missing":     {[]string{"/no/such"}, 3, "/no/such"},
		"two kernels": {[]string{"VMLINUZ", "VMLINUZ"}, 2, "only one kernel, or compare two with --diff"},
		"no kernel":   {[]string{"INITRAMFS", "--config", "ENIC"}, 2, "give the vmlinuz too"},
		"misspelt":    {[]string{"VMLINUZ", "--config", "SQUASHFS_ZTSD"}, 2, "CONFIG_SQUASHFS_ZSTD"},
		"small":       {[]string{"VMLINUZ", "--config", "enic"}, 2, "CONFIG_ENIC"},
		"swapped":     {[]string{"VMLINUZ", "--config", "IEC"}, 2, "did you mean CONFIG_ICE"},
		"bad device":  {[]string{"VMLINUZ", "--pci", "8086"}, 2, "lspci -nn"},
		"no list":     {[]string{"VMLINUZ", "--lspci", "/no/such"}, 3, "/no/such"},
	} {
		code, _, stderr := inspected(t, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, want %d; it should say %q:\n%s", name, code, c.code, c.want, stderr)
		}
	}
}

// TestInspectManyDevices looks for the drivers of thousands of devices, and checks
// that the columns fit. The aliases are parsed and the modules read once, not for each
// device: then 3000 devices would allocate about 3000 times what one does.
func TestInspectManyDevices(t *testing.T) {
	lspci := func(devices int) (stdout string, allocated uint64) {
		var list strings.Builder
		for i := range devices {
			fmt.Fprintf(&list, "%02x:%02x.0 Ethernet controller [0200]: A name that is long enough to need a line of its own [8086:%04x]\n", i>>5, i&31, i)
		}
		name := filepath.Join(t.TempDir(), "lspci.txt")
		kerneltest.WriteFile(t, name, []byte(list.String()))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		code, stdout, stderr := inspected(t, "VMLINUZ", "INITRAMFS", "--lspci", name)
		runtime.ReadMemStats(&after)
		if code != 0 {
			t.Fatalf("%d devices: exit code %d\n%s", devices, code, stderr)
		}
		return stdout, after.TotalAlloc - before.TotalAlloc
	}
	_, one := lspci(1)
	stdout, many := lspci(3000)
	t.Logf("one device: %d bytes allocated, 3000 devices: %d", one, many)
	if many > 100*one {
		t.Errorf("3000 devices allocate %d bytes, one allocates %d", many, one)
	}
	for line := range strings.Lines(stdout) {
		if len(line) > 81 && !strings.HasPrefix(line, "hookbuild all ") { // which is to be pasted
			t.Errorf("a line of %d columns: %s", len(line), line)
		}
	}
	if !strings.Contains(stdout, "of 3000 devices have a driver here") {
		t.Errorf("no summary at the end of\n%s", stdout[max(0, len(stdout)-500):])
	}
}

// What dockerd would list of two stores is compared: names by tag and by digest, IDs
// and layers, and the store's layout.
func TestInspectDiffOfImages(t *testing.T) {
	s := site.New(t, nil)
	e := embedding{t, s, t.TempDir()}
	digest := site.Push(t, s.Host+"/actions/cexec:v1", map[string]string{"cexec": "the action"})
	site.Push(t, s.Host+"/actions/cexec:v2", map[string]string{"cexec": "a newer action"})
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	baseInitramfs(t, in, initramfs.Zstd)
	made := func(name string, args ...string) string {
		out := filepath.Join(dir, name)
		e.run(0, append([]string{"embed", "--initramfs", in, "-o", out}, args...)...)
		return out
	}
	image := s.Host + "/actions/cexec"
	first := made("first", "--image", image+":v1=127.0.0.1/embedded/cexec")
	for name, c := range map[string]struct {
		other string
		lines []string
	}{
		"renamed":        {made("renamed", "--image", image+":v1=127.0.0.1/embedded/other"), []string{"  + 127.0.0.1/embedded/other:latest", "  - 127.0.0.1/embedded/cexec:latest"}},
		"newer":          {made("newer", "--image", image+":v2=127.0.0.1/embedded/cexec"), []string{"  ~ 127.0.0.1/embedded/cexec:latest", "      layers: 0 the same, 1 added, 1 removed"}},
		"by digest":      {made("digest", "--image", image+"@"+digest+"="+image+"@"+digest, "--image", image+":v1=127.0.0.1/embedded/cexec"), []string{"  + " + image + "@" + digest}},
		"another layout": {made("directory", "--image", image+":v1=127.0.0.1/embedded/cexec", "--layout", "directory"), []string{"image layout   packed -> directory"}},
		"the same":       {made("again", "--image", image+":v1=127.0.0.1/embedded/cexec"), []string{"nothing differs in what they do; compare checksums to know whether the files are the same"}},
	} {
		page := filepath.Join(dir, "page.html")
		text := e.run(0, "inspect", "--diff", first, c.other, "--html", page).stdout
		for _, line := range c.lines {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("%s: no %q in\n%s", name, line, text)
			}
		}
		var diff survey.Diff
		if err := json.Unmarshal([]byte(e.run(0, "inspect", "--diff", first, c.other, "--json").stdout), &diff); err != nil {
			t.Fatal(err)
		}
		shown := html.UnescapeString(readFile(t, page))
		for _, change := range diff.Images {
			if !strings.Contains(shown, " "+change.Name+"</span>") || change.New != "" && !strings.Contains(shown, change.New) {
				t.Errorf("%s: the page lacks %+v", name, change)
			}
		}
		if name != "the same" && diff.Empty() || name != "the same" && name != "another layout" && len(diff.Images) == 0 {
			t.Errorf("%s: --json has %+v", name, diff)
		}
	}
}

// TestInspectDiff compares a HookOS with itself and with its kernel alone, and
// writes the page.
func TestInspectDiff(t *testing.T) {
	page := filepath.Join(t.TempDir(), "report.html")
	code, stdout, stderr := inspected(t, "--diff", "--html", page, "INITRAMFS", "DIR")
	if code != 0 || !strings.Contains(stdout, "nothing differs") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(text), "Linux 6.6.32 for x86_64") || !strings.Contains(string(text), "Nothing differs") {
		t.Errorf("the page has %d bytes, %v", len(text), err)
	}
	code, stdout, stderr = inspected(t, "--diff", "--json", "VMLINUZ", "INITRAMFS")
	var diff struct{ Unknown []string }
	if err := json.Unmarshal([]byte(stdout), &diff); err != nil || code != 0 || len(diff.Unknown) != 2 {
		t.Errorf("exit code %d, %v: %q\n%s", code, err, diff.Unknown, stderr)
	}
	for name, args := range map[string][]string{
		"both write to standard output": {"--html", "-", "--json", "VMLINUZ"},
		"two":                           {"--diff", "VMLINUZ"}, "show everything": {"--html", page, "--modules", "VMLINUZ"}, "is a directory": {"--html", filepath.Dir(page), "VMLINUZ"},
	} {
		if code, _, stderr := inspected(t, args...); code != 2 || !strings.Contains(stderr, name) {
			t.Errorf("%s: exit code %d\n%s", name, code, stderr)
		}
	}
}

// The JSON is what inspect prints without a page.
func TestInspectPageAndJSON(t *testing.T) {
	_, want, _ := inspected(t, "DIR", "--json")
	page := filepath.Join(t.TempDir(), "report.html")
	code, got, stderr := inspected(t, "DIR", "--html", page, "--json")
	if code != 0 || got != want || !strings.Contains(got, `"kernel"`) {
		t.Errorf("exit code %d, want the JSON\n%s\ngot\n%s%s", code, want, got, stderr)
	}
	if info, err := os.Stat(page); err != nil || info.Size() == 0 {
		t.Errorf("the page: %v, %v", info, err)
	}
}

// A file with holes is refused before it is read, whatever its size.
func TestInspectSparse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	for _, begin := range []string{"070701", ""} { // "" is a hole only
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(begin)
		if err := errors.Join(err, f.Truncate(30<<30), f.Close()); err != nil {
			testneed.Missing(t, "sparse files", err.Error())
		}
		code, _, stderr := inspected(t, path)
		if code != 3 || !strings.Contains(stderr, "32.21 GB, of which") {
			t.Errorf("%q: exit code %d\n%s", begin, code, stderr)
		}
	}
}

// An interruption ends inspect while it reads the file.
func TestInspectInterrupted(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "initramfs")
	baseInitramfs(t, path, initramfs.Gzip)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stderr := &canceller{when: "read the initramfs", cancel: cancel}
	env := environment{getenv: os.Getenv, stdin: strings.NewReader(""), stdout: io.Discard, stderr: stderr}
	code := run(ctx, []string{"inspect", "--cache-dir", dir, "--progress", "json", path}, env)
	if code != exitInterrupted || !strings.Contains(stderr.text.String(), `"cancelled"`) || strings.Contains(stderr.text.String(), "warning") {
		t.Errorf("exit code %d\n%s", code, stderr.text.String())
	}
}

// canceller cancels a context when it is told some text.
type canceller struct {
	when   string
	cancel context.CancelFunc
	text   bytes.Buffer
}

// Write implements [io.Writer].
func (c *canceller) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(c.when)) {
		c.cancel()
	}
	return c.text.Write(p)
}
