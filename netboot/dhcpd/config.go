package dhcpd

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// config is a parsed configuration.
type config struct {
	root    *scope
	subnets []*subnet
	hosts   []host
	classes []*class
	// unsure names something that was not read and can change any answer.
	unsure string
	// assumed reports whether the subnets are expected in another file.
	assumed bool
}

type (
	// scope is a block, with the blocks around it.
	scope struct {
		parent     *scope
		statements []statement
	}
	// statement is a setting or a conditional.
	statement struct {
		name   string
		code   int // of an option
		values []token
		// expression is the value if it must be evaluated. Unread says why it
		// was not parsed.
		expression value
		unread     string
		// optional means that the statement does not replace a set value.
		optional    bool
		conditional *conditional
	}
	conditional struct{ branches []branch }
	branch      struct {
		test   condition // nil for else
		unread string    // why the test is not evaluated
		inner  *scope
	}
	subnet struct {
		network netip.Prefix
		scope   *scope
		// shared is the scope of the shared network, or nil.
		shared *scope
		pools  []pool
	}
	// pool is a range of addresses, with the clients that may use it.
	pool struct {
		scope   *scope
		permits []permit
	}
	permit struct {
		allow bool
		// whom is "known-clients", "unknown-clients", "all", a class's name
		// after "members of ", or something else.
		whom string
	}
	host struct {
		name   string
		mac    hardware.MAC
		ips    []netip.Addr
		unread string // why its address is not known
		scope  *scope
	}
	// class has a condition, or a value that its subclasses name, or both.
	class struct {
		name   string
		scope  *scope
		test   condition
		by     value
		spawns bool
		unread string
		subs   []subclass
	}
	subclass struct {
		data  string
		scope *scope
	}
)

// last returns the text of the last value.
func (s statement) last() string {
	if len(s.values) == 0 {
		return ""
	}
	return s.values[len(s.values)-1].text
}

// Answer implements [netboot.Config].
func (c *config) Answer(q netboot.Request) (netboot.Reply, bool) {
	if c.unsure != "" {
		return netboot.Reply{Unsure: c.unsure}, false
	}
	a := &answer{config: c, environment: environment{request: q}, members: map[string]bool{}, flags: map[string]bool{}, set: map[int]bool{}}
	ok := a.put()
	if a.unsure != "" {
		return netboot.Reply{Unsure: a.unsure}, ok
	}
	return a.reply, ok
}

// answer is a reply under construction.
type answer struct {
	*config
	environment
	reply  netboot.Reply
	unsure string
	// members are the client's classes.
	members map[string]bool
	// flags are settings such as allow and deny. Set holds the options that
	// have a value.
	flags map[string]bool
	set   map[int]bool
	// file and server are fields of the header, which options override.
	file, server string
}

func (a *answer) doubt(why string) { a.unsure = cmp.Or(a.unsure, why) }

// put chooses the address and executes the scopes in dhcpd's order: the subnet,
// the pool, the classes (the first declared last), the host. Each scope skips the
// blocks that an earlier one has executed.
func (a *answer) put() bool {
	classes := a.classify()
	s := a.subnetOf()
	if s == nil {
		return false
	}
	h, s, ip := a.find(s)
	a.static = ip.IsValid()
	around := s.scope
	a.run(around, nil)
	if !a.static {
		p, ok := a.poolOf(s)
		if !ok {
			return false
		}
		a.run(p.scope, s.shared)
		around = p.scope
	}
	for _, scope := range slices.Backward(classes) {
		a.run(scope, around)
	}
	if h.scope != nil {
		a.run(h.scope, around)
	}
	if denied(a.flags, "booting") || denied(a.flags, "unknown-clients") && !a.known {
		return false
	}
	a.finish(h, s, ip)
	return true
}

// denied reports whether a setting exists and is off.
func denied(flags map[string]bool, name string) bool {
	on, set := flags[name]
	return set && !on
}

func (a *answer) finish(h host, s *subnet, ip netip.Addr) {
	r := &a.reply
	r.IP = ip
	if r.Bits == 0 {
		r.Bits = s.network.Bits()
	}
	if !a.set[66] {
		r.ServerName = a.server
	}
	if !a.set[67] {
		r.BootFile = a.file
	}
	if !a.set[12] && a.flags["use-host-decl-names"] && h.scope != nil {
		r.Hostname = h.name
	}
}

// subnetOf returns the subnet of the client.
func (a *answer) subnetOf() *subnet {
	for _, s := range a.subnets {
		if s.network.IsValid() && s.network.Contains(a.request.Network.Addr()) {
			return s
		}
	}
	if !a.assumed {
		return nil
	}
	s := &subnet{network: a.request.Network, scope: a.root}
	if len(a.hosts) == 0 {
		s.pools = []pool{{scope: a.root}}
	}
	return s
}

// find looks for a host with an address in the network, which may be in another
// subnet of the shared network, and then for a host without an address. The client
// is known if any host has its MAC.
func (a *answer) find(s *subnet) (host, *subnet, netip.Addr) {
	var without host
	for _, h := range a.hosts {
		if h.mac != a.request.MAC {
			continue
		}
		a.known = true
		if h.unread != "" {
			a.doubt(h.unread)
		}
		for _, ip := range h.ips {
			for _, other := range append([]*subnet{s}, a.subnets...) {
				if other.network.Contains(ip) && (other == s || s.shared != nil && other.shared == s.shared) {
					return h, other, ip
				}
			}
		}
		if len(h.ips) == 0 && without.scope == nil {
			without = h
		}
	}
	return without, s, netip.Addr{}
}

