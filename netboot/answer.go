package netboot

import (
	"net/netip"
	"slices"
	"strconv"

	"hookbuild/netboot/hardware"
)

// Request is what a DHCP client says, as far as an answer depends on it.
type Request struct {
	MAC hardware.MAC
	// Archs are the numbers of option 93; none when it is not sent.
	Archs []uint16
	// UserClass is option 77, as the bare text that iPXE sends.
	UserClass string
	// Vendor is option 60: "PXEClient:Arch:00007:UNDI:003010".
	Vendor string
	// Network is where the client is: the server's own, or the relay's.
	Network netip.Prefix
}

// Reply is what a client is told.
type Reply struct {
	// IP is the client's; Bits the length of its netmask, 0 when none is told.
	IP          netip.Addr
	Bits        int
	Routers     []netip.Addr
	Nameservers []netip.Addr
	Hostname    string
	Domain      string
	// NextServer is the header's siaddr; ServerName is option 66 or the
	// header's sname.
	NextServer netip.Addr
	ServerName string
	// BootFile is option 67 or the header's file.
	BootFile string
	// Vendor is option 60.
	Vendor string
	// VLAN is sub-option 116 of option 43.
	VLAN string
}

// Answer gives what a client must be told by this plan; false for a machine
// that it does not have.
func (p *Plan) Answer(q Request) (Reply, bool) {
	m, ok := p.Machine(q.MAC)
	if !ok || q.Network.IsValid() && q.Network != m.Network {
		return Reply{}, false
	}
	r := Reply{
		IP: m.IP, Bits: m.Network.Bits(), Routers: []netip.Addr{m.Gateway}, Nameservers: m.Nameservers,
		Hostname: m.Hostname, Domain: p.Domain,
	}
	r.BootFile, r.Vendor = p.boot(q)
	if r.BootFile == "" {
		return r, true
	}
	r.NextServer, r.ServerName = p.Address, p.Address.String()
	if m.VLAN != 0 && !p.NoVLANOption {
		r.VLAN = strconv.Itoa(m.VLAN)
	}
	return r, true
}

// boot gives the boot file and the option 60 that comes with it.
func (p *Plan) boot(q Request) (file, vendor string) {
	if slices.Contains(p.UserClasses, q.UserClass) {
		return p.ScriptURL, ""
	}
	if len(q.Archs) == 0 {
		return "", ""
	}
	for _, c := range p.Clients {
		if !slices.Contains(c.Archs, q.Archs[0]) {
			continue
		}
		if c.HTTP {
			return c.BootFile, HTTPClient
		}
		return c.BootFile, ""
	}
	return "", ""
}

// Request is how a client of this kind with the given architecture asks.
func (c Client) Request(m hardware.Machine, arch uint16, userClass string) Request {
	kind := "PXEClient"
	if c.HTTP {
		kind = HTTPClient
	}
	if userClass != "" {
		kind = "PXEClient" // iPXE says so whatever started it
	}
	digits := strconv.Itoa(int(arch))
	return Request{
		MAC: m.MAC, Archs: []uint16{arch}, UserClass: userClass, Network: m.Network,
		Vendor: kind + ":Arch:" + "00000"[len(digits):] + digits + ":UNDI:003010",
	}
}
