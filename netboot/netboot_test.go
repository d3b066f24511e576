package netboot_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hookbuild/netboot"
	"hookbuild/netboot/dhcpd"
	"hookbuild/netboot/dnsmasq"
	"hookbuild/netboot/kea"
	"hookbuild/netboot/windows"
	"hookbuild/test/nettest"
)

func TestLayoutOf(t *testing.T) {
	old := netboot.Layout{HTTPPort: 80, ScriptPath: "/auto.ipxe", BinaryPath: "/ipxe/", BIOS: "undionly.kpxe", EFI: "ipxe.efi", ARM64: "snp.efi"}
	middle := old
	middle.HTTPPort = 7171
	latest := netboot.Layout{HTTPPort: 7171, ScriptPath: "/ipxe/script/auto.ipxe", BinaryPath: "/ipxe/binary/", BIOS: "undionly.kpxe", EFI: "ipxe.efi", ARM64: "snp-arm64.efi"}
	for version, want := range map[string]netboot.Layout{
		"v0.18.3": old, "0.21.8": old, "v0.22.0": middle, "v0.24.1": middle, "v0.25.0": latest, "v0.26.1": latest, "v0.26": latest,
		"v0.25.0-dev+build.7": latest,
	} {
		got, known, err := netboot.LayoutOf(version)
		if err != nil || !known || got != want {
			t.Errorf("%s: %+v %t %v", version, got, known, err)
		}
	}
	for _, version := range []string{"v0.27.0", "v1.0.0"} {
		if got, known, err := netboot.LayoutOf(version); err != nil || known || got != latest {
			t.Errorf("%s: %+v %t %v", version, got, known, err)
		}
	}
	for _, version := range []string{"", "latest", "v0", "0.26.1 ", "v0.99999"} {
		if _, _, err := netboot.LayoutOf(version); err == nil {
			t.Errorf("%q was accepted", version)
		}
	}
}

// valid returns options that pass.
func valid() netboot.Options {
	return netboot.Options{TinkerbellIP: netip.MustParseAddr("192.0.2.10"), BootstrapIP: netip.MustParseAddr("192.0.2.9")}
}

