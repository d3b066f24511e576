package iso

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/test/testneed"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/google/go-cmp/cmp"
)

// placeholder is what Tinkerbell looks for: 1024 lower-case letters and digits.
var placeholder = strings.Repeat("464vn90e7rbj08xb", 64)

func sample() Image {
	return Image{
		Arch:      "amd64",
		Kernel:    inMemory(bytes.Repeat([]byte("kernel"), 1000)),
		Initramfs: inMemory(bytes.Repeat([]byte("initramfs"), 100_000)),
		Loader:    inMemory(append([]byte("MZ"), bytes.Repeat([]byte("loader"), 100_000)...)),
		Cmdline:   placeholder,
		ModTime:   time.Date(2024, 2, 29, 13, 14, 16, 0, time.UTC),
	}
}

func build(t *testing.T, img Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Write(t.Context(), &buf, img); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func save(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hook.iso")
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(testneed.Tool(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// Tinkerbell overwrites the placeholder if it is completely within 32 KiB of
// the stream.
func TestPlaceholderCanBeReplaced(t *testing.T) {
	image := build(t, sample())
	if n := bytes.Count(image, []byte(placeholder)); n != 1 {
		t.Fatalf("the command line is there %d times, want once", n)
	}
	const chunk = 32 << 10
	at := bytes.Index(image, []byte(placeholder))
	if at/chunk != (at+len(placeholder)-1)/chunk {
		t.Errorf("the command line at %d crosses the end of a chunk", at)
	}
	if at/sectorSize != (at+len(placeholder)-1)/sectorSize {
		t.Errorf("the command line at %d crosses the end of a sector", at)
	}
}

func TestSameBytes(t *testing.T) {
	first := build(t, sample())
	if !bytes.Equal(first, build(t, sample())) {
		t.Error("two images differ")
	}
	other := sample()
	other.ModTime = other.ModTime.Add(24 * time.Hour)
	if bytes.Equal(first, build(t, other)) {
		t.Error("the time is nowhere in the image")
	}
	local := sample()
	local.ModTime = local.ModTime.In(time.FixedZone("far", 5*3600))
	if !bytes.Equal(first, build(t, local)) {
		t.Error("the image depends on the time zone")
	}
}

var wantFiles = []string{
	".disk", ".disk/info", "EFI", "EFI/BOOT", "EFI/BOOT/grub.cfg", "EFI/debian", "EFI/debian/grub.cfg", "EFI/fedora", "EFI/fedora/grub.cfg",
	"EFI/ubuntu", "EFI/ubuntu/grub.cfg", "boot", "boot/grub", "boot/grub/grub.cfg", "initrd.img", "kernel",
}

// libarchive reads ISO 9660 with Rock Ridge.
func TestReadByBsdtar(t *testing.T) {
	name := save(t, build(t, sample()))
	var got []string
	for line := range strings.Lines(output(t, "bsdtar", "-tf", name)) {
		if line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "/"); line != "." {
			got = append(got, line)
		}
	}
	if diff := cmp.Diff(wantFiles, sortedCopy(got)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for path, c := range map[string]Content{"kernel": sample().Kernel, "initrd.img": sample().Initramfs} {
		if out := output(t, "bsdtar", "-xOf", name, path); int64(len(out)) != c.Size {
			t.Errorf("%s has %d bytes, want %d", path, len(out), c.Size)
		}
	}
	config := output(t, "bsdtar", "-xOf", name, "EFI/BOOT/grub.cfg")
	if !strings.Contains(config, "linux /kernel "+placeholder+"\n") {
		t.Errorf("the configuration is %q", config)
	}
}

func sortedCopy(list []string) []string {
	out := append([]string{}, list...)
	for i := range out {
		for j := i; j > 0 && out[j] < out[j-1]; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// libisofs checks the structure when it loads the image, and supports El
// Torito.
func TestReadByXorriso(t *testing.T) {
	name := save(t, build(t, sample()))
	report := output(t, "xorriso", "-abort_on", "WARNING", "-indev", name, "-report_el_torito", "plain", "-find", "/", "-exec", "report_lba", "--")
	for _, want := range []string{"El Torito boot img :   1  UEFI  y   none", "Volume id    : 'HOOKOS'", "/EFI/BOOT/grub.cfg"} {
		if !strings.Contains(report, want) {
			t.Errorf("xorriso does not say %q:\n%s", want, report)
		}
	}
}

// The boot image, read by two other implementations of FAT.
func TestBootImage(t *testing.T) {
	loader := append([]byte("MZ"), bytes.Repeat([]byte("loader"), 100_000)...)
	for _, size := range []int{2, 511, 512, 513, 100_000, 2_093_056, 2_095_000, len(loader), 5_000_000, maxLoader} {
		content := append(append([]byte{}, loader...), make([]byte, max(0, size-len(loader)))...)[:size]
		image, err := fatImage("BOOTX64.EFI", content, time.Date(2024, 2, 29, 13, 14, 16, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		if len(image) > 0xffff*fatSector {
			t.Errorf("%d bytes make an image of %d, too large for the boot catalog", size, len(image))
		}
		name := save(t, image)
		if got := readFAT(t, name, int64(len(image))); !bytes.Equal(got, content) {
			t.Errorf("go-diskfs reads %d other bytes, want %d", len(got), size)
		}
		if got := output(t, "mtype", "-i", name, "::/EFI/BOOT/BOOTX64.EFI"); got != string(content) {
			t.Errorf("mtools reads %d other bytes, want %d", len(got), size)
		}
	}
}

func readFAT(t *testing.T, name string, size int64) []byte {
	t.Helper()
	disk, err := file.OpenFromPath(name, true)
	if err != nil {
		t.Fatal(err)
	}
	fat, err := fat12.Read(disk, size, 0, 512)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fat.OpenFile("/EFI/BOOT/BOOTX64.EFI", os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close(), disk.Close()); err != nil {
		t.Fatal(err)
	}
	return content
}

func TestCmdline(t *testing.T) {
	for in, want := range map[string]string{
		"console=ttyS0 quiet": "console=ttyS0 quiet",
		"a=$1;b|c&d<e>f{g}#h": `a=\$1\;b\|c\&d\<e\>f\{g\}\#h`,
	} {
		config, err := grubConfig(in)
		if err != nil || !strings.Contains(string(config), "linux /kernel "+want+"\n") {
			t.Errorf("%q: %v, %q", in, err, config)
		}
	}
	for in, want := range map[string]string{
		"a=\"b\"": "GRUB cannot pass", "a='b'": "GRUB cannot pass", `a\b`: "GRUB cannot pass", "a\nb": "control character", strings.Repeat("x", 2000): "2000 characters",
	} {
		if _, err := grubConfig(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v; want %q", in, err, want)
		}
	}
}

func TestWriteFaults(t *testing.T) {
	broken := errors.New("broken disk")
	for name, tt := range map[string]struct {
		change func(*Image)
		want   string
	}{
		"architecture":    {func(i *Image) { i.Arch = "x86_64" }, `"x86_64"`},
		"no loader":       {func(i *Image) { i.Loader = Content{} }, "grub-efi-amd64-bin"},
		"large loader":    {func(i *Image) { i.Loader.Size = maxLoader + 1 }, "at most"},
		"script":          {func(i *Image) { i.Loader = inMemory([]byte("#!/bin/sh")) }, "MZ"},
		"large initramfs": {func(i *Image) { i.Initramfs.Size = 1 << 32 }, "smaller than 4 GiB"},
		"shorter":         {func(i *Image) { i.Kernel.Size++ }, `"kernel"`},
		"longer":          {func(i *Image) { i.Kernel.Size-- }, `"kernel"`},
		"unreadable":      {func(i *Image) { i.Kernel.Open = func() (io.ReadCloser, error) { return nil, broken } }, "broken disk"},
	} {
		img := sample()
		tt.change(&img)
		if err := Write(t.Context(), io.Discard, img); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", name, err, tt.want)
		}
	}
	if err := Write(t.Context(), &fullDisk{}, sample()); !errors.Is(err, errFull) {
		t.Errorf("a full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Write(ctx, io.Discard, sample()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

var errFull = errors.New("no space left")

// fullDisk accepts 100 kB.
type fullDisk struct{ n int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.n += len(p); d.n > 100_000 {
		return 0, errFull
	}
	return len(p), nil
}

func TestFindLoader(t *testing.T) {
	tree := &initramfs.Tree{}
	for _, e := range []initramfs.Entry{
		initramfs.BytesFile("usr/lib/grub/arm64-efi/monolithic/gcdaa64.efi", []byte("MZ debian"), initramfs.Epoch()),
		{Path: "EFI/BOOT/BOOTX64.EFI", Type: initramfs.Symlink, Target: "/real.efi"},
		initramfs.BytesFile("real.efi", []byte("MZ real"), initramfs.Epoch()),
	} {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	for arch, want := range map[string]string{"amd64": "EFI/BOOT/BOOTX64.EFI", "arm64": "usr/lib/grub/arm64-efi/monolithic/gcdaa64.efi"} {
		c, path, err := FindLoader(tree, arch)
		if err != nil || path != want || c.Size == 0 {
			t.Errorf("%s: %q, %d bytes, %v; want %q", arch, path, c.Size, err, want)
		}
	}
	if _, _, err := FindLoader(&initramfs.Tree{}, "amd64"); err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "grub-efi-amd64-bin") {
		t.Errorf("an empty tree: %v", err)
	}
}

func TestLocalLoader(t *testing.T) {
	root := fstest.MapFS{"usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi": {Data: []byte("MZ x")}}
	c, path, err := LocalLoader(root, "amd64")
	if err != nil || path != "/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi" {
		t.Fatalf("%q, %v", path, err)
	}
	var buf bytes.Buffer
	if err := c.copyTo(t.Context(), &buf, path); err != nil || buf.String() != "MZ x" {
		t.Errorf("%q, %v", buf.String(), err)
	}
	if _, _, err := LocalLoader(root, "arm64"); err == nil {
		t.Error("a loader for arm64 was found")
	}
}

func ExampleWrite() {
	img := Image{Arch: "arm64", Kernel: inMemory([]byte("k")), Initramfs: inMemory([]byte("i")), Loader: inMemory([]byte("MZ")), Cmdline: "console=ttyAMA0"}
	var buf bytes.Buffer
	fmt.Println(Write(context.Background(), &buf, img), buf.Len()%sectorSize)
	// Output: <nil> 0
}

// A copy differs from the image only in the command line, and cannot take a longer one.
func TestCopyWithCmdline(t *testing.T) {
	image := build(t, sample())
	copied := func(from []byte, cmdline string) ([]byte, error) {
		var to bytes.Buffer
		err := CopyWithCmdline(&to, bytes.NewReader(from), cmdline)
		return to.Bytes(), err
	}
	const cmdline = "console=ttyS0 a=$b"
	got, err := copied(image, cmdline)
	if err != nil {
		t.Fatal(err)
	}
	in := `console=ttyS0 a=\$b`
	if want := bytes.Replace(image, []byte(placeholder), []byte(in+strings.Repeat(" ", len(placeholder)-len(in))), 1); !bytes.Equal(got, want) {
		t.Error("the copy differs in more than the command line")
	}
	if again, err := copied(got, placeholder); err != nil || !bytes.Equal(again, image) {
		t.Errorf("the first command line again: %v", err)
	}
	for say, test := range map[string]struct {
		image   []byte
		cmdline string
	}{
		"does not fit": {image, placeholder + "x"}, "boot loader configuration": {image[:100_000], "x"}, "cannot pass": {image, `a="b"`},
	} {
		if _, err := copied(test.image, test.cmdline); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", say, err)
		}
	}
}

// Whatever is copied, its length stays, and so does everything but a command line.
func FuzzCopyWithCmdline(f *testing.F) {
	config, err := grubConfig("console=ttyS0 0123456789")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(make([]byte, sectorSize), config...), "console=tty0")
	f.Add(append(config, "\n\tinitrd"...), "x")
	f.Add([]byte(beforeCmdline), "")
	f.Fuzz(func(t *testing.T, image []byte, cmdline string) {
		var to bytes.Buffer
		if err := CopyWithCmdline(&to, bytes.NewReader(image), cmdline); err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %d: %v", fault.KindOf(err), err)
			}
			return
		}
		if to.Len() != len(image) {
			t.Fatalf("%d bytes became %d", len(image), to.Len())
		}
		escaped, err := escape(cmdline)
		if err != nil || !bytes.Contains(to.Bytes(), []byte(beforeCmdline+escaped)) {
			t.Errorf("%v: the copy lacks %q", err, escaped)
		}
	})
}
