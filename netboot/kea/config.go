package kea

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
	scope
	classes []clientClass
	// early are the classes that do not depend on KNOWN, late those that do.
	early, late []int
	subnets     []subnetConfig
	global      []reservationConfig
	// deaf reports whether the server listens on no interface.
	deaf bool
	// unsure names something that was not read and can change any answer.
	unsure string
	// assumed is the subnet used for a configuration without any, so that its
	// classes can still be checked.
	assumed *subnetConfig
}

type (
	// scope holds the settings that every level can have.
	scope struct {
		bootFile, serverName string
		nextServer           netip.Addr
		options              map[int]string
		// required are classes to evaluate. Guard is a class that clients of the
		// subnet must be in.
		required []string
		guard    string
	}
	clientClass struct {
		scope
		name           string
		test           expression // nil if only a reservation adds clients
		members        []string
		onlyIfRequired bool
		// unread says why the test is not evaluated.
		unread string
	}
	subnetConfig struct {
		scope
		network netip.Prefix
		// around is the scope of the shared network. Shared reports whether there
		// is one.
		around       scope
		shared       bool
		pools        []scope
		global       bool
		inSubnet     bool
		reservations []reservationConfig
	}
	reservationConfig struct {
		scope
		mac, hostname string
		ip            netip.Addr
		classes       []string
		global        bool
	}
)

// order splits the classes by the time at which Kea evaluates them. Those that
// depend on KNOWN or UNKNOWN, directly or through others, are evaluated after the
// reservation is found.
func (c *config) order() {
	late := map[string]bool{"KNOWN": true, "UNKNOWN": true}
	for i, class := range c.classes {
		if slices.ContainsFunc(class.members, func(m string) bool { return late[m] }) {
			late[class.name] = true
			c.late = append(c.late, i)
		} else {
			c.early = append(c.early, i)
		}
	}
}

// Answer implements [netboot.Config].
func (c *config) Answer(q netboot.Request) (netboot.Reply, bool) {
	if c.unsure != "" {
		return netboot.Reply{Unsure: c.unsure}, false
	}
	e := &exchange{config: c, request: q}
	reply, ok := e.answer()
	if e.unsure != "" {
		return netboot.Reply{Unsure: e.unsure}, ok
	}
	return reply, ok
}

// exchange builds the answer to one client.
type exchange struct {
	*config
	request netboot.Request
	env     environment
	// in holds the client's classes, in the order in which they were added.
	in     []int
	unsure string
}

func (e *exchange) doubt(why string) {
	if e.unsure == "" {
		e.unsure = why
	}
}

func (e *exchange) answer() (netboot.Reply, bool) {
	if e.deaf && e.assumed == nil {
		return netboot.Reply{}, false
	}
	e.env = environment{request: e.request, classes: map[string]bool{"ALL": true}, unknown: map[string]string{}}
	if e.request.Vendor != "" {
		e.env.classes["VENDOR_CLASS_"+e.request.Vendor] = true
	}
	e.try(e.early)
	s, ok := e.subnetOf()
	if !ok {
		return netboot.Reply{}, false
	}
	host, known := e.find(s)
	e.evaluate(s, host, known)
	if !host.ip.IsValid() && !slices.ContainsFunc(s.pools, e.allows) {
		return netboot.Reply{}, false
	}
	e.require(s)
	return e.reply(s, host), true
}

// allows reports whether the client may use a pool.
func (e *exchange) allows(p scope) bool {
	return e.member(p.guard)
}

// member reports whether the client is in a class, or true for "".
func (e *exchange) member(class string) bool {
	if why := e.env.unknown[class]; why != "" {
		e.doubt(why)
	}
	return class == "" || e.env.classes[class]
}

func (e *exchange) subnetOf() (subnetConfig, bool) {
	if e.assumed != nil {
		s := *e.assumed
		s.network = e.request.Network
		return s, true
	}
	for _, s := range e.subnets {
		if s.network == e.request.Network && e.member(s.guard) && e.member(s.around.guard) {
			return s, true
		}
	}
	return subnetConfig{}, false
}

// find returns the reservation. It searches in the order of Kea.
func (e *exchange) find(s subnetConfig) (reservationConfig, bool) {
	lists := [][]reservationConfig{}
	if s.global {
		lists = append(lists, e.global)
	}
	if s.inSubnet {
		lists = append(lists, s.reservations)
	}
	for _, list := range lists {
		for _, r := range list {
			if have, ok := parseMAC(r.mac); ok && have == e.request.MAC && (!r.ip.IsValid() || s.network.Contains(r.ip)) {
				return r, true
			}
		}
	}
	return reservationConfig{}, false
}

