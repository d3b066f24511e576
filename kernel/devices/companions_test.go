package devices

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/modules"
)

func configured(t *testing.T, text string) *kconfig.Config {
	t.Helper()
	config, err := kconfig.Parse(strings.NewReader(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// emptyModule returns an ELF file without sections.
func emptyModule(t *testing.T) string {
	t.Helper()
	var text bytes.Buffer
	header := elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}, Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Shentsize: 64}
	if err := binary.Write(&text, binary.LittleEndian, header); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// catalog returns a kernel's modules: loadable ones with their aliases, and the paths of
// those that are built in.
func catalog(t *testing.T, loadable map[string]string, builtin string) *modules.Catalog {
	t.Helper()
	tree := &initramfs.Tree{}
	add := func(name, text string) {
		t.Helper()
		if err := tree.Add(initramfs.BytesFile("lib/modules/1/"+name, []byte(text), initramfs.Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	var aliases, dep strings.Builder
	for name, list := range loadable {
		add("kernel/"+name+".ko", emptyModule(t))
		dep.WriteString("kernel/" + name + ".ko:\n")
		for alias := range strings.FieldsSeq(list) {
			aliases.WriteString("alias " + alias + " " + name + "\n")
		}
	}
	add("modules.alias", aliases.String()+"# end\n")
	add("modules.dep", dep.String())
	add("modules.builtin", builtin)
	c, err := modules.ReadCatalog(t.Context(), tree, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSettingsOfTable checks what has to be set for drivers whose own option is not
// enough.
func TestSettingsOfTable(t *testing.T) {
	all := table(t)
	for _, c := range []struct{ id, defconfig, want string }{
		{"15b3:1003:0280", "", "CONFIG_MLX4_EN=m"},
		{"15b3:1017:0200", "", "CONFIG_MLX5_CORE=m CONFIG_MLX5_CORE_EN=y"},
		{"15b3:1017:0200", "CONFIG_MLX5_CORE=y\nCONFIG_PCI=y\n", "CONFIG_MLX5_CORE_EN=y"},
		{"1077:8070:0200", "", "CONFIG_QEDE=m CONFIG_QED=m"},
		{"1077:8070:0200", "CONFIG_QED=m\n# CONFIG_NET_VENDOR_QLOGIC is not set\n", "CONFIG_QEDE=m CONFIG_NET_VENDOR_QLOGIC=y"},
		{"19a2:0710:0200", "# CONFIG_NET_VENDOR_EMULEX is not set\n", "CONFIG_BE2NET=m CONFIG_NET_VENDOR_EMULEX=y"},
		{"8086:1592:0200", "", "CONFIG_ICE=m"},
		{"8086:1592:0200", "CONFIG_ICE=y\nCONFIG_PCI_MSI=y\n", ""},
		{"8086:1889:0200", "", "CONFIG_I40EVF=m"},
		{"1000:005d:0104", "", "CONFIG_MEGARAID_SAS=m"},
		{"1000:005d:0104", "CONFIG_MEGARAID_SAS=m\n", "CONFIG_BLK_DEV_SD=m"},
		{"1137:0045:0c04", "CONFIG_BLK_DEV_SD=y\n", "CONFIG_FCOE_FNIC=m CONFIG_LIBFCOE=m CONFIG_LIBFC=m CONFIG_SCSI_FC_ATTRS=m"},
		{"8086:201d:0104", "", "CONFIG_VMD=m CONFIG_BLK_DEV_NVME=m"},
		{"1af4:1041:0200", "", "CONFIG_VIRTIO_PCI=m CONFIG_VIRTIO_NET=m"},
	} {
		s := Sources{Table: all, Release: "6.6.0"}
		if c.defconfig != "" {
			s.Defconfig = configured(t, c.defconfig)
		}
		d, err := Parse("pci", c.id)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := NewInventory(s).Find(d)
		if err != nil || len(answer.Drivers) == 0 {
			t.Errorf("%s: %v, %v", c.id, answer, err)
			continue
		}
		if got := strings.Join(answer.Drivers[0].Set, " "); got != c.want {
			t.Errorf("%s with %q: %q, want %q", c.id, c.defconfig, got, c.want)
		}
	}
}

// TestEverySettingIsReadable reads the settings of each driver in each kernel.
func TestEverySettingIsReadable(t *testing.T) {
	all := table(t)
	without := 0
	for _, known := range all.Drivers {
		for _, k := range all.Kernels {
			list, err := all.settings(known, k.Version)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 && all.option(known, k.Version) != "" {
				without++
			}
			if at := slices.IndexFunc(list, func(s kconfig.Setting) bool { return s.Option == all.option(known, k.Version) }); at > 0 {
				t.Errorf("the option of %s is in the place %d of %v", known.Module, at, list)
			}
		}
	}
	if without > 40 {
		t.Errorf("%d drivers of a kernel have an option, but no settings", without)
	}
	for module, list := range companions {
		known, ok := all.module(module)
		if !ok {
			t.Errorf("the table has no %s", module)
			continue
		}
		set, err := all.settings(known, "6.6.0")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.fits == nil && !slices.ContainsFunc(set, func(s kconfig.Setting) bool { return s.Option == c.Setting.Option }) {
				t.Errorf("the settings of %s in the table, %v, lack %s", module, set, c.Setting.Option)
			}
		}
	}
}

// TestDriverWithoutCompanion checks that a driver does not count without what makes its
// interfaces or disks.
func TestDriverWithoutCompanion(t *testing.T) {
	const (
		mlx5, mlx4 = "pci:v000015B3d00001017sv*sd*bc*sc*i*", "pci:v000015B3d00001003sv*sd*bc*sc*i*"
		raid       = "pci:v00001000d0000005Dsv*sd*bc*sc*i*"
		other      = "kernel/drivers/other.ko\n"
	)
	for name, c := range map[string]struct {
		id, release string
		loadable    map[string]string
		builtin     string
		config      string
		state, says string
	}{
		"mlx5 without Ethernet":        {"15b3:1017", "6.6.1", map[string]string{"mlx5_core": mlx5}, other, "", "missing", "not its Ethernet interfaces (CONFIG_MLX5_CORE_EN)"},
		"mlx5 with Ethernet":           {"15b3:1017", "6.6.1", map[string]string{"mlx5_core": mlx5 + " auxiliary:mlx5_core.eth"}, other, "", "module", ""},
		"mlx5 of an old kernel":        {"15b3:1017", "5.10.1", map[string]string{"mlx5_core": mlx5}, other, "", "unknown", "CONFIG_MLX5_CORE_EN): not known, because the kernel carries no configuration"},
		"mlx5 configured without":      {"15b3:1017", "5.10.1", map[string]string{"mlx5_core": mlx5}, other, "CONFIG_MLX5_CORE=m\n", "missing", "CONFIG_MLX5_CORE_EN=y adds it"},
		"mlx5 configured with":         {"15b3:1017", "5.10.1", map[string]string{"mlx5_core": mlx5}, other, "CONFIG_MLX5_CORE=m\nCONFIG_MLX5_CORE_EN=y\n", "module", ""},
		"mlx4 without Ethernet":        {"15b3:1003", "6.6.1", map[string]string{"mlx4_core": mlx4}, other, "", "missing", "CONFIG_MLX4_EN adds it"},
		"mlx4 with Ethernet":           {"15b3:1003", "6.6.1", map[string]string{"mlx4_core": mlx4, "mlx4_en": ""}, other, "", "module", ""},
		"mlx4 of unknown built-ins":    {"15b3:1003", "6.6.1", map[string]string{"mlx4_core": mlx4}, "", "", "unknown", "CONFIG_MLX4_EN): there is no such module, and what is built in is not known"},
		"mlx4, its Ethernet left out":  {"15b3:1003", "6.6.1", map[string]string{"mlx4_core": mlx4}, other, "CONFIG_MLX4_CORE=m\nCONFIG_MLX4_EN=m\n", "missing", "not its Ethernet interfaces (CONFIG_MLX4_EN): its module is not on board, although CONFIG_MLX4_EN=m"},
		"mlx4 without its modules":     {"15b3:1003", "6.6.1", nil, "", "CONFIG_MLX4_CORE=y\nCONFIG_MLX4_EN=m\n", "unknown", "not known without its modules; add the initramfs (CONFIG_MLX4_EN=m)"},
		"a RAID card without its disk": {"1000:005d:0104", "6.6.1", map[string]string{"megaraid_sas": raid}, other, "", "missing", "not SCSI and ATA disks (CONFIG_BLK_DEV_SD)"},
		"a RAID card with its disk":    {"1000:005d:0104", "6.6.1", map[string]string{"megaraid_sas": raid}, "kernel/drivers/scsi/sd_mod.ko\n", "", "module", ""},
	} {
		s := Sources{Table: table(t), Release: c.release, Features: &kernel.Features{}}
		if c.loadable != nil {
			s.Modules = catalog(t, c.loadable, c.builtin)
		}
		if c.config != "" {
			s.Features.Config = configured(t, c.config)
		}
		d, err := Parse("pci", c.id)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := NewInventory(s).Find(d)
		if err != nil || len(answer.Drivers) == 0 {
			t.Errorf("%s: %v, %v", name, answer, err)
			continue
		}
		got := answer.Drivers[0]
		if got.State != c.state || !strings.Contains(got.Why, c.says) || (c.says == "") != (got.Why == "") || (len(got.Set) > 0) != (c.state != "module" && !strings.Contains(c.config, "EN=m")) {
			t.Errorf("%s: %+v, want %s: %q", name, got, c.state, c.says)
		}
	}
}

// TestOptionByModule looks for options that build a module beside the table's.
func TestOptionByModule(t *testing.T) {
	in := NewInventory(Sources{Table: table(t), Release: "6.6.1", Modules: catalog(t, map[string]string{"mlx4_en": "", "nbd": ""}, "kernel/other.ko\n")})
	for option, want := range map[string]string{
		"CONFIG_MLX4_EN": "module mlx4_en", "CONFIG_HNS3_HCLGE": "missing hclge", "CONFIG_ICE": "missing ice",
		"NBD": "module nbd", "CONFIG_BLK_DEV_SD": "missing sd_mod", "CONFIG_HZ": "unknown ",
	} {
		if built := in.built(option); len(slices.Compact(slices.Sorted(slices.Values(built)))) != len(built) {
			t.Errorf("%s builds %q", option, built)
		}
		if state, module, _ := in.Option(option); state.String()+" "+module != want {
			t.Errorf("%s: %s %s, want %s", option, state, module, want)
		}
	}
}
