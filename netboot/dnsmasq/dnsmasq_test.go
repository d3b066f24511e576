package dnsmasq

import (
	"testing"

	"hookbuild/netboot"
	"hookbuild/netboot/internal/nettest"
)

func TestExchange(t *testing.T) {
	n := nettest.New(t)
	p := nettest.Plan(t, netboot.Options{Domain: "example.net"})
	files, err := Server{}.Render(p, netboot.Full)
	if err != nil {
		t.Fatal(err)
	}
	n.StartDHCP(n.Server, "dnsmasq", files[0].Content)
	n.Matrix(t, p)
}

func TestProxy(t *testing.T) {
	n := nettest.New(t)
	p := nettest.PlanOf(t, netboot.Options{}, nettest.OneSubnetCSV)
	files, err := Server{}.Render(p, netboot.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", files[0].Content)
	n.StartDHCP(n.Server, "dnsmasq", files[0].Content)
	for _, c := range p.Clients {
		for _, arch := range c.Archs {
			for _, class := range []string{"", "Tinkerbell"} {
				r, ok := n.Discover(nettest.Client{Request: c.Request(p.Subnets[0].Machines[0], arch, class)})
				t.Log(arch, class, ok, r)
			}
		}
	}
	m := p.Subnets[0].Machines[0]
	m.MAC = nettest.Stranger()
	r, ok := n.Discover(nettest.Client{Request: p.Clients[1].Request(m, 7, "")})
	t.Log("stranger", ok, r)
}
