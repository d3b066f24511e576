package check_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

type object = map[string]any

// keaSample returns a configuration that Kea accepts.
func keaSample(r *rand.Rand) sample {
	subnet := object{"id": 1, "subnet": "192.0.2.0/24"}
	if r.IntN(3) > 0 {
		subnet["pools"] = []object{{"pool": pick(r, "192.0.2.100 - 192.0.2.190", "192.0.2.128/26")}}
	}
	server := object{
		"interfaces-config": object{"interfaces": []string{pick(r, "*", "*", "ens37")}},
		"lease-database":    object{"type": "memfile"},
		"client-classes":    keaClasses(r),
	}
	if r.IntN(15) == 0 {
		server["interfaces-config"] = object{"interfaces": []string{}}
	}
	shared := object{"name": "lan"}
	levels := []object{server, subnet}
	if r.IntN(3) == 0 {
		levels = append(levels, shared)
	}
	level := func() object { return levels[r.IntN(len(levels))] }
	level()["next-server"] = "192.0.2.9"
	if r.IntN(4) > 0 {
		level()["match-client-id"] = false
	}
	level()["option-data"] = keaOptions(r)
	if r.IntN(6) == 0 {
		level()["boot-file-name"] = "pxelinux.0"
	}
	if r.IntN(6) == 0 {
		level()["server-hostname"] = pick(r, "boot.example", "192.0.2.9")
	}
	keaRequired(r, levels[1+r.IntN(len(levels)-1)])
	keaReservations(r, server, subnet, level)
	if len(levels) == 3 {
		shared["subnet4"] = []object{subnet}
		server["shared-networks"] = []object{shared}
	} else {
		server["subnet4"] = []object{subnet}
	}
	text, err := json.MarshalIndent(object{"Dhcp4": server}, "", " ")
	if err != nil {
		panic(err)
	}
	return sample{text: pick(r, "", "// by hand\n", "# by hand\n") + string(text)}
}

func keaOptions(r *rand.Rand) []object {
	list := []object{}
	if r.IntN(10) > 0 {
		list = append(list, pick(r, object{"name": "routers", "data": "192.0.2.1"}, object{"code": 3, "data": "192.0.2.1"}, object{"code": 3, "space": "dhcp4", "csv-format": false, "data": "C0000201"}, object{"name": "routers", "data": "192.0.2.254"}))
	}
	if r.IntN(10) > 0 {
		list = append(list, pick(r, object{"name": "domain-name-servers", "data": "192.0.2.53"}, object{"code": 6, "csv-format": true, "data": "192.0.2.53"}, object{"name": "domain-name-servers", "data": "192.0.2.53, 192.0.2.54"}))
	}
	if r.IntN(8) == 0 {
		list = append(list, pick(r, object{"name": "tftp-server-name", "data": "192.0.2.9"}, object{"name": "boot-file-name", "data": "other.efi"}, object{"name": "domain-name", "data": "example.net"}, object{"code": 43, "csv-format": false, "data": "74023330", "always-send": true}))
	}
	return list
}

func keaRequired(r *rand.Rand, level object) {
	if r.IntN(4) == 0 {
		level["require-client-classes"] = []string{pick(r, "bios", "uefi", "late")}
	}
	if r.IntN(14) == 0 {
		level["client-class"] = pick(r, "KNOWN", "uefi", "tink")
	}
}

func keaReservations(r *rand.Rand, server, subnet object, level func() object) {
	var list []object
	for i, name := range []string{"cp-1", "wk-1"} {
		o := object{"hw-address": pick(r, fmt.Sprintf("02:00:00:00:00:0%d", i+1), fmt.Sprintf("02:00:00:00:00:0%d", i+1), fmt.Sprintf("2:0:0:0:0:%d", i+1)), "ip-address": fmt.Sprintf("192.0.2.%d", pick(r, 11+i, 11+i, 11+i, 21+i)), "hostname": name}
		if r.IntN(5) == 0 {
			o["client-classes"] = []string{pick(r, "metal", "uefi")}
		}
		if r.IntN(8) == 0 {
			o["next-server"] = "192.0.2.9"
		}
		if r.IntN(12) == 0 {
			o["boot-file-name"] = "ipxe.efi"
		}
		if r.IntN(6) == 0 {
			o["option-data"] = keaOptions(r)
		}
		list = append(list, o)
	}
	if r.IntN(3) > 0 {
		subnet["reservations"] = list
		if r.IntN(8) == 0 {
			level()["reservations-in-subnet"] = false
		}
		return
	}
	server["reservations"] = list
	if r.IntN(4) > 0 {
		level()["reservations-global"] = true
	}
}

