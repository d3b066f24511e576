package check_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// dnsmasqSample returns a configuration that dnsmasq accepts. Some serve the
// machines; most have something wrong.
func dnsmasqSample(r *rand.Rand) sample {
	proxy := r.IntN(4) == 0
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %d\nport=0", r.IntN(1000))
	line("%s", maybe(r, 4, "interface=eth0"))
	line("%s", maybe(r, 6, "dhcp-no-override"))
	set := pick(r, "", "", "set:lan,", "tag:!nobody,set:lan,")
	switch {
	case proxy:
		line("dhcp-range=%s192.0.2.0,proxy%s", set, pick(r, ",255.255.255.0", ""))
	default:
		line("dhcp-range=%s%s", set, pick(r, "192.0.2.0,static,255.255.255.0", "192.0.2.0,static,255.255.255.0,12h", "192.0.2.100,192.0.2.190,255.255.255.0,1h", "192.0.2.100,192.0.2.190,1h", "192.0.2.0,static"))
		dnsmasqHosts(r, line)
		dnsmasqAddresses(r, line)
	}
	line("%s", maybe(r, 8, pick(r, "dhcp-ignore=tag:!known", "dhcp-ignore=tag:#known", "dhcp-ignore=tag:bios")))
	dnsmasqMatches(r, line)
	if proxy && r.IntN(4) > 0 {
		dnsmasqServices(r, line)
	}
	dnsmasqBoots(r, line)
	return sample{text: b.String(), proxy: proxy}
}

func dnsmasqHosts(r *rand.Rand, line func(string, ...any)) {
	for i, name := range []string{"cp-1", "wk-1"} {
		mac := pick(r, fmt.Sprintf("02:00:00:00:00:0%d", i+1), fmt.Sprintf("02:00:00:00:00:0%d", i+1), fmt.Sprintf("2:0:0:0:0:%d", i+1),
			fmt.Sprintf("02:00:00:00:00:0%d,02:00:00:00:01:0%d", i+1, i+1), fmt.Sprintf("1-02:00:00:00:00:0%d", i+1), fmt.Sprintf("02:00:00:00:*:0%d", i+1))
		ip := pick(r, fmt.Sprintf("192.0.2.%d", 11+i), fmt.Sprintf("192.0.2.%d", 11+i), fmt.Sprintf("192.0.2.%d", 11+i), fmt.Sprintf("192.0.2.%d", 21+i))
		fields := []string{mac, ip, name}
		if r.IntN(3) == 0 {
			fields = []string{mac, pick(r, "set:metal", "set:metal,set:rack"), name, ip, pick(r, "infinite", "45m", "3600")}
		}
		if r.IntN(12) == 0 {
			fields = []string{mac, ip}
		}
		if r.IntN(20) == 0 {
			fields = []string{mac, "ignore"}
		}
		line("dhcp-host=%s", strings.Join(fields, ","))
	}
	line("%s", maybe(r, 5, "dhcp-host=02:00:00:00:00:01,set:again"))
}

func dnsmasqAddresses(r *rand.Rand, line func(string, ...any)) {
	if r.IntN(8) > 0 {
		line("%s=%s%s,192.0.2.%d", pick(r, "dhcp-option", "dhcp-option-force"), pick(r, "", "", "tag:known,", "tag:lan,"), pick(r, "3", "option:router", "option:router"), pick(r, 1, 1, 1, 254))
	}
	line("%s", maybe(r, 4, "dhcp-option=option:router,192.0.2.254"))
	if r.IntN(8) > 0 {
		line("dhcp-option=%s,192.0.2.53%s", pick(r, "6", "option:dns-server"), maybe(r, 6, ",192.0.2.54"))
	}
	line("%s", maybe(r, 8, pick(r, "dhcp-option=3", "dhcp-option=option:dns-server", "domain=example.net", "dhcp-option=15,example.org", "dhcp-option=option:netmask,255.255.0.0")))
}

