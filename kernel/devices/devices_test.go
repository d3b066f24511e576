package devices

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/kernel"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/modules"
	"hookbuild/test/kerneltest"
	"hookbuild/test/testneed"
)

func table(t *testing.T) *Table {
	t.Helper()
	all, err := ReadTable()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTable(t *testing.T) {
	all := table(t)
	if len(all.Drivers) < 1000 || len(all.Kernels) < 4 || !strings.HasPrefix(all.Origin(), "Linux ") {
		t.Errorf("the table of %q has %d drivers", all.Origin(), len(all.Drivers))
	}
	for _, c := range []struct{ bus, id, release, module, option string }{
		{"pci", "8086:1592", "6.6.1", "ice", "CONFIG_ICE"},
		{"pci", "8086:10d3", "", "e1000e", "CONFIG_E1000E"},
		{"pci", "1137:0043", "5.10.9", "enic", "CONFIG_ENIC"},
		{"pci", "14e4:16d7", "6.6.1", "bnxt_en", "CONFIG_BNXT"},
		{"pci", "15b3:1017", "6.6.1", "mlx5_core", "CONFIG_MLX5_CORE"},
		{"pci", "1000:005d", "6.6.1", "megaraid_sas", "CONFIG_MEGARAID_SAS"},
		{"pci", "1000:00a5", "6.6.1", "mpi3mr", "CONFIG_SCSI_MPI3MR"},
		{"pci", "8086:1452", "6.12.1", "idpf", "CONFIG_IDPF"},
		{"pci", "103c:323b", "6.6.1", "hpsa", "CONFIG_SCSI_HPSA"},
		{"pci", "103c:3239", "6.6.1", "hpsa", "CONFIG_SCSI_HPSA"},
		{"pci", "19e5:a222", "6.6.1", "hns3", "CONFIG_HNS3_ENET"}, // only on arm64
		{"pci", "144d:a80a:0108", "6.6.1", "nvme", "CONFIG_BLK_DEV_NVME"},
		{"usb", "0bda:8153", "6.6.1", "r8152", "CONFIG_USB_RTL8152"},
	} {
		d, err := Parse(c.bus, c.id)
		if err != nil {
			t.Fatal(err)
		}
		found := all.find(d)
		i := slices.IndexFunc(found, func(m *match) bool { return m.Module == c.module })
		if i < 0 {
			t.Errorf("%s: not among its %d drivers is %s", c.id, len(found), c.module)
		} else if option := all.option(found[i].Known, c.release); option != c.option {
			t.Errorf("%s: %s comes by %q, not %s", c.id, c.module, option, c.option)
		}
	}
	if found := all.find(bare("pci", 0xffff, 0xffff)); len(found) != 0 {
		t.Errorf("no such device, but %s", found[0].Module)
	}
}

// TestAge checks, for each kernel, the remark on whether its series has a
// driver.
func TestAge(t *testing.T) {
	all := &Table{Kernels: []Kernel{{Version: "7.3.4"}, {Version: "6.12.1"}, {Version: "6.1.1"}}}
	for _, c := range []struct {
		in            kernels
		release, want string
	}{
		{0b011, "6.6.1", "Linux 6.12.1 has it, 6.1.1 does not"},
		{0b011, "6.12.9-amd64", ""},
		{0b011, "7.9", ""},
		{0b001, "6.1.4", "Linux 7.3.4 has it, 6.1.1 does not"},
		{0b100, "6.12.0", "Linux 6.1.1 has it, 6.12.1 no longer does"},
		{0b100, "6.6.0", ""},
		{0b111, "5.10.3", ""},
		{0b001, "", ""},
	} {
		if got := all.age(c.in, c.release); got != c.want {
			t.Errorf("%03b for %q: %q, want %q", c.in, c.release, got, c.want)
		}
	}
}

const lspci = `00:00.0 Host bridge [0600]: Intel Corporation 440FX [8086:1237] (rev 02)
	Subsystem: Red Hat, Inc. Qemu virtual machine [1af4:1100]
01:00.0 Ethernet controller [0200]: Intel Corporation Ethernet Controller E810-C for QSFP [8086:1592] (rev 02)
	Subsystem: Intel Corporation Ethernet Network Adapter E810-C-Q2 [8086:0002]
	Kernel driver in use: ice
0000:02:00.0 Non-Volatile memory controller [0108]: Samsung NVMe SSD [144d:a808] (prog-if 02 [NVM Express])
03:00.0 Non-Volatile memory controller [0108]: Somebody's SSD [beef:0001]
`

// TestHugeLists refuses a list that is larger than that of any machine. It is not
// cut off silently.
func TestHugeLists(t *testing.T) {
	const line = "01:00.0 Ethernet controller [0200]: Intel Corporation X550 [8086:1563]\n"
	if list, err := ParseList(strings.NewReader(strings.Repeat(line, mostDevices)), "list"); err != nil || len(list) != mostDevices {
		t.Errorf("%d devices, %v", len(list), err)
	}
	for what, text := range map[string]string{
		"devices": strings.Repeat(line, mostDevices+1), "line": strings.Repeat("\x00", mostListLine+1), "bytes": line + strings.Repeat("detail\n", int(mostListBytes)/7),
	} {
		if list, err := ParseList(strings.NewReader(text), "list"); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "name the list of one machine") {
			t.Errorf("%s: %d devices, %v", what, len(list), err)
		}
	}
}

