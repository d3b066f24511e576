package iso

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

// machine is a virtual machine with UEFI firmware.
type machine struct {
	arch, emulator string
	arguments      []string
	// firmware and variables are flash images; grub is the package with the
	// boot loader.
	firmware, variables, grub string
	console                   string
}

func machines() []machine {
	return []machine{
		{
			arch: "amd64", emulator: "qemu-system-x86_64", arguments: []string{"-machine", "q35"}, grub: "grub-efi-amd64-bin", console: "ttyS0",
			firmware: "/usr/share/OVMF/OVMF_CODE_4M.fd", variables: "/usr/share/OVMF/OVMF_VARS_4M.fd",
		},
		{
			arch: "arm64", emulator: "qemu-system-aarch64", arguments: []string{"-machine", "virt", "-cpu", "cortex-a57"}, grub: "grub-efi-arm64-bin", console: "ttyAMA0",
			firmware: "/usr/share/AAVMF/AAVMF_CODE.fd", variables: "/usr/share/AAVMF/AAVMF_VARS.fd",
		},
	}
}

// TestBoot boots an image as a management controller would present it, after
// overwriting its placeholder as Tinkerbell does, on real firmware with
// Debian's boot loader and kernel.
func TestBoot(t *testing.T) {
	for _, m := range machines() {
		t.Run(m.arch, func(t *testing.T) {
			t.Parallel()
			testneed.Tool(t, m.emulator)
			if _, err := os.Stat(m.firmware); err != nil {
				testneed.Missing(t, "ovmf", err.Error())
			}
			img := bootable(t, m)
			content := build(t, img)
			patched := "console=" + m.console + " panic=-1 hookbuild.test=patched"
			content = bytes.Replace(content, []byte(placeholder), []byte(patched+strings.Repeat(" ", len(placeholder)-len(patched))), 1)
			console := run(t, m, save(t, content))
			if !strings.Contains(console, "ISO-BOOT ") || !strings.Contains(console, patched) {
				t.Errorf("the machine did not start from the image:\n%s", console)
			}
		})
	}
}

// bootable returns an image with a kernel, the boot loader and an /init.
func bootable(t *testing.T, m machine) Image {
	t.Helper()
	kernel := kerneltest.Tree(t, kerneltest.Unpacked(t, kerneltest.CloudKernel(t, m.arch)))
	grub := kerneltest.Tree(t, kerneltest.Unpacked(t, kerneltest.Deb(t, m.grub, "", m.arch)))
	loader, _, err := FindLoader(grub, m.arch)
	if err != nil {
		t.Fatal(err)
	}
	img := Image{Arch: m.arch, Loader: loader, Cmdline: placeholder, Initramfs: initFiles(t, m.arch)}
	for e := range kernel.All() {
		if strings.HasPrefix(e.Path, "boot/vmlinuz-") {
			img.Kernel = Content{Size: e.Size, Open: e.Open}
		}
	}
	return img
}

func initFiles(t *testing.T, arch string) Content {
	t.Helper()
	program := filepath.Join(t.TempDir(), "init")
	cmd := exec.Command("go", "build", "-o", program, "./testdata/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building init: %v\n%s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	init := initramfs.BytesFile("init", content, initramfs.Epoch())
	init.Mode = 0o755
	tree := &initramfs.Tree{}
	for _, e := range []initramfs.Entry{
		init,
		{Path: "dev", Type: initramfs.Dir, Mode: 0o755},
		{Path: "dev/console", Type: initramfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1},
	} {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	if err := initramfs.WriteSegment(t.Context(), &buf, tree, initramfs.SegmentOptions{Compression: "gzip"}); err != nil {
		t.Fatal(err)
	}
	return inMemory(buf.Bytes())
}

func run(t *testing.T, m machine, image string) string {
	t.Helper()
	variables := filepath.Join(t.TempDir(), "vars.fd")
	content, err := os.ReadFile(m.variables)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(variables, content, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	args := append(m.arguments,
		"-accel", "tcg", "-m", "768", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio", "-monitor", "none",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+m.firmware, "-drive", "if=pflash,format=raw,unit=1,file="+variables,
		"-device", "virtio-scsi-pci", "-drive", "if=none,id=cd,format=raw,media=cdrom,readonly=on,file="+image, "-device", "scsi-cd,drive=cd")
	cmd := exec.CommandContext(ctx, m.emulator, args...)
	var console, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &console, &problems, 5*time.Second
	if err := cmd.Run(); err != nil {
		text := console.String()
		t.Fatalf("%s: %v: %s\n%s", m.emulator, err, problems.String(), text[max(0, len(text)-3000):])
	}
	return console.String()
}
