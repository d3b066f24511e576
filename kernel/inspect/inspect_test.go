package inspect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"hookbuild/internal/fault"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// body returns an unpacked kernel with a banner and a configuration, among
// decoys.
func body(t testing.TB, config string) []byte {
	t.Helper()
	var out bytes.Buffer
	out.Write(bytes.Repeat([]byte("\x90\x0f\x1f\x00code"), 70000))
	out.WriteString("Linux version %s (%s)\x00IKCFG_ST but no gzip\x00")
	out.WriteString("Linux version 6.6.32-test (hook@tinkerbell) (gcc 12) #1 SMP\n\x00")
	if config != "" {
		out.WriteString(configMark)
		w := gzip.NewWriter(&out)
		if _, err := io.WriteString(w, config); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out.WriteString("IKCFG_ED")
	}
	out.Write(bytes.Repeat([]byte{0xCC}, 300000))
	return out.Bytes()
}

// bzImage wraps a payload as the kernel's build does.
func bzImage(payload []byte) []byte {
	const sects = 2
	head := make([]byte, (sects+1)*512)
	head[bzSetupSects] = sects
	binary.LittleEndian.PutUint16(head[bzBootFlag:], 0xAA55)
	copy(head[bzMagic:], "HdrS")
	binary.LittleEndian.PutUint16(head[bzProtocol:], 0x20F)
	binary.LittleEndian.PutUint16(head[bzVersion:], 0x300)
	copy(head[0x500:], "6.6.32-test (hook@tinkerbell) #1 SMP\x00")
	head[bzLoadFlags] = bzLoadedHigh
	binary.LittleEndian.PutUint16(head[bzXLoadFlags:], bzKernel64)
	binary.LittleEndian.PutUint32(head[bzPayloadOffset:], 64)
	binary.LittleEndian.PutUint32(head[bzPayloadLength:], uint32(len(payload)))
	return append(append(head, make([]byte, 64)...), append(payload, "trailing data of the EFI sections"...)...)
}

// arm64Image puts the header of a raw Image over b.
func arm64Image(b []byte) []byte {
	copy(b, "MZ")
	copy(b[arm64Magic:], "ARM\x64")
	return b
}