func TestRefusedOptions(t *testing.T) {
	tests := map[string]func(*netboot.Options){
		"the Tinkerbell IP is missing":     func(o *netboot.Options) { o.TinkerbellIP = netip.Addr{} },
		"is not the IPv4 address of a":     func(o *netboot.Options) { o.TinkerbellIP = netip.MustParseAddr("2001:db8::1") },
		"both stacks run at the same time": func(o *netboot.Options) { o.BootstrapIP = o.TinkerbellIP },
		"needs the bootstrap IP":           func(o *netboot.Options) { o.BootstrapIP, o.Phase = netip.Addr{}, netboot.Bootstrap },
		"without host bits":                func(o *netboot.Options) { o.Subnets = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")} },
		"reading the tag":                  func(o *netboot.Options) { o.Tag = "Bad Tag" },
		"reading the user class":           func(o *netboot.Options) { o.UserClasses = []string{`x" {`} },
		"reading the lease":                func(o *netboot.Options) { o.Lease = time.Second },
		"reading the domain":               func(o *netboot.Options) { o.Domain = "example..net" },
		"reading the interface":            func(o *netboot.Options) { o.Interface = "eth0\nport=53" },
		"reading the HTTP port":            func(o *netboot.Options) { o.Layout.HTTPPort = 70000 },
		"reading the path":                 func(o *netboot.Options) { o.Layout.ScriptPath = "auto.ipxe" },
		"reading the program name":         func(o *netboot.Options) { o.Layout.ARM64 = "../x" },
		"reading the EKS Anywhere version": func(o *netboot.Options) { o.Version = "latest" },
	}
	for want, spoil := range tests {
		o := valid()
		spoil(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if err := valid().Validate(); err != nil {
		t.Error(err)
	}
}

func TestRefusedURLs(t *testing.T) {
	for url, ok := range map[string]bool{
		"http://192.0.2.9/auto.ipxe": true, "http://192.0.2.9:7171/ipxe/script/${mac}/auto.ipxe": true,
		"https://192.0.2.9/auto.ipxe": false, "http://boot.example/auto.ipxe": false, "http://192.0.2.9:0/x": false,
		"http://192.0.2.9/" + strings.Repeat("a", 127): false, `http://192.0.2.9/"`: false, "http://u@192.0.2.9/x": false, "http://192.0.2.9/a,b": false,
		"http://192.0.2.9/a'b": false, "http://192.0.2.9/a b": false,
	} {
		o := valid()
		o.ScriptURL = url
		if _, err := netboot.New(o, nil); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	p := nettest.Plan(t, netboot.Options{})
	m := p.Subnets[0].Machines[2] // on VLAN 120
	for _, tt := range []struct {
		name         string
		q            netboot.Request
		file, vendor string
	}{
		{"BIOS", netboot.Request{Archs: []uint16{0}}, "undionly.kpxe", ""},
		{"UEFI, the first counts", netboot.Request{Archs: []uint16{7, 11}}, "ipxe.efi", ""},
		{"arm64", netboot.Request{Archs: []uint16{11}}, "snp-arm64.efi", ""},
		{"HTTP", netboot.Request{Archs: []uint16{16}}, "http://192.0.2.9:7171/ipxe/binary/ipxe.efi", "HTTPClient"},
		{"arm64 HTTP", netboot.Request{Archs: []uint16{19}}, "http://192.0.2.9:7171/ipxe/binary/snp-arm64.efi", "HTTPClient"},
		{"iPXE of another", netboot.Request{Archs: []uint16{7}, UserClass: "iPXE"}, "ipxe.efi", ""},
		{"Tinkerbell", netboot.Request{Archs: []uint16{16}, UserClass: "Tinkerbell"}, "http://192.0.2.9:7171/ipxe/script/auto.ipxe", ""},
		{"unknown architecture", netboot.Request{Archs: []uint16{41}}, "", ""},
		{"installed system", netboot.Request{}, "", ""},
	} {
		tt.q.MAC = m.MAC
		r, ok := p.Answer(tt.q)
		if !ok || r.IP != m.IP || r.BootFile != tt.file || r.Vendor != tt.vendor || (tt.file != "") != (r.VLAN == "120") || (tt.file != "") != (r.NextServer == p.Address) {
			t.Errorf("%s: %t %+v", tt.name, ok, r)
		}
	}
	if _, ok := p.Answer(netboot.Request{MAC: nettest.Stranger()}); ok {
		t.Error("a stranger is answered")
	}
	if _, ok := p.Answer(netboot.Request{MAC: m.MAC, Network: netip.MustParsePrefix("198.51.100.0/26")}); ok {
		t.Error("a machine is answered in another network")
	}
}

// In every mode the phases differ only in Tinkerbell's address.
func TestPhasesDifferByTheAddress(t *testing.T) {
	for _, s := range []netboot.Server{dnsmasq.Server{}, kea.Server{}, dhcpd.Server{}, windows.Server{}} {
		for _, m := range s.Modes() {
			before := nettest.Plan(t, netboot.Options{Phase: netboot.Bootstrap})
			after := nettest.Plan(t, netboot.Options{Phase: netboot.Cluster})
			changes, err := netboot.Changes(s, before, after, m)
			if err != nil || len(changes) == 0 {
				t.Fatal(err, changes)
			}
			for _, c := range changes {
				swap := strings.NewReplacer("192.0.2.9:", "192.0.2.10:", "192.0.2.10:", "192.0.2.9:",
					"192.0.2.10", "192.0.2.9", "192.0.2.9", "192.0.2.10", "phase bootstrap", "phase cluster", "phase cluster", "phase bootstrap")
				if diff := cmp.Diff(swap.Replace(string(c.Before)), string(c.After)); diff != "" {
					t.Errorf("%s %s: %s", s.Name(), m, diff)
				}
			}
		}
	}
}

func TestChangeOfASitesFile(t *testing.T) {
	change := netboot.Change{Name: "x", Before: []byte("a\n  next 1\nb\n"), After: []byte("a\n  next 2\nb\n")}
	got, err := change.ApplyTo("site", []byte("own\n\tnext 1\nmore\n"))
	if err != nil || string(got.After) != "own\n\tnext 2\nmore\n" || string(got.Before) != "own\n\tnext 1\nmore\n" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := change.ApplyTo("site", []byte("own\n  next 2\n")); !errors.Is(err, netboot.ErrChanged) {
		t.Error(err)
	}
	if _, err := change.ApplyTo("site", []byte("own\n")); err == nil || !strings.Contains(err.Error(), `lacks the line "next 1"`) {
		t.Error(err)
	}
}

func TestTakenAddresses(t *testing.T) {
	o := valid()
	o.TinkerbellIP = netip.MustParseAddr("192.0.2.255")
	p := nettest.Plan(t, netboot.Options{})
	if _, err := netboot.New(o, p.Subnets[0].Machines); err == nil || !strings.Contains(err.Error(), "broadcast") {
		t.Error(err)
	}
}
