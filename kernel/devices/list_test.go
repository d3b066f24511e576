package devices

import (
	"os"
	"strings"
	"testing"
)

// TestForms reads one machine in every form that lspci prints.
func TestForms(t *testing.T) {
	full := Device{Bus: "pci", Slot: "01:00.0", Vendor: 0x8086, Product: 0x1592, Class: 0x0200, Interface: 0, SubVendor: 0x8086, SubDevice: 2}
	bare := full
	bare.SubVendor, bare.SubDevice = unknown, unknown
	driven := full
	driven.Driver = "ice"
	unplaced := full
	unplaced.Slot = ""
	for name, c := range map[string]struct {
		text string
		want Device
	}{
		"-n":                   {"01:00.0 0200: 8086:1592 (rev 02)", bare},
		"-n of old":            {"01:00.0 Class 0200: 8086:1592", bare},
		"-n -v":                {"01:00.0 0200: 8086:1592 (rev 02)\n\tSubsystem: 8086:0002\n", full},
		"-nn in capitals":      {"01:00.0 Ethernet controller [0200]: Intel E810 [8086:1592]\n\tSubsystem: Intel E810-C-Q2 [8086:0002]", full},
		"-mm -nn":              {`01:00.0 "Ethernet controller [0200]" "Intel Corporation [8086]" "Ethernet Controller E810-C [1592]" -r02 -p00 "Intel Corporation [8086]" "E810-C-Q2 [0002]"`, full},
		"-mm -n":               {`01:00.0 "0200" "8086" "1592" -r02 -p00 "8086" "0002"`, full},
		"-vmm -nn -k":          {"Slot:\t01:00.0\nClass:\tEthernet controller [0200]\nVendor:\tIntel Corporation [8086]\nDevice:\tE810-C [1592]\nSVendor:\tIntel [8086]\nSDevice:\tE810-C-Q2 [0002]\nRev:\t02\nDriver:\tice\nModule:\tice\n\n", driven},
		"-vmm -n":              {"Slot:\t01:00.0\nClass:\t0200\nVendor:\t8086\nDevice:\t1592\nSVendor:\t8086\nSDevice:\t0002\n", full},
		"-vm, its older form":  {"Device:\t01:00.0\nClass:\t0200\nVendor:\t8086\nDevice:\t1592\nSVendor:\t8086\nSDevice:\t0002\n", full},
		"a colour and a quote": {"> \x1b[01;32m01:00.0\x1b[0m Ethernet controller [0200]: Intel E810 [8086:1592] (rev 02)", bare},
		"a byte-order mark":    {"\ufeff01:00.0 Ethernet controller [0200]: Intel E810 [8086:1592]", bare},
		"a bullet and a fence": {"```\n- `01:00.0 Ethernet controller [0200]: Intel E810 [8086:1592]`\n```", bare},
		"a broken line":        {"01:00.0 Ethernet controller [0200]: Intel Corporation\n   Ethernet Controller E810-C [8086:1592]\n", bare},
		"modalias":             {"pci:v00008086d00001592sv00008086sd00000002bc02sc00i00", unplaced},
		"grep of modalias":     {"/sys/bus/pci/devices/01:00.0/modalias:pci:v00008086d00001592sv00008086sd00000002bc02sc00i00", full},
	} {
		list, err := ParseList(strings.NewReader(c.text), name)
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %d devices, %v", name, len(list), err)
			continue
		}
		got := list[0]
		got.Name = ""
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestDriversWithoutNumbers reads a list of lspci -k, which names drivers.
func TestDriversWithoutNumbers(t *testing.T) {
	text, err := os.ReadFile("testdata/lspci-k.txt")
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseList(strings.NewReader(string(text)), "lspci-k.txt")
	if err != nil || len(list) != 1 || list[0].Driver != "megaraid_sas" {
		t.Fatalf("%+v, %v", list, err)
	}
	in := NewInventory(Sources{Table: table(t)})
	answer, err := in.Find(list[0])
	if err != nil || len(answer.Drivers) != 1 || answer.Drivers[0].Option != "CONFIG_MEGARAID_SAS" {
		t.Errorf("%+v, %v", answer, err)
	}
}
