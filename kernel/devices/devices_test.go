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
	if len(all.Drivers) < 800 || !strings.HasPrefix(all.Origin, "Linux ") {
		t.Errorf("the table of %q has %d drivers", all.Origin, len(all.Drivers))
	}
	for _, c := range []struct{ bus, id, module, option string }{
		{"pci", "8086:1592", "ice", "CONFIG_ICE"},
		{"pci", "8086:10d3", "e1000e", "CONFIG_E1000E"},
		{"pci", "1137:0043", "enic", "CONFIG_ENIC"},
		{"pci", "14e4:16d7", "bnxt_en", "CONFIG_BNXT"},
		{"pci", "15b3:1017", "mlx5_core", "CONFIG_MLX5_CORE"},
		{"pci", "1000:005d", "megaraid_sas", "CONFIG_MEGARAID_SAS"},
		{"usb", "0bda:8153", "r8152", "CONFIG_USB_RTL8152"},
	} {
		d, err := Parse(c.bus, c.id)
		if err != nil {
			t.Fatal(err)
		}
		found := all.Find(d)
		i := slices.IndexFunc(found, func(k *Known) bool { return k.Module == c.module })
		if i < 0 || found[i].Option != c.option {
			t.Errorf("%s: %d drivers, wanted %s by %s", d, len(found), c.module, c.option)
		}
	}
	if found := all.Find(bare("pci", 0xffff, 0xffff)); len(found) != 0 {
		t.Errorf("no such device, but %s", found[0].Module)
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

func TestParseList(t *testing.T) {
	list, err := ParseList(strings.NewReader(lspci), "lspci.txt")
	if err != nil || len(list) != 4 {
		t.Fatalf("%d devices, %v", len(list), err)
	}
	want := Device{Bus: "pci", Vendor: 0x8086, Product: 0x1592, Class: 0x0200, Interface: unknown, SubVendor: 0x8086, SubDevice: 2, Slot: "01:00.0",
		Name: "Ethernet controller: Intel Corporation Ethernet Controller E810-C for QSFP"}
	if list[1] != want {
		t.Errorf("the second is %+v, want %+v", list[1], want)
	}
	if list[2].Interface != 2 || list[2].Slot != "0000:02:00.0" {
		t.Errorf("the third is %+v", list[2])
	}
	all := table(t)
	for _, i := range []int{2, 3} { // by class alone
		found := all.Find(list[i])
		if !slices.ContainsFunc(found, func(k *Known) bool { return k.Module == "nvme" }) {
			t.Errorf("no nvme for %s", list[i])
		}
	}
	usb, err := ParseList(strings.NewReader("Bus 002 Device 003: ID 0bda:8153 Realtek Semiconductor Corp. RTL8153\r\nBus 001 Device 001: ID 1d6b:0002\n"), "lsusb.txt")
	if err != nil || len(usb) != 2 || usb[0].Name != "Realtek Semiconductor Corp. RTL8153" || usb[1].Product != 2 {
		t.Errorf("the USB devices are %v, %v", usb, err)
	}
	for _, text := range []string{"", "01:00.0 Ethernet controller: Intel Corporation E810\n", "<html>"} {
		if _, err := ParseList(strings.NewReader(text), "x"); err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "-nn") {
			t.Errorf("%q gives %v", text, err)
		}
	}
	for _, text := range []string{"8086", "8086:xyz", "8086:15920", ":", ""} {
		if _, err := Parse("pci", text); err == nil || fault.KindOf(err) != fault.Usage {
			t.Errorf("%q gives %v", text, err)
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
	in := &Inventory{Modules: set, Firmware: tree, Table: table(t)}
	for id, want := range map[string]string{
		"8086:10d3": "e1000e: built in; firmware not on board: x.bin",
		"8086:1592": "ice: missing; CONFIG_ICE adds it",
		"144d:a808": "",
		"1137:0043": "enic: missing; CONFIG_ENIC adds it",
	} {
		d, err := Parse("pci", id)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if found := in.Find(d); len(found) > 0 {
			got = found[0].String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	// The driver's aliases name the class, which --pci leaves open.
	if found := in.Find(bare("pci", 0x8086, 0x1229)); len(found) == 0 || found[0].Module != "e100" {
		t.Errorf("8086:1229 is e100's, but %v", found)
	}
	nvme := bare("pci", 0x144d, 0xa808)
	nvme.Class = 0x0108
	if found := in.Find(nvme); len(found) == 0 || found[0].State != "built in" {
		t.Errorf("nvme is in modules.builtin, but %v", found)
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
	in := &Inventory{Modules: set, Table: &Table{}}
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
			for _, driver := range in.Find(d) {
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

// exact gives a device that fits an alias, all numbers known.
func exact(a alias) Device {
	number := func(name string) int {
		text := strings.Trim(a.fields[name], "*")
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