// zboot wraps a payload for machine as CONFIG_EFI_ZBOOT does.
func zboot(payload []byte, machine uint16) []byte {
	head := make([]byte, 256)
	copy(head, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(head[zbootPayloadOffset:], 256)
	binary.LittleEndian.PutUint32(head[zbootPayloadSize:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(head[zbootPE:], 64)
	copy(head[64:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(head[68:], machine)
	return append(head, payload...)
}

func identifyBytes(b []byte) (*Image, error) {
	return Identify(bytes.NewReader(b), int64(len(b)), "vmlinuz")
}

// pack runs a compressor as the kernel's scripts/Makefile.lib does.
func pack(t *testing.T, plain []byte, tool string, args ...string) []byte {
	t.Helper()
	command := exec.Command(testneed.Tool(t, tool), args...)
	command.Stdin = bytes.NewReader(plain)
	var errs bytes.Buffer
	command.Stderr = &errs
	packed, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, &errs)
	}
	return packed
}

// TestCompressions packs a kernel with every method that the kernel's build
// offers, with the tools and arguments it uses, in every format.
func TestCompressions(t *testing.T) {
	const config = "CONFIG_ENIC=m\n# CONFIG_ICE is not set\n"
	plain := body(t, config)
	for _, c := range []struct {
		name, tool string
		args       []string
	}{
		{"gzip", "gzip", []string{"-n", "-9"}},
		{"bzip2", "bzip2", []string{"-9"}},
		{"lzma", "xz", []string{"--format=lzma", "-9", "-c"}},
		{"xz", "xz", []string{"--check=crc32", "--x86", "--lzma2=dict=32MiB", "-c"}},
		{"lzo", "lzop", []string{"-9"}},
		{"lz4", "lz4", []string{"-l", "-9", "-", "-"}},
		{"zstd", "zstd", []string{"-19", "-c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sized := pack(t, plain, c.tool, c.args...)
			if c.name != "gzip" {
				sized = binary.LittleEndian.AppendUint32(sized, uint32(len(plain)))
			}
			check(t, bzImage(sized), Image{Format: "bzImage", Arch: X86_64, Compression: c.name, Release: "6.6.32-test"}, config)
			raw := pack(t, arm64Image(bytes.Clone(plain)), c.tool, c.args...)
			check(t, zboot(raw, peMachineArm64), Image{Format: "EFI zboot", Arch: AArch64, Compression: c.name}, config)
			check(t, raw, Image{Format: "Image.gz", Arch: AArch64, Compression: c.name}, config)
		})
	}
	check(t, arm64Image(plain), Image{Format: "Image", Arch: AArch64, Compression: "none"}, config)
	check(t, arm64Image(body(t, "")), Image{Format: "Image", Arch: AArch64, Compression: "none"}, "")
}

func check(t *testing.T, file []byte, want Image, config string) {
	t.Helper()
	got, err := identifyBytes(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.Format != want.Format || got.Arch != want.Arch || got.Compression != want.Compression || got.Release != want.Release {
		t.Errorf("the kernel is read as %+v, want %+v", got, want)
	}
	facts, err := got.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if facts.Release != "6.6.32-test" || !strings.HasPrefix(facts.Banner, "Linux version 6.6.32-test (hook") {
		t.Errorf("the release is %q, the banner %q", facts.Release, facts.Banner)
	}
	if string(facts.Config) != config {
		t.Errorf("the configuration is %q, want %q", facts.Config, config)
	}
}

func TestNotKernels(t *testing.T) {
	old := bzImage(nil)
	binary.LittleEndian.PutUint16(old[bzProtocol:], 0x208)
	narrow := bzImage(nil)
	binary.LittleEndian.PutUint16(narrow[bzXLoadFlags:], 0)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprint(w, strings.Repeat("text", 100))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":        {nil, "an empty file, not a Linux kernel image; name a vmlinuz"},
		"ELF":          {[]byte("\x7fELF\x02\x01"), "not vmlinux"},
		"page":         {[]byte("<html>"), "HTML"},
		"cpio":         {[]byte("0707010000"), "initramfs"},
		"deb":          {[]byte("!<arch>\ndebian"), "deb:FILE"},
		"other":        {[]byte("hello world"), `text that begins with "hello world", not a Linux kernel image`},
		"old":          {old, "older than 2.12"},
		"32 bits":      {narrow, "32-bit x86"},
		"cut":          {bzImage(make([]byte, 9000))[:4000], "it is incomplete (not a Linux kernel image): its payload ends at byte"},
		"cut header":   {append([]byte("MZ"), make([]byte, 298)...), "it ends at byte 300, within its header; copy"},
		"EFI program":  {append([]byte("MZ"), make([]byte, 1000)...), "it is an EFI program, not a Linux kernel image; name a vmlinuz"},
		"EFI x86":      {zboot(make([]byte, 100), 0x8664), "0x8664"},
		"EFI cut":      {zboot(make([]byte, 1000), peMachineArm64)[:500], "it is incomplete (not a Linux kernel image): its payload ends at byte"},
		"gzipped text": {packed.Bytes(), "holds no arm64 Image"},
		"short gzip":   {packed.Bytes()[:12], "not a Linux kernel image"},
	} {
		_, err := identifyBytes(c.content)
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, errNotKernel) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: the error is %v; it should say %q", name, err, c.want)
		}
	}
}

// TestDamagedPayload requires an error rather than half a kernel.
func TestDamagedPayload(t *testing.T) {
	packed := pack(t, body(t, "CONFIG_A=y\n"), "gzip", "-n")
	packed[len(packed)/2] ^= 0xff
	image, err := identifyBytes(bzImage(packed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.Scan(t.Context()); err == nil || !strings.Contains(err.Error(), "vmlinuz") || !strings.Contains(err.Error(), "its payload is damaged: copy, download or build it again") {
		t.Errorf("reading a damaged payload: %v", err)
	}
}

// brokenDisk fails to read from an offset on.
type brokenDisk struct {
	content []byte
	from    int64
}

var errDisk = errors.New("input/output error")

func (d brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > d.from {
		return 0, errDisk
	}
	return bytes.NewReader(d.content).ReadAt(p, off)
}

// A file that cannot be read is not called damaged.
func TestReadError(t *testing.T) {
	var plain bytes.Buffer
	noise := rand.New(rand.NewPCG(1, 2))
	for plain.Len() < 4*headSize {
		plain.WriteByte(byte(noise.Uint32()))
	}
	for _, compression := range [][]string{{"gzip", "-n"}, {"xz", "-c"}, {"zstd", "-c"}, {"lzop"}} {
		packed := pack(t, plain.Bytes(), compression[0], compression[1:]...)
		content := bzImage(append(packed, 0, 0, 0, 0))
		for _, d := range []brokenDisk{{content, 100}, {content, headSize + 100}, {packed, headSize - 1}, {packed, headSize}} {
			size := int64(len(d.content))
			image, err := Identify(d, size, "vmlinuz")
			if err == nil {
				_, err = image.Scan(t.Context())
			}
			if !errors.Is(err, errDisk) || strings.Contains(err.Error(), "damaged") || errors.Is(err, errNotKernel) || fault.KindOf(err) == fault.Invalid {
				t.Errorf("%s, from byte %d: error %v", compression[0], d.from, err)
			}
		}
	}
}

// TestDebianKernels reads real kernels, unpacked by dpkg-deb.
func TestDebianKernels(t *testing.T) {
	for arch, want := range map[string]Image{
		"amd64": {Format: "bzImage", Arch: X86_64},
		"arm64": {Arch: AArch64},
	} {
		found, err := filepath.Glob(filepath.Join(kerneltest.Unpacked(t, kerneltest.CloudKernel(t, arch)), "boot/vmlinuz-*"))
		if err != nil || len(found) != 1 {
			t.Fatalf("kernels %v, %v", found, err)
		}
		content, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		image, err := identifyBytes(content)
		if err != nil {
			t.Fatal(err)
		}
		if image.Arch != want.Arch || want.Format != "" && image.Format != want.Format {
			t.Errorf("%s is read as %+v", found[0], image)
		}
		facts, err := image.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if release := strings.TrimPrefix(filepath.Base(found[0]), "vmlinuz-"); facts.Release != release {
			t.Errorf("the release is %q, the file's name says %q", facts.Release, release)
		}
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add(bzImage([]byte("\x1f\x8b\x08")))
	f.Add(zboot([]byte("\x28\xb5\x2f\xfd"), peMachineArm64))
	f.Add(arm64Image(make([]byte, 100)))
	f.Add(bzImage([]byte("\x89LZO\x00\x0d\x0a\x1a\x0a\x10\x30\x20\xa0\x09\x40\x03\x09")))
	f.Add(bzImage([]byte("\x02\x21\x4c\x18\x05\x00\x00\x00hello")))
	f.Fuzz(func(t *testing.T, content []byte) {
		image, err := identifyBytes(content)
		if err != nil {
			return
		}
		facts, err := image.Scan(t.Context())
		if err == nil && len(facts.Config) > mostConfig {
			t.Errorf("the configuration has %d bytes", len(facts.Config))
		}
	})
}
