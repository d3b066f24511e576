package netboot

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hookbuild/netboot/hardware"
)

// Request holds the parts of a DHCP client's message on which an answer depends.
type Request struct {
	MAC hardware.MAC
	// Archs are the numbers of option 93. It is empty if the option is not
	// sent.
	Archs []uint16
	// UserClass is option 77, as the plain text that iPXE sends.
	UserClass string
	// Vendor is option 60: "PXEClient:Arch:00007:UNDI:003010".
	Vendor string
	// Network is the client's network: the server's own, or the relay's.
	Network netip.Prefix
}

// Option returns the bytes that the client sends as a DHCP option. Sent reports
// whether the client sends the option. Valued is false if the client sends it
// with a value that differs between clients. Known is false if only some clients
// of this kind send it.
func (q Request) Option(code int) (value string, sent, valued, known bool) {
	switch code {
	case 60:
		return q.Vendor, q.Vendor != "", true, true
	case 77:
		return q.UserClass, q.UserClass != "", true, true
	case 93:
		var b strings.Builder
		for _, a := range q.Archs {
			b.Write([]byte{byte(a >> 8), byte(a)})
		}
		return b.String(), len(q.Archs) > 0, true, true
	case 94, 97: // network interface and UUID: every boot client sends them
		return "", len(q.Archs) > 0, false, true
	case 175: // iPXE's own options: iPXE identifies itself in option 77
		return "", q.UserClass != "", false, true
	case 53, 55: // message type and requested options
		return "", true, false, true
	}
	return "", false, false, false
}

// Reply is what a client is told.
type Reply struct {
	// IP is the client's address. Bits is the length of its netmask, or 0 if
	// the reply has none.
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
	// Menu reports whether the firmware shows a menu of several entries and
	// waits. BootFile is then that of the first entry.
	Menu bool
	// Unsure describes what the answer depends on and was not evaluated. It is
	// "" if everything was evaluated.
	Unsure string
}

// Answer returns the reply that a client must get by this plan, or false for a
// machine that is not in the plan.
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

// boot returns the boot file and the option 60 that is sent with it.
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

// Request returns the request of a client of this kind with the given
// architecture.
func (c Client) Request(m hardware.Machine, arch uint16, userClass string) Request {
	kind := "PXEClient"
	if c.HTTP {
		kind = HTTPClient
	}
	if userClass != "" {
		kind = "PXEClient" // iPXE sends this after HTTP boot too
	}
	digits := strconv.Itoa(int(arch))
	return Request{
		MAC: m.MAC, Archs: []uint16{arch}, UserClass: userClass, Network: m.Network,
		Vendor: kind + ":Arch:" + "00000"[len(digits):] + digits + ":UNDI:003010",
	}
}
