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
    command: [ "modprobe", "-a", "virtio_pci", "virtio_net", "virtio_scsi", "sd_mod", "nvme" ]
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

// TestVerifyAsksTheConsole boots the demonstration's HookOS in every way that verify
// knows. A shell on the serial console names the drivers, lists every image and runs
// one. The worker here makes no call.
func TestVerifyAsksTheConsole(t *testing.T) {
	for arch, ways := range map[string][][]string{
		"amd64": {{"--disk", "nvme"}, {"--firmware", "uefi"}, {"--from-iso"}},
		"arm64": {{"--ram", "3072"}, {"--from-iso", "--ram", "3072"}},
	} {
		t.Run(arch, func(t *testing.T) { verifyAsks(t, arch, ways) })
	}
}

func verifyAsks(t *testing.T, arch string, ways [][]string) {
	testneed.Tool(t, lab.Emulator(arch))
	l, err := lab.Open("")
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	d := demo{story: newStory(&said), lab: l, arch: arch, work: t.TempDir(), checkout: "../../testdata/hook", flavor: "hook-latest-lts-" + arch}
	kerneltest.WriteFile(t, filepath.Join(d.work, "console.yaml"), []byte(console))
	grub := kerneltest.Unpacked(t, kerneltest.Deb(t, map[string]string{"amd64": "grub-efi-amd64-bin", "arm64": "grub-efi-arm64-bin"}[arch], "", arch))
	if err := d.fetchKernel(t.Context()); err != nil {
		testneed.Missing(t, "apt", err.Error())
	}
	registry, err := d.openRegistry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	bundle := filepath.Join(d.work, "bundle.yaml")
	d.kernel = append(d.kernel, "--overlay", filepath.Join(d.work, "console.yaml"), "--iso", "--iso-loader", grub)
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
		t.Run(strings.Join(way, " "), func(t *testing.T) {
			args := slices.Concat([]string{"verify", "--boot", "--json", "--accel", "tcg", "--timeout", "20m", "--require", "kernel,init,disk,nic,console,images,run", "--progress", "plain"}, way)
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
			for name, want := range map[string]string{verdict.NIC: " has the driver ", verdict.Disk: " has the driver ", verdict.Images: "every embedded image (7)"} {
				i := slices.IndexFunc(report.Boot.Checks, func(c verdict.Check) bool { return c.Name == name })
				if !strings.Contains(report.Boot.Checks[i].Found, want) {
					t.Errorf("%s: %+v, want %q", name, report.Boot.Checks[i], want)
				}
			}
			if t.Failed() {
				t.Logf("%s", strings.Join(report.Boot.Console, "\n"))
			}
		})
	}
}
