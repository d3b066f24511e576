//go:build e2e

package devices

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mikelolasagasti/xz"

	"hookbuild/kernel/kconfig"
	"hookbuild/test/kerneltest"
)

// configurator runs Linux' own conf, as Debian packages it, in the Kconfig files of the
// same series.
type configurator struct{ source, conf string }

func newConfigurator(t *testing.T) configurator {
	c := configurator{t.TempDir(), filepath.Join(kerneltest.Unpacked(t, kerneltest.Deb(t, "linux-kbuild-6.1", "", "amd64")), "usr/lib/linux-kbuild-6.1/scripts/kconfig/conf")}
	archive, err := os.Open(kerneltest.LinuxSource(t, "6.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	plain, err := xz.NewReader(archive, 0)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return c
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(header.Name, "/")
		if header.Typeflag != tar.TypeReg || !strings.HasPrefix(filepath.Base(name), "Kconfig") && !strings.HasPrefix(name, "scripts/") {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		kerneltest.WriteFile(t, filepath.Join(c.source, name), text)
		if err := os.Chmod(filepath.Join(c.source, name), header.FileInfo().Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// configure returns what becomes of a configuration on amd64.
func (c configurator) configure(t *testing.T, text string) *kconfig.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".config")
	kerneltest.WriteFile(t, file, []byte(text))
	cmd := exec.Command(c.conf, "--olddefconfig", "Kconfig")
	cmd.Dir = c.source
	cmd.Env = append(os.Environ(), "KCONFIG_CONFIG="+file, "SRCARCH=x86", "ARCH=x86_64", "srctree=.", "CC=gcc", "LD=ld", "HOSTCC=gcc", "KERNELVERSION=6.1.0", "CLANG_FLAGS=", "PAHOLE=false", "RUSTC=false", "BINDGEN=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("conf: %v\n%s", err, out)
	}
	made, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	config, err := kconfig.Parse(made, file)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestSettingsTake sets what the table says on the checkout's configuration, and asks
// Linux' own Kconfig whether it takes: for each network and storage driver of a brief
// list by itself, and for all drivers of PCI devices at once.
func TestSettingsTake(t *testing.T) {
	c := newConfigurator(t)
	text, err := os.ReadFile(filepath.FromSlash("../../testdata/hook/kernel/configs/generic-6.6.y-x86_64"))
	if err != nil {
		t.Fatal(err)
	}
	base := string(text) + "CONFIG_USB=m\nCONFIG_I2C=m\n" // which the sample leaves out, and every HookOS has
	has, err := kconfig.Parse(strings.NewReader(base), "generic")
	if err != nil {
		t.Fatal(err)
	}
	in := NewInventory(Sources{Table: table(t), Release: "6.1.0", Defconfig: has})
	each := strings.Fields("mlx4_core mlx5_core qede be2net fnic enic qla2xxx lpfc megaraid_mbox mptsas vmd iwlwifi brcmfmac dwmac_intel iavf ice bnx2x mpi3mr")
	var all, options []string
	for _, known := range in.Table.Drivers {
		option := in.Table.option(known, in.Release)
		here := func(f fact) bool { return f.in&(1<<in.Table.nearest(in.Release)) != 0 }
		if !slices.ContainsFunc(known.options, here) || !slices.ContainsFunc(known.aliases, func(f fact) bool { return here(f) && strings.HasPrefix(f.value, "pci:") }) {
			continue
		}
		settings, with, err := in.settingsFor(bare("pci", 0, 0), known)
		if err != nil {
			t.Fatal(err)
		}
		set := in.lacking(settings)
		all, options = append(all, set...), append(options, option)
		if !slices.Contains(each, known.Module) {
			continue
		}
		got := c.configure(t, base+strings.Join(set, "\n")+"\n")
		for _, name := range append(optionsOf(with), option) {
			if value, _ := got.Get(name); value == "n" {
				t.Errorf("%s: %s is off with %q", known.Module, name, set)
			}
		}
	}
	if len(options) < 500 {
		t.Errorf("only %d drivers", len(options))
	}
	got := c.configure(t, base+strings.Join(all, "\n")+"\n")
	for _, option := range options {
		if value, _ := got.Get(option); value == "n" && !slices.Contains(elsewhere, option) {
			t.Errorf("%s is off with what the table says", option)
		}
	}
}

// elsewhere are the options that Linux has for arm64 only, and one that nothing sets.
var elsewhere = strings.Fields(`CONFIG_HW_RANDOM_CAVIUM CONFIG_HW_RANDOM_CN10K CONFIG_DRM_HISI_HIBMC CONFIG_SPI_THUNDERX
	CONFIG_NET_DSA_MSCC_FELIX CONFIG_FSL_ENETC CONFIG_FSL_ENETC_VF CONFIG_FSL_ENETC_MDIO CONFIG_FSL_ENETC_PTP_CLOCK
	CONFIG_HNS3_ENET CONFIG_HNS3_HCLGEVF CONFIG_HNS3_HCLGE CONFIG_I2C_THUNDERX CONFIG_EDAC_THUNDERX CONFIG_CAVIUM_CPT
	CONFIG_INFINIBAND_HNS CONFIG_SCSI_HISI_SAS_PCI CONFIG_SND_SOC_INTEL_SKYLAKE_COMMON`)

func optionsOf(with []Companion) (list []string) {
	for _, c := range with {
		list = append(list, c.Setting.Option)
	}
	return list
}
