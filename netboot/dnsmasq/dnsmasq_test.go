package dnsmasq

import (
	"testing"

	"hookbuild/netboot"
	"hookbuild/test/nettest"
)

func TestExchange(t *testing.T) { nettest.Exchange(t, Server{}) }

// A fragment does not affect a site's own clients.
func TestSharedServer(t *testing.T) {
	n := nettest.New(t)
	n.Shared(t, Server{}, nettest.Plan(t, netboot.Options{}), "testdata/site/dnsmasq.conf")
}

func TestGoldenFragment(t *testing.T) { nettest.GoldenFragment(t, Server{}) }

func TestOwnConfigurationIsFaultless(t *testing.T) {
	nettest.Faultless(t, Server{}, "testdata/site/dnsmasq.conf")
}

// A proxy only says what to boot, and only to the machines; another server
// assigns the addresses. UEFI firmware is first sent to port 4011 (package
// chain tests the complete boot with real firmware).
func TestProxy(t *testing.T) {
	p := nettest.PlanOf(t, netboot.Options{}, nettest.OneSubnetCSV)
	files := nettest.GoldenRender(t, Server{}, p, netboot.Proxy)
	n := nettest.New(t)
	n.StartDHCP(n.Server, "dnsmasq", files[0].Content)
	m := p.Subnets[0].Machines[0]
	for _, arch := range []uint16{0, 7, 9, 11} {
		if got, ok := n.Discover(nettest.Client{Request: p.Clients[0].Request(m, arch, "Tinkerbell")}); !ok || got.BootFile != p.ScriptURL || got.IP.IsValid() {
			t.Errorf("iPXE of architecture %d: %t %+v", arch, ok, got)
		}
	}
	if got, ok := n.Discover(nettest.Client{Request: p.Clients[0].Request(m, 0, "")}); !ok || got.BootFile != "undionly.kpxe" || got.NextServer != p.Address {
		t.Errorf("BIOS: %t %+v", ok, got)
	}
	if got, ok := n.Discover(nettest.Client{Request: p.Clients[1].Request(m, 7, "")}); !ok || got.Vendor != "PXEClient" {
		t.Errorf("UEFI: %t %+v", ok, got)
	}
	m.MAC = nettest.Stranger()
	if got, ok := n.Discover(nettest.Client{Request: p.Clients[0].Request(m, 0, "")}); ok {
		t.Errorf("a stranger is told %+v", got)
	}
}

// Names that dnsmasq would misread are refused.
func TestRefusedNames(t *testing.T) {
	for name, ok := range map[string]bool{"12h": false, "infinite": false, "10": false, "a1h": true, "h": true, "cp.other": false, "cp.example.net": true} {
		p := nettest.PlanOf(t, netboot.Options{Domain: "example.net"}, nettest.OneSubnetCSV)
		p.Subnets[0].Machines[0].Hostname = name
		if _, err := (Server{}).Render(p, netboot.Full); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