// parseMAC parses a MAC address. Its bytes may have one digit.
func parseMAC(s string) (hardware.MAC, bool) {
	parts := strings.Split(s, ":")
	for i, p := range parts {
		if len(p) == 1 {
			parts[i] = "0" + p
		}
	}
	return hardware.ParseMAC(strings.Join(parts, ":"))
}

// try adds the client to those of the classes whose test holds.
func (e *exchange) try(list []int) {
	for _, i := range list {
		if !e.classes[i].onlyIfRequired {
			e.test(i)
		}
	}
}

// test evaluates the test of a class.
func (e *exchange) test(i int) {
	class := e.classes[i]
	if e.env.classes[class.name] {
		return
	}
	value, why := truth(false), class.unread
	if class.test != nil && why == "" {
		value, why = class.test.eval(&e.env)
	}
	switch {
	case why != "":
		e.env.unknown[class.name] = "the test of class " + class.name + " is not evaluated: " + why
		if class.says() {
			e.doubt(e.env.unknown[class.name])
		}
	case value == "true":
		e.enter(i)
	}
}

func (e *exchange) enter(i int) {
	e.env.classes[e.classes[i].name] = true
	e.in = append(e.in, i)
}

// says reports whether a class changes the answers to its members.
func (c clientClass) says() bool {
	return c.bootFile != "" || c.serverName != "" || c.nextServer.IsValid() || len(c.options) > 0
}

// evaluate adds the classes that the reservation names, and then those that depend
// on it. After Kea has found such classes it evaluates the early ones again, but in
// a shared network it adds the reserved classes of a subnet only at the end.
func (e *exchange) evaluate(s subnetConfig, host reservationConfig, known bool) {
	last := s.shared && !host.global
	if len(host.classes) > 0 && !last {
		for _, i := range e.in {
			delete(e.env.classes, e.classes[i].name)
		}
		e.in = nil
		e.reserved(host)
		e.try(e.early)
	}
	e.env.classes["KNOWN"], e.env.classes["UNKNOWN"] = known, !known
	e.try(e.late)
	if last {
		e.reserved(host)
	}
}

// reserved adds the client to the classes of its reservation.
func (e *exchange) reserved(host reservationConfig) {
	for _, name := range host.classes {
		i := slices.IndexFunc(e.classes, func(c clientClass) bool { return c.name == name })
		if i >= 0 && !e.env.classes[name] {
			e.enter(i)
		}
		e.env.classes[name] = true
	}
}

// require evaluates the classes that the network and the subnet require.
func (e *exchange) require(s subnetConfig) {
	for _, name := range slices.Concat(s.around.required, s.required) {
		if i := slices.IndexFunc(e.classes, func(c clientClass) bool { return c.name == name }); i >= 0 {
			e.test(i)
		}
	}
}

// reply combines the levels. The precedence for options is the reservation, the
// subnet, the shared network, the classes, the server. For fields of the header the
// classes precede the subnet.
func (e *exchange) reply(s subnetConfig, host reservationConfig) netboot.Reply {
	var classes []scope
	for _, i := range e.in {
		classes = append(classes, e.classes[i].scope)
	}
	options := slices.Concat([]scope{host.scope, s.scope, s.around}, classes, []scope{e.scope})
	option := func(code int) string {
		for _, l := range options {
			if v, ok := l.options[code]; ok {
				return v
			}
		}
		return ""
	}
	r := netboot.Reply{
		IP: host.ip, Bits: s.network.Bits(), Hostname: cmp.Or(host.hostname, option(12)), Domain: option(15), ServerName: option(66), BootFile: option(67),
		Routers: addresses(option(3)), Nameservers: addresses(option(6)), Vendor: option(60), VLAN: netboot.ParseVLANHex(strings.TrimPrefix(strings.ReplaceAll(option(43), " ", ""), "0x")),
	}
	if mask, err := netip.ParseAddr(option(1)); err == nil && mask.Is4() {
		r.Bits = netboot.MaskBits(mask)
	}
	for _, l := range slices.Concat([]scope{host.scope}, classes, []scope{s.scope, s.around, e.scope}) {
		r.BootFile = cmp.Or(r.BootFile, l.bootFile)
		r.ServerName = cmp.Or(r.ServerName, l.serverName)
		if !r.NextServer.IsValid() {
			r.NextServer = l.nextServer
		}
	}
	return r
}

func addresses(text string) []netip.Addr { return netboot.ParseAddrs(strings.Split(text, ",")) }