// poolOf returns the first pool that the client may use.
func (a *answer) poolOf(s *subnet) (pool, bool) {
	for _, other := range a.subnets {
		if other == s || s.shared != nil && other.shared == s.shared {
			for _, p := range other.pools {
				if a.permitted(p) {
					return p, true
				}
			}
		}
	}
	if len(a.subnets) == 0 && len(s.pools) > 0 {
		return s.pools[0], true
	}
	return pool{}, false
}

// permitted reports whether no deny applies, and an allow applies unless the pool
// has none.
func (a *answer) permitted(p pool) bool {
	allowed, allows := false, false
	for _, permit := range p.permits {
		holds := a.covers(permit.whom)
		switch {
		case !permit.allow && holds:
			return false
		case permit.allow:
			allows, allowed = true, allowed || holds
		}
	}
	return allowed || !allows
}

func (a *answer) covers(whom string) bool {
	class, isClass := strings.CutPrefix(whom, "members of ")
	switch {
	case isClass:
		return a.members[class]
	case whom == "known-clients" || whom == "known clients":
		return a.known
	case whom == "unknown-clients" || whom == "unknown clients":
		return !a.known
	case whom == "all" || whom == "all clients":
		return true
	case strings.HasPrefix(whom, "dynamic bootp"):
		return false
	}
	a.doubt("the permission of a pool is not evaluated: " + whom)
	return false
}

// classify returns the scopes of the client's classes, in their order.
func (a *answer) classify() []*scope {
	var in []*scope
	for _, c := range a.classes {
		if c.unread != "" {
			a.doubt("class " + c.name + " is not evaluated: " + c.unread)
			continue
		}
		if c.by != nil {
			in = append(in, a.subclassOf(c)...)
		}
		if c.test != nil {
			holds, why := c.test(&a.environment)
			if why != "" {
				a.doubt("class " + c.name + " is not evaluated: " + why)
			}
			if holds {
				a.members[c.name] = true
				in = append(in, c.scope)
			}
		}
	}
	return in
}

func (a *answer) subclassOf(c *class) []*scope {
	data, ok, why := c.by(&a.environment)
	if why != "" {
		a.doubt("class " + c.name + " is not evaluated: " + why)
	}
	if !ok {
		return nil
	}
	for _, s := range c.subs {
		if s.data == data {
			a.members[c.name] = true
			return []*scope{s.scope}
		}
	}
	if !c.spawns {
		return nil
	}
	a.members[c.name] = true
	return []*scope{c.scope}
}

// run executes the statements of a scope after those of the scopes around it, so
// that the inner ones win. It skips limit and the scopes around it, which are
// executed already.
func (a *answer) run(s, limit *scope) {
	if s == nil {
		return
	}
	for l := limit; l != nil; l = l.parent {
		if l == s {
			return
		}
	}
	a.run(s.parent, limit)
	a.execute(s)
}

func (a *answer) execute(s *scope) {
	for _, st := range s.statements {
		if st.conditional == nil {
			a.apply(st)
			continue
		}
		for _, b := range st.conditional.branches {
			holds, why := b.test == nil, b.unread
			if b.test != nil && why == "" {
				holds, why = b.test(&a.environment)
			}
			if why != "" {
				a.doubt("a condition is not evaluated: " + why)
			}
			if holds || why != "" {
				a.execute(b.inner)
				break
			}
		}
	}
}

func (a *answer) apply(s statement) {
	switch s.name {
	case "allow":
		a.flags[s.last()] = true
	case "deny", "ignore":
		a.flags[s.last()] = false
	case "use-host-decl-names":
		a.flags[s.name] = s.last() == "on" || s.last() == "true"
	case "next-server":
		ip, err := netip.ParseAddr(s.last())
		if err != nil {
			a.doubt("next-server is the name " + s.last())
		}
		a.reply.NextServer = ip
	case "filename":
		a.file = a.text(s)
	case "server-name":
		a.server = a.text(s)
	case "option":
		a.setOption(s)
	}
}

// text returns the value of a statement.
func (a *answer) text(s statement) string {
	if s.unread != "" {
		a.doubt("the value of " + s.name + " is not evaluated: " + s.unread)
	}
	if s.expression == nil {
		return s.last()
	}
	text, _, why := s.expression(&a.environment)
	if why != "" {
		a.doubt("the value of " + s.name + " is not evaluated: " + why)
	}
	return text
}

func (a *answer) setOption(s statement) {
	if s.optional && a.set[s.code] {
		return
	}
	a.set[s.code] = true
	r := &a.reply
	switch s.code {
	case 1:
		if mask, err := netip.ParseAddr(s.last()); err == nil && mask.Is4() {
			r.Bits = netboot.MaskBits(mask)
		}
	case 3:
		r.Routers = addresses(s.values)
	case 6:
		r.Nameservers = addresses(s.values)
	case 12:
		r.Hostname = a.text(s)
	case 15:
		r.Domain = a.text(s)
	case 43:
		r.VLAN = netboot.ParseVLANHex(s.last())
	case 60:
		r.Vendor = a.text(s)
	case 66:
		r.ServerName = a.text(s)
	case 67:
		r.BootFile = a.text(s)
	}
}

func addresses(values []token) []netip.Addr {
	text := make([]string, len(values))
	for i, v := range values {
		text[i] = v.text
	}
	return netboot.ParseAddrs(text)
}
