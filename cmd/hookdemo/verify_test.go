//go:build e2e

package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/machine/verdict"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// console changes the miniature HookOS in what upstream's has: a getty on the consoles
// of the kernel's command line, which logs root in, drivers, and room in the ISO
// image's command line.
const console = `kernel:
  cmdline: "` + placeholder + `"
onboot:
  - name: drivers
    image: "${HOOK_CONTAINER_LINUXKIT_MODPROBE_IMAGE}"
    command: [ "modprobe", "-a", DRIVERS ]
services:
  - name: getty
    image: "${HOOK_CONTAINER_BOOTKIT_IMAGE}"
    capabilities: [ all ]
    net: host
    pid: host
    binds: [ /var/run/docker:/var/run, /dev:/dev, /sys:/sys ]
    devices: [ { path: all, type: b }, { path: all, type: c } ]
    runtime: { mkdir: [ /var/run/docker ] }
    command:
      - /bin/sh
      - -c
      - 'tty=$(sed "s/.*console=//; s/ .*//" /proc/cmdline); while :; do setsid busybox getty -n -l /bin/sh -L 115200 $tty vt100; done'
`

const placeholder = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" +
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" +
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" +
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// way is a machine, and the drivers that it needs.
type way struct {
	args      []string
	nic, disk string
}

// TestVerifyAsksTheConsole boots the demonstration's HookOS in every way that verify
// knows, with the hardware of servers on amd64. A shell on the serial console names the
// drivers, lists every image and runs one. The worker here makes no call.
func TestVerifyAsksTheConsole(t *testing.T) {
	t.Run("amd64", func(t *testing.T) {
		kernel := kerneltest.Deb(t, "linux-image-*[0-9]-amd64", "linux-image-amd64", "amd64")
		verifyAsks(t, "amd64", kernel, []string{"e1000e", "vmxnet3", "virtio_net", "megaraid_sas", "mptsas", "nvme", "virtio_scsi", "virtio_pci", "sd_mod"}, []way{
			{[]string{"--nic", "e1000e", "--disk", "megasas"}, "e1000e", "megaraid_sas"},
			{[]string{"--nic", "vmxnet3", "--disk", "mptsas", "--firmware", "uefi"}, "vmxnet3", "mptsas"},
			{[]string{"--disk", "nvme", "--from-iso"}, "virtio_net", "nvme"},
		})
	})
	t.Run("arm64", func(t *testing.T) {
		verifyAsks(t, "arm64", kerneltest.CloudKernel(t, "arm64"), []string{"virtio_net", "virtio_scsi", "virtio_pci", "sd_mod"}, []way{
			{nil, "virtio_net", "virtio_scsi"},
			{[]string{"--firmware", "uefi"}, "virtio_net", "virtio_scsi"},
			{[]string{"--from-iso"}, "virtio_net", "virtio_scsi"},
		})
	})
}

func verifyAsks(t *testing.T, arch, kernel string, drivers []string, ways []way) {
	testneed.Tool(t, lab.Emulator(arch))
	l, err := lab.Open("")
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	d := demo{story: newStory(&said), lab: l, arch: arch, work: t.TempDir(), checkout: "../../testdata/hook", flavor: "hook-latest-lts-" + arch}
	kerneltest.WriteFile(t, filepath.Join(d.work, "console.yaml"), []byte(strings.Replace(console, "DRIVERS", strings.Join(drivers, ", "), 1)))
	grub := kerneltest.Unpacked(t, kerneltest.Deb(t, map[string]string{"amd64": "grub-efi-amd64-bin", "arm64": "grub-efi-arm64-bin"}[arch], "", arch))
	registry, err := d.openRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	bundle := filepath.Join(d.work, "bundle.yaml")
	d.kernel = []string{"--kernel", "deb:" + kernel, "--overlay", filepath.Join(d.work, "console.yaml"), "--iso", "--iso-loader", grub}
	for _, module := range append(drivers, "overlay", "loop", "squashfs") {
		d.kernel = append(d.kernel, "--modules", module)
	}
	for _, do := range []func() error{
		func() error { return d.pushHookOS(t.Context(), registry) },
		func() error { return d.writeBundle(registry, bundle) },
		func() error { return d.compile(t.Context()) },
		func() error { return d.runHookbuild(t.Context(), registry, bundle) },
	} {
		if err := do(); err != nil {
			t.Fatalf("%v\n%s", err, &said)
		}
	}
	for _, way := range ways {
		t.Run(strings.Join(way.args, " "), func(t *testing.T) {
			args := slices.Concat([]string{"verify", "--boot", "--json", "--accel", "tcg", "--timeout", "20m", "--require", "kernel,init,disk,nic,console,images,run", "--progress", "plain"}, way.args)
			var text, problems strings.Builder
			cmd := exec.CommandContext(t.Context(), d.hookbuild, append(args, d.out()+"/hook")...)
			cmd.Stdout, cmd.Stderr = &text, &problems
			err := cmd.Run()
			var report struct{ Boot *verdict.Report }
			if decoding := json.Unmarshal([]byte(text.String()), &report); decoding != nil || report.Boot == nil {
				t.Fatalf("%v, %v\n%s\n%s", err, decoding, &text, &problems)
			}
			if err != nil || report.Boot.UsedMB == 0 {
				t.Errorf("%v\n%s", err, &problems)
			}
			for _, c := range report.Boot.Checks {
				t.Logf("%s %s %.1f s: %s", c.Name, c.Status, c.Seconds, c.Found)
			}
			for name, want := range map[string]string{verdict.NIC: " has the driver " + way.nic, verdict.Disk: " has the driver ", verdict.Images: "every embedded image (7)"} {
				i := slices.IndexFunc(report.Boot.Checks, func(c verdict.Check) bool { return c.Name == name })
				if found := report.Boot.Checks[i].Found; !strings.Contains(found, want) || name == verdict.Disk && !strings.Contains(found, way.disk) {
					t.Errorf("%s: %q, want %q and %q", name, found, want, way.disk)
				}
			}
			if t.Failed() {
				t.Logf("%s", strings.Join(report.Boot.Console, "\n"))
			}
		})
	}
}