func TestParseList(t *testing.T) {
	list, err := ParseList(strings.NewReader(lspci), "lspci.txt")
	if err != nil || len(list) != 4 {
		t.Fatalf("%d devices, %v", len(list), err)
	}
	want := Device{Bus: "pci", Vendor: 0x8086, Product: 0x1592, Class: 0x0200, Interface: 0, SubVendor: 0x8086, SubDevice: 2, Slot: "01:00.0", Driver: "ice",
		Name: "Ethernet controller: Intel Corporation Ethernet Controller E810-C for QSFP"}
	if list[1] != want {
		t.Errorf("the second is %+v, want %+v", list[1], want)
	}
	if list[2].Interface != 2 || list[2].Slot != "0000:02:00.0" {
		t.Errorf("the third is %+v", list[2])
	}
	all := table(t)
	for _, i := range []int{2, 3} { // by class only
		found := all.find(list[i])
		if !slices.ContainsFunc(found, func(m *match) bool { return m.Module == "nvme" }) {
			t.Errorf("no nvme for %s", list[i])
		}
	}
	usb, err := ParseList(strings.NewReader("Bus 002 Device 003: ID 0bda:8153 Realtek Semiconductor Corp. RTL8153\r\nBus 001 Device 001: ID 1d6b:0002\n"), "lsusb.txt")
	if err != nil || len(usb) != 2 || usb[0].Name != "Realtek Semiconductor Corp. RTL8153" || usb[1].Product != 2 {
		t.Errorf("the USB devices are %v, %v", usb, err)
	}
	for _, text := range []string{"", "01:00.0 Ethernet controller: Intel Corporation E810\n", "<html>"} {
		if _, err := ParseList(strings.NewReader(text), "x"); err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "-nn") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"8086", "8086:xyz", "8086:15920", ":", "", "8086:1592:zz", "8086:1592:0200:1"} {
		if _, err := Parse("pci", text); err == nil || fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFindInKernel(t *testing.T) {
	tree := &initramfs.Tree{}
	add := func(name, text string) {
		t.Helper()
		if err := tree.Add(initramfs.BytesFile(name, []byte(text), initramfs.Epoch())); err != nil {
			t.Fatal(err)
		}
	}
	add("lib/modules/1/modules.builtin", "kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko\nkernel/drivers/nvme/host/nvme.ko\n")
	add("lib/modules/1/modules.builtin.modinfo", "e1000e.alias=pci:v00008086d000010D3sv*sd*bc*sc*i*\x00e1000e.firmware=x.bin\x00")
	add("lib/firmware/intel/ice/ddp/ice.pkg.zst", "ddp")
	set, err := modules.Read(t.Context(), tree, "1", 1)
	if err != nil {
		t.Fatal(err)
	}
	in := NewInventory(Sources{Modules: set.Catalog(), Firmware: tree, Table: table(t), Release: "6.6.32"})
	first := func(d Device) string {
		t.Helper()
		answer, err := in.Find(d)
		if err != nil {
			t.Fatal(err)
		}
		if len(answer.Drivers) == 0 {
			return answer.Note
		}
		return answer.Drivers[0].String()
	}
	for id, want := range map[string]string{
		"8086:10d3":      "e1000e: built in; firmware not on board: x.bin",
		"8086:1592":      "ice: missing; CONFIG_ICE adds it",
		"144d:a808:0108": "nvme: built in",
		"1137:0043":      "enic: missing; CONFIG_ENIC adds it",
		// The driver's aliases name the class, which --pci leaves open.
		"8086:1229": "e100: missing; CONFIG_E100 adds it; firmware not on board: e100/d101m_ucode.bin, e100/d101s_ucode.bin, e100/d102e_ucode.bin",
	} {
		d, err := Parse("pci", id)
		if err != nil {
			t.Fatal(err)
		}
		if got := first(d); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	for id, want := range map[string]string{"beef:0001": "add the class", "beef:0001:0100": "no driver in the table (Linux ", "beef:0001:0600": "may not need one"} {
		d, err := Parse("pci", id)
		if err != nil {
			t.Fatal(err)
		}
		if got := first(d); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// TestUnknownIsNotMissing looks up drivers for a vmlinuz alone, whose modules
// are not known.
func TestUnknownIsNotMissing(t *testing.T) {
	config, err := kconfig.Parse(strings.NewReader("CONFIG_ICE=m\nCONFIG_E1000E=y\n# CONFIG_ENIC is not set\n"), "test")
	if err != nil {
		t.Fatal(err)
	}
	unseen := "not known without its modules; add the initramfs"
	for name, c := range map[string]struct {
		features *kernel.Features
		want     [3]string
	}{
		"with its configuration":    {&kernel.Features{Config: config}, [3]string{unseen + " (CONFIG_ICE=m)", "built in", "missing; CONFIG_ENIC adds it"}},
		"without its configuration": {&kernel.Features{}, [3]string{unseen, unseen, unseen}},
	} {
		in := NewInventory(Sources{Features: c.features, Table: table(t), Release: "6.6.32"})
		for i, id := range []string{"8086:1592", "8086:10d3", "1137:0043"} {
			d, err := Parse("pci", id)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := in.Find(d)
			if err != nil || len(answer.Drivers) != 1 {
				t.Fatalf("%s: %v, %v", id, answer, err)
			}
			_, got, _ := strings.Cut(answer.Drivers[0].String(), ": ")
			if got, _, _ = strings.Cut(got, "; requests firmware"); got != c.want[i] {
				t.Errorf("%s, %s: %q, want %q", name, id, got, c.want[i])
			}
		}
	}
}

// TestUnknownCard checks that no driver that takes any card of another programming
// interface is named for a network card that the table does not know.
func TestUnknownCard(t *testing.T) {
	in := NewInventory(Sources{Features: &kernel.Features{}, Table: table(t), Release: "6.6.32"})
	for id, want := range map[string]int{"dead:beef:0200": 0, "dead:beef:020000": 0, "dead:beef:020001": 1} { // idpf's interface is 01
		d, err := Parse("pci", id)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := in.Find(d); err != nil || len(answer.Drivers) != want {
			t.Errorf("%s: %v, %v", id, answer, err)
		}
	}
}

// TestNeededFirmware checks that the firmware of a driver's dependencies is
// included.
func TestNeededFirmware(t *testing.T) {
	qede := bare("pci", 0x1077, 0x8070)
	in := NewInventory(Sources{Modules: &modules.Catalog{}, Table: table(t), Release: "6.12.1"})
	answer, err := in.Find(qede)
	if err != nil || len(answer.Drivers) == 0 {
		t.Fatalf("%v, %v", answer, err)
	}
	if text := answer.Drivers[0].String(); !strings.Contains(text, "qede") || !strings.Contains(text, "qed/qed_init_values") {
		t.Errorf("the answer is %q", text)
	}
}

// TestUSBControllers checks that each controller has one driver if anything
// identifies it.
func TestUSBControllers(t *testing.T) {
	in := NewInventory(Sources{Modules: &modules.Catalog{}, Table: table(t)})
	for line, want := range map[string][]string{
		"00:14.0 USB controller [0c03]: Intel Corporation Sunrise Point-LP USB 3.0 xHCI Controller [8086:9d2f] (rev 21)": {"xhci_pci"},
		"00:14.0 USB controller [0c03]: Nobody [dead:9d2f] (prog-if 20 [EHCI])":                                          {"ehci_pci"},
		"00:1d.0 0c03: dead:0001": {"ehci_pci", "ohci_pci", "thunderbolt", "uhci_hcd", "xhci_pci"},
	} {
		list, err := ParseList(strings.NewReader(line), "test")
		if err != nil {
			t.Fatal(err)
		}
		answer, err := in.Find(list[0])
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range answer.Drivers {
			got = append(got, d.Module)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || answer.OneOf != (len(want) > 1) {
			t.Errorf("%s: %q, one of them: %t", line, got, answer.OneOf)
		}
	}
}

// TestAgainstModprobe asks modprobe for the same devices in a real kernel.
func TestAgainstModprobe(t *testing.T) {
	files := kerneltest.Unpacked(t, kerneltest.CloudKernel(t, "amd64"))
	releases, err := filepath.Glob(filepath.Join(files, "lib/modules/*"))
	if err != nil || len(releases) != 1 {
		t.Fatalf("%v, %v", releases, err)
	}
	release := filepath.Base(releases[0])
	tree := kerneltest.Tree(t, files)
	set, err := modules.Read(t.Context(), tree, release, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.WriteIndexes(tree); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"alias", "dep", "builtin", "symbols", "builtin.alias"} {
		file := modules.Root(release) + "/modules." + name + ".bin"
		kerneltest.WriteFile(t, filepath.Join(dir, file), kerneltest.Content(t, tree, file))
	}
	in := NewInventory(Sources{Modules: set.Catalog(), Table: &Table{}})
	asked := 0
	for _, m := range set.Modules {
		for i, text := range m.Aliases {
			a, ok := parseAlias(text)
			if !ok || a.bus != "pci" || i%7 != 0 {
				continue
			}
			d := exact(a)
			out, err := exec.Command(testneed.Tool(t, "modprobe"), "-d", dir, "-S", release, "-R", modalias(d)).Output()
			if err != nil {
				t.Fatalf("modprobe -R %s: %v", modalias(d), err)
			}
			want := strings.Fields(string(out))
			var got []string
			answer, err := in.Find(d)
			if err != nil {
				t.Fatal(err)
			}
			for _, driver := range answer.Drivers {
				got = append(got, driver.Module)
			}
			slices.Sort(want)
			slices.Sort(got)
			if want = slices.Compact(want); !slices.Equal(got, want) {
				t.Errorf("%s: %q, modprobe says %q", modalias(d), got, want)
			}
			if asked++; asked > 150 {
				return
			}
		}
	}
}

// exact returns a device that matches an alias, with all numbers known.
func exact(a alias) Device {
	number := func(name string) int {
		text := strings.Trim(a.fields[slices.Index(fieldNames(a.bus), name)], "*")
		if text == "" {
			return 0
		}
		return hex(strings.TrimPrefix(text, "0000"))
	}
	return Device{Bus: "pci", Vendor: number("v"), Product: number("d"), SubVendor: number("sv"), SubDevice: number("sd"),
		Class: number("bc")<<8 | number("sc"), Interface: number("i")}
}

func modalias(d Device) string {
	return fmt.Sprintf("pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X", d.Vendor, d.Product, d.SubVendor, d.SubDevice, d.Class>>8, d.Class&0xff, d.Interface)
}

func FuzzParseList(f *testing.F) {
	f.Add(lspci)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseList(strings.NewReader(text), "fuzz")
		if err == nil && len(list) == 0 {
			t.Error("no devices and no error")
		}
	})
}

func FuzzAlias(f *testing.F) {
	f.Add("pci:v00008086d00001592sv*sd*bc*sc*i*")
	f.Add("usb:v0BDAp8153d*dc*dsc*dp*ic*isc*ip*in*")
	f.Add("usb:v0[0-9]p[!a]d*dc*dsc*dp*ic*isc*ip*in*")
	f.Fuzz(func(t *testing.T, text string) {
		if a, ok := parseAlias(text); ok {
			a.matches(bare(a.bus, 1, 2))
		}
	})
}
