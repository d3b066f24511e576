package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/site"
	"hookbuild/test/kerneltest"
)

// TestInitDevices writes a file for a machine: every option that its drivers need, the
// firmware that they request, and what hookbuild does not solve.
func TestInitDevices(t *testing.T) {
	hook, err := filepath.Abs("../../testdata/hook")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("PATH", "") // no eksctl
	kerneltest.WriteFile(t, "machine.txt", []byte("01:00.0 Network controller [0280]: Mellanox MT27500 [ConnectX-3] [15b3:1003]\n"+
		"02:00.0 Ethernet controller [0200]: Mellanox MT27800 [ConnectX-5] [15b3:1017]\n"+
		"03:00.0 Ethernet controller [0200]: QLogic FastLinQ QL41000 [1077:8070]\n"+
		"04:00.0 Ethernet controller [0200]: Intel Corporation E810-C [8086:1592]\n"+
		"05:00.0 Network controller [0280]: Somebody's card [dead:beef]\n"))
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"--hook-dir", hook, "--progress", "plain", "init", "--lspci", "machine.txt", "hook-latest-lts-amd64"}, environment{
		getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &stderr,
	})
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, &stderr)
	}
	f, err := site.Read(filepath.Join(dir, site.Name))
	if err != nil {
		t.Fatal(err)
	}
	var set []string
	for _, option := range f.Kernel.Options {
		set = append(set, option.Set)
	}
	want := []string{"CONFIG_MLX4_EN=m", "CONFIG_MLX5_CORE=m", "CONFIG_MLX5_CORE_EN=y", "CONFIG_QEDE=m", "CONFIG_QED=m", "CONFIG_ICE=m", "CONFIG_PCI_MSI=y"}
	if !slices.Equal(set, want) {
		t.Errorf("the file sets %q, want %q", set, want)
	}
	content, err := os.ReadFile(site.Name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for _, want := range []string{"  # no driver is known for Network controller: Somebody's card (pci dead:beef)\n", "  # ice asks for intel/ice/ddp/ice.pkg\n", "  # firmware: /lib/firmware\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the file has no %q:\n%s", want, text)
		}
	}
	for _, want := range []string{"warning: no driver is known for Network controller: Somebody's card (pci dead:beef)", "ice asks for intel/ice/ddp/ice.pkg: name a directory or image"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q on standard error:\n%s", want, &stderr)
		}
	}
}