// keaClasses returns classes with tests of many forms.
func keaClasses(r *rand.Rand) []object {
	tink := pick(r, "option[77].hex == 'Tinkerbell'", "substring(option[77].hex,0,10) == 'Tinkerbell'", "option[77].exists", "option[user-class].hex == 'Tinkerbell'", "option[77].hex == 0x54696e6b657262656c6c", "option[77].hex == 'tinkerbell'", "substring(option[77].hex,-4,all) == 'bell'", "member('KNOWN') and option[77].hex == 'Tinkerbell'", "'Tinkerbell' == option[77].hex", "option[77].text == 'Tinkerbell'")
	list := []object{{"name": "metal"}}
	if r.IntN(8) > 0 {
		list = append(list, object{"name": "tink", "test": tink, "boot-file-name": scriptURL})
	}
	arch := func(n int, form int) string {
		switch form {
		case 0:
			return fmt.Sprintf("option[93].hex == 0x%04x", n)
		case 1:
			return fmt.Sprintf("substring(option[60].hex,0,20) == 'PXEClient:Arch:%05d'", n)
		case 2:
			return fmt.Sprintf("substring(option[93].hex, 0, 2) == 0x%04x", n)
		case 3:
			return fmt.Sprintf("option[client-system].hex == 0x%x", n)
		case 4:
			return fmt.Sprintf("option[60].text == 'PXEClient:Arch:%05d:UNDI:003010'", n)
		default:
			return fmt.Sprintf("option[93].exists and (option[93].hex == 0x%04x)", n)
		}
	}
	form := r.IntN(6)
	for _, k := range []struct {
		name, file string
		archs      []int
	}{{"bios", "undionly.kpxe", []int{0}}, {"uefi", "ipxe.efi", []int{7, 9}}, {"arm", "snp-arm64.efi", []int{11}}, {"http", programs + "ipxe.efi", []int{16}}} {
		if r.IntN(5) == 0 {
			continue
		}
		test := arch(k.archs[0], form)
		for _, a := range k.archs[1:] {
			test = "(" + test + ") or (" + arch(a, form) + ")"
		}
		switch {
		case r.IntN(3) == 0:
			test = "not (option[77].hex == 'Tinkerbell') and (" + test + ")"
		case r.IntN(4) == 0:
			test = "(" + test + ") and member('KNOWN')"
		case r.IntN(5) == 0:
			test = "pkt4.mac == 0x020000000001 and (" + test + ")"
		case r.IntN(6) == 0:
			test = "(" + test + ") and substring(pkt4.mac,0,3) == 0x020000"
		case r.IntN(6) == 0:
			test = "member('ALL') and (" + test + ")"
		case r.IntN(6) == 0:
			test = "not member('UNKNOWN') and (" + test + ")"
		}
		c := object{"name": k.name, "test": test, "boot-file-name": k.file}
		if k.name == "http" {
			c["option-data"] = []object{{"name": "vendor-class-identifier", "data": "HTTPClient", "always-send": r.IntN(2) == 0}}
		}
		if r.IntN(6) == 0 {
			c["only-if-required"] = true
		}
		if r.IntN(6) == 0 {
			c["next-server"] = "192.0.2.9"
		}
		if r.IntN(10) == 0 {
			c["server-hostname"] = "boot.example"
		}
		list = append(list, c)
	}
	if r.IntN(2) == 0 {
		list = append(list, object{"name": "late", "test": pick(r, "member('UNKNOWN')", "pkt4.htype == 1 and member('ALL')", "concat(option[77].hex,'x') == 'Tinkerbellx'", "ifelse(option[77].exists,'a','b') == 'a'", "pkt4.msgtype == 1", "not member('tink') and member('metal')", "option[61].exists", "relay4[1].exists"), "boot-file-name": pick(r, "late.efi", "ipxe.efi")})
	}
	// A class may refer only to those before it, so the order stays.
	return list
}
