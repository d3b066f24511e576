package nettest

import (
	"fmt"
	"net/netip"
	"testing"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// format makes replies comparable and readable.
func format(r netboot.Reply) string {
	return fmt.Sprintf("ip %s/%d routers %v dns %v name %q domain %q next %s server-name %q file %q opt60 %q vlan %q",
		r.IP, r.Bits, r.Routers, r.Nameservers, r.Hostname, r.Domain, r.NextServer, r.ServerName, r.BootFile, r.Vendor, r.VLAN)
}

// Stranger is a card that is in no hardware.csv.
func Stranger() hardware.MAC { return hardware.MAC{0, 0, 0x5e, 0, 0x53, 0x99} }

// Matrix asks as every machine of the plan in every way that machines ask, and
// as a stranger, and compares each answer with the plan's. Machines outside
// the wire's own subnet ask through the relay.
func (n *Net) Matrix(t *testing.T, p *netboot.Plan) {
	t.Helper()
	direct := netip.MustParseAddr(ServerIP)
	for _, s := range p.Subnets {
		for i, m := range s.Machines {
			relayed := !s.Network.Contains(direct)
			for _, c := range variants(p, m, i == 0) {
				c.Relayed = relayed
				n.expect(t, p, c)
			}
		}
	}
	for _, arch := range []uint16{0, 7} {
		q := netboot.Client{}.Request(hardware.Machine{MAC: Stranger()}, arch, "")
		if got, ok := n.ask(Client{Request: q}); ok {
			t.Errorf("a stranger of architecture %d is told %s", arch, format(got))
		}
	}
}

// variants are the ways in which one machine asks; thorough adds the rare ones.
func variants(p *netboot.Plan, m hardware.Machine, thorough bool) []Client {
	var list []Client
	for _, c := range p.Clients {
		for _, arch := range c.Archs {
			list = append(list,
				Client{Request: c.Request(m, arch, "")},
				Client{Request: c.Request(m, arch, p.UserClasses[0])})
		}
	}
	if !thorough {
		return list[:4]
	}
	efi := p.Clients[1]
	installed := efi.Request(m, 7, "")
	installed.Archs, installed.Vendor = nil, "dhcpcd"
	both := efi.Request(m, 7, "")
	both.Archs = []uint16{7, 9}
	return append(list,
		Client{Request: efi.Request(m, 7, "iPXE")},
		Client{Request: efi.Request(m, 7, ""), Short: true},
		Client{Request: efi.Request(m, 7, p.UserClasses[0]), Short: true},
		Client{Request: efi.Request(m, 7, ""), ID: append([]byte{1}, m.MAC[:]...)},
		Client{Request: installed, ID: []byte{0xff, 0, 0, 0, 1, 0, 2, 0, 0, 0xab, 0x11}},
		Client{Request: installed, ID: make([]byte, 17)},
		Client{Request: both},
	)
}

// expect asks once and compares with the plan.
func (n *Net) expect(t *testing.T, p *netboot.Plan, c Client) {
	t.Helper()
	want, _ := p.Answer(c.Request)
	got, ok := n.ask(c)
	name := fmt.Sprintf("%s architecture %v user class %q id %x", c.MAC, c.Archs, c.UserClass, c.ID)
	if !ok {
		t.Errorf("%s: no answer", name)
		return
	}
	if c.Short { // what was not asked for may be left out
		want.Hostname, want.Domain, want.ServerName, want.VLAN = got.Hostname, got.Domain, got.ServerName, got.VLAN
	}
	if want.BootFile == "" { // the server to load nothing from does not matter
		want.NextServer, want.ServerName, want.VLAN = got.NextServer, got.ServerName, got.VLAN
	}
	if !sameReply(want, got) {
		t.Errorf("%s:\nwant %s\ngot  %s", name, format(want), format(got))
	}
}
