package dhcpd

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// config is what a configuration says about the machines.
type config struct {
	root    *scope
	subnets []subnet
	hosts   []host
	// assumed says that the subnets are taken to be in another file.
	assumed bool
}

type (
	// scope is a block and those around it.
	scope struct {
		parent     *scope
		statements []statement
		pool       bool // addresses for everybody
	}
	// statement is a setting or a conditional.
	statement struct {
		name        string
		code        int // of an option
		values      []token
		conditional *conditional
	}
	conditional struct{ branches []branch }
	branch      struct {
		test    condition // nil for else
		unknown bool      // the test was not understood: never taken
		inner   *scope
	}
	subnet struct {
		network netip.Prefix
		scope   *scope
	}
	host struct {
		mac   hardware.MAC
		ips   []netip.Addr
		scope *scope
	}
)

// last is the last value's text.
func (s statement) last() string {
	if len(s.values) == 0 {
		return ""
	}
	return s.values[len(s.values)-1].text
}

// Answer implements [netboot.Config].
func (c *config) Answer(q netboot.Request) (netboot.Reply, bool) {
	var around *scope
	network := netip.Prefix{}
	for _, s := range c.subnets {
		if s.network.IsValid() && s.network.Contains(q.Network.Addr()) {
			around, network = s.scope, s.network
		}
	}
	if around == nil && c.assumed {
		around, network = c.root, q.Network
	}
	if around == nil {
		return netboot.Reply{}, false
	}
	h, ip, known := c.find(q.MAC, network)
	if !known && !around.pool && (!c.assumed || len(c.hosts) > 0) {
		return netboot.Reply{}, false
	}
	a := answer{request: q, reply: netboot.Reply{IP: ip, Bits: network.Bits()}}
	a.run(around)
	if h.scope != nil {
		a.run(h.scope)
	}
	return a.reply, true
}

// find looks for a host with an address in the network; the first wins.
func (c *config) find(mac hardware.MAC, network netip.Prefix) (host, netip.Addr, bool) {
	for _, h := range c.hosts {
		if h.mac != mac {
			continue
		}
		if len(h.ips) == 0 {
			return h, netip.Addr{}, true
		}
		if i := slices.IndexFunc(h.ips, network.Contains); i >= 0 {
			return h, h.ips[i], true
		}
	}
	return host{}, netip.Addr{}, false
}

// answer is a reply that is being put together.
type answer struct {
	request netboot.Request
	reply   netboot.Reply
}

// run executes a scope's statements after those around it, so that the inner
// ones win.
func (a *answer) run(s *scope) {
	if s.parent != nil {
		a.run(s.parent)
	}
	a.execute(s)
}

func (a *answer) execute(s *scope) {
	for _, st := range s.statements {
		if st.conditional == nil {
			a.set(st)
			continue
		}
		for _, b := range st.conditional.branches {
			if !b.unknown && (b.test == nil || b.test(a.request)) {
				a.execute(b.inner)
				break
			}
		}
	}
}

func (a *answer) set(s statement) {
	r := &a.reply
	switch s.name {
	case "filename":
		r.BootFile = s.last()
	case "server-name":
		r.ServerName = s.last()
	case "next-server":
		r.NextServer, _ = netip.ParseAddr(s.last())
	case "option":
		a.setOption(s)
	}
}

func (a *answer) setOption(s statement) {
	r := &a.reply
	switch s.code {
	case 3:
		r.Routers = addresses(s.values)
	case 6:
		r.Nameservers = addresses(s.values)
	case 12:
		r.Hostname = s.last()
	case 15:
		r.Domain = s.last()
	case 43:
		r.VLAN = vlan(s.last())
	case 60:
		r.Vendor = s.last()
	case 66:
		r.ServerName = s.last()
	case 67:
		r.BootFile = s.last()
	}
}

func addresses(values []token) []netip.Addr {
	text := make([]string, len(values))
	for i, v := range values {
		text[i] = v.text
	}
	return netboot.ParseAddrs(text)
}

// vlan reads sub-option 116 out of option 43 in hexadecimal.
func vlan(text string) string {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil {
		return ""
	}
	return netboot.ParseVLANOption(raw)
}
