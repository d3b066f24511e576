package dnsmasq

import (
	"testing"

	"hookbuild/internal/testneed"
	"hookbuild/netboot"
	"hookbuild/netboot/internal/nettest"
)

func start(t *testing.T, n *nettest.Net, conf []byte) *nettest.Process {
	t.Helper()
	dir := t.TempDir()
	file := n.WriteFile("dnsmasq.conf", conf)
	p := n.Run(nil, testneed.Tool(t, "dnsmasq"), "--keep-in-foreground", "--conf-file="+file, "--user=root",
		"--pid-file="+dir+"/pid", "--dhcp-leasefile="+dir+"/leases", "--log-dhcp", "--log-facility=-")
	p.WaitFor("started")
	return p
}

func TestExchange(t *testing.T) {
	n := nettest.New(t)
	p := nettest.Plan(t, netboot.Options{Domain: "example.net"})
	files, err := Server{}.Render(p, netboot.Full)
	if err != nil {
		t.Fatal(err)
	}
	start(t, n, files[0].Content)
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
	start(t, n, files[0].Content)
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