func dnsmasqMatches(r *rand.Rand, line func(string, ...any)) {
	line("%s", pick(r, "dhcp-userclass=set:tink,Tinkerbell", "dhcp-match=set:tink,option:user-class,Tinkerbell", "dhcp-match=set:tink,77,Tinkerbell", "dhcp-userclass=tink,Tinker", "dhcp-match=set:tink,option:user-class,tinkerbell", "dhcp-match=set:tink,option:user-class"))
	for _, a := range [][2]string{{"bios", "0"}, {"uefi", "7"}, {"uefi", "9"}, {"arm", "11"}, {"http", "16"}, {"http", "19"}} {
		if r.IntN(4) == 0 {
			continue
		}
		switch r.IntN(5) {
		case 0:
			line("dhcp-vendorclass=set:%s,PXEClient:Arch:%05s", a[0], a[1])
		case 1:
			line("dhcp-match=set:%s,93,%s", a[0], a[1])
		default:
			line("dhcp-match=set:%s,option:client-arch,%s", a[0], a[1])
		}
	}
	line("%s", maybe(r, 4, pick(r, "tag-if=set:step1,tag:!tink,tag:uefi", "tag-if=set:step1,tag:#tink", "tag-if=set:a,tag:b\ntag-if=set:b,tag:uefi")))
	line("%s", maybe(r, 5, pick(r, "dhcp-mac=set:rack,02:00:00:*:*:*", "dhcp-mac=set:rack,02:00:00:00:00:01")))
	line("%s", maybe(r, 6, pick(r, "dhcp-match=set:tink,175", "dhcp-match=set:bios,option:client-arch,0x0007", "dhcp-match=set:pxe,60,PXEClient", "dhcp-match=set:pxe,97")))
}

func dnsmasqServices(r *rand.Rand, line func(string, ...any)) {
	not := pick(r, "tag:!tink,", "tag:!tink,", "tag:#tink,", "")
	for _, csa := range []string{"x86PC", "X86-64_EFI", "BC_EFI", "ARM64_EFI", "7", "9", "0"} {
		if r.IntN(2) == 0 {
			line("pxe-service=%s%s,%s,%s%s", not, csa, pick(r, `"Network boot"`, "Boot"), pick(r, "ipxe.efi", "ipxe.efi", "undionly.kpxe", "undionly", programs+"ipxe.efi"), pick(r, ",192.0.2.9", ",192.0.2.9", ""))
		}
	}
	line("%s", maybe(r, 3, pick(r, `pxe-prompt="Press F8",5`, `pxe-prompt="Booting",0`, "pxe-service=x86PC,Disk,0", "pxe-service=X86-64_EFI,Disk")))
}

func dnsmasqBoots(r *rand.Rand, line func(string, ...any)) {
	tail := func() string {
		return pick(r, ",,192.0.2.9", ",,192.0.2.9", ",,192.0.2.9", ",192.0.2.9,192.0.2.9", "", ",boot.example,192.0.2.9")
	}
	not := pick(r, "tag:!tink,", "tag:!tink,", "tag:#tink,", "", "tag:step1,")
	for _, k := range [][2]string{{"bios", "undionly.kpxe"}, {"uefi", "ipxe.efi"}, {"arm", "snp-arm64.efi"}, {"http", programs + "ipxe.efi"}} {
		if r.IntN(4) > 0 {
			line("dhcp-boot=%stag:%s,%s%s", not, k[0], k[1], tail())
		}
	}
	line("%s", maybe(r, 3, "dhcp-boot="+pick(r, "", not)+pick(r, "ipxe.efi", "pxelinux.0")+tail()))
	line("dhcp-boot=%s%s%s", pick(r, "tag:tink,", "tag:tink,", "tag:tink,tag:known,", "tag:tink,tag:metal,"), scriptURL, tail())
	line("%s", maybe(r, 2, pick(r, "dhcp-option-force=tag:http,60,HTTPClient", "dhcp-option-force=60,HTTPClient", "dhcp-option=tag:http,option:vendor-class,HTTPClient", "dhcp-option=vendor:HTTPClient,60,HTTPClient")))
	line("%s", maybe(r, 8, pick(r, "dhcp-option=66,192.0.2.9", "dhcp-option=67,other.efi", "dhcp-option=tag:uefi,option:bootfile-name,ipxe.efi", "dhcp-option-force=67,forced.efi", "dhcp-option=option:server-ip-address,192.0.2.9")))
	line("%s", maybe(r, 8, pick(r, "dhcp-option-force=43,74:02:33:30", `dhcp-option=vendor:PXEClient,116,"30"`, `dhcp-option-force=tag:tink,vendor:PXEClient,116,"30"`)))
}
