//go:build e2e

package chain

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/test/corpus"
	"hookbuild/test/lab"
	"hookbuild/test/nettest"
	"hookbuild/test/testneed"
)

// The whole chain with the command itself, into a HookOS that it has built:
// `hookbuild all`, `hookbuild dhcp`, `hookbuild netboot serve`, a machine
// without a disk, and dockerd on it, which lists the embedded images.
func TestChainIntoHookOS(t *testing.T) {
	testneed.Root(t)
	qemu, ipxe := needFirmware(t)
	work := t.TempDir()
	hookbuild := filepath.Join(work, "hookbuild")
	command(t, nil, testneed.Tool(t, "go"), "build", "-o", hookbuild, "hookbuild/cmd/hookbuild")
	artifacts := buildHookOS(t, hookbuild, work)
	csv := filepath.Join(work, "hardware.csv")
	if err := os.WriteFile(csv, []byte(machineCSV), 0o644); err != nil {
		t.Fatal(err)
	}
	config := command(t, nil, hookbuild, "dhcp", "dnsmasq", "--hardware", csv, "--tinkerbell-ip", "192.0.2.10", "--bootstrap-ip", nettest.BootIP,
		"--user-class", "Tinkerbell", "--user-class", "iPXE")
	n := nettest.New(t)
	n.StartDHCP(n.Server, "dnsmasq", config)
	files := n.Run(nil, hookbuild, "--progress", "plain", "netboot", "serve", artifacts, "--ip", nettest.BootIP, "--hardware", csv, "--ipxe", ipxe,
		"--console", "ttyS0", "--cmdline", "quiet loglevel=3 hookbuild.demo=poweroff")
	files.WaitFor("serving http://")
	args := []string{
		"-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "3072", "-smp", "2", "-bios", ovmf, "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nodefaults",
	}
	machine := n.Run(nil, qemu, append(args, n.Tap("00:00:5e:00:53:11", "virtio-net-pci,romfile=")...)...)
	err := machine.Wait(8 * time.Minute)
	images := lab.ParseConsole(machine.Log()).Sections["images"]
	for _, name := range corpus.Names() {
		if !strings.Contains(images.Output, "127.0.0.1/embedded/"+name) {
			t.Errorf("dockerd does not list %s", name)
		}
	}
	if err != nil || t.Failed() {
		t.Errorf("%v\n--- console\n%s\n--- boot server\n%s", err, tail(machine.Log()), files.Log())
	}
	t.Logf("dockerd on the machine lists:\n%s", images.Output)
}

// buildHookOS builds a HookOS with the seven action images embedded, and returns the
// directory of its artifacts.
func buildHookOS(t *testing.T, hookbuild, work string) string {
	t.Helper()
	ctx := t.Context()
	l, err := lab.Open("")
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := l.Kernel(ctx, "amd64")
	if err != nil {
		testneed.Missing(t, "apt", err.Error())
	}
	registry, err := corpus.Start(ctx, filepath.Join(work, "corpus"), corpus.Options{
		Arches: []string{"amd64"}, Packages: l.Packages, Checker: corpus.BuildChecker(work),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registry.Close(); err != nil {
			t.Error(err)
		}
	})
	base := registry.Addr() + "/hook/"
	checkout, err := filepath.Abs("../../testdata/hook")
	if err != nil {
		t.Fatal(err)
	}
	pushHookOS(t, ctx, l, checkout, base)
	bundle := filepath.Join(work, "bundle.yaml")
	f, err := os.Create(bundle)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := registry.Bundle(f, corpus.Actions); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(work, "out")
	command(t, []string{"HOOK_LK_CONTAINERS_OCI_BASE=" + base}, hookbuild, "all", "hook-latest-lts-amd64", "--hook-dir", checkout,
		"--embed-from-bundle", "--bundle", bundle, "--kernel", "deb:"+kernel, "--insecure-registry", registry.Addr(),
		"--cache-dir", filepath.Join(work, "cache"), "--out", out, "--progress", "plain")
	return filepath.Join(out, "hook")
}

func pushHookOS(t *testing.T, ctx context.Context, l *lab.Lab, checkout, base string) {
	t.Helper()
	images, err := l.Images(ctx, "amd64", os.DirFS(checkout))
	if err == nil {
		err = images.Push(ctx, base)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// command runs a program and returns its standard output.
func command(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, problems.String()))
	}
	return out
}
