package kea

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
	scope
	classes []clientClass
	// early are the classes that do not depend on KNOWN, late those that do.
	early, late []int
	subnets     []subnetConfig
	global      []reservationConfig
	// assumed stands for the subnets of a configuration that has none: its
	// classes are worth checking all the same.
	assumed *subnetConfig
}

type (
	// scope is what can be set at every level.
	scope struct {
		bootFile, serverName string
		nextServer           netip.Addr
		options              map[int]string
	}
	clientClass struct {
		scope
		name           string
		test           expression // nil: only a reservation puts a client in
		members        []string
		onlyIfRequired bool
	}
	subnetConfig struct {
		scope
		network                 netip.Prefix
		pools, global, inSubnet bool
		reservations            []reservationConfig
	}
	reservationConfig struct {
		scope
		mac, hostname string
		ip            netip.Addr
		classes       []string
	}
)

// order splits the classes by when Kea evaluates them: those that depend on
// KNOWN or UNKNOWN, also through others, come after the reservation is found.
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
	s, ok := c.subnetOf(q.Network)
	if !ok {
		return netboot.Reply{}, false
	}
	host, known := c.find(s, q.MAC)
	if !known && !s.pools {
		return netboot.Reply{}, false
	}
	return c.reply(s, host, c.evaluate(q, host, known)), true
}

func (c *config) subnetOf(network netip.Prefix) (subnetConfig, bool) {
	if c.assumed != nil {
		s := *c.assumed
		s.network = network
		return s, true
	}
	i := slices.IndexFunc(c.subnets, func(s subnetConfig) bool { return s.network == network })
	if i < 0 {
		return subnetConfig{}, false
	}
	return c.subnets[i], true
}

// find looks for the reservation, first where Kea looks first.
func (c *config) find(s subnetConfig, mac hardware.MAC) (reservationConfig, bool) {
	lists := [][]reservationConfig{}
	if s.global {
		lists = append(lists, c.global)
	}
	if s.inSubnet {
		lists = append(lists, s.reservations)
	}
	for _, list := range lists {
		for _, r := range list {
			if have, ok := hardware.ParseMAC(r.mac); ok && have == mac {
				return r, true
			}
		}
	}
	return reservationConfig{}, false
}

// evaluate gives the client's classes in the order in which it got them.
func (c *config) evaluate(q netboot.Request, host reservationConfig, known bool) []int {
	e := &environment{request: q, classes: map[string]bool{"ALL": true}}
	var in []int
	try := func(list []int) {
		for _, i := range list {
			class := c.classes[i]
			if class.test != nil && !class.onlyIfRequired && !e.classes[class.name] && class.test.eval(e) == "true" {
				e.classes[class.name] = true
				in = append(in, i)
			}
		}
	}
	try(c.early)
	for i, class := range c.classes {
		if slices.Contains(host.classes, class.name) && !e.classes[class.name] {
			e.classes[class.name] = true
			in = append(in, i)
		}
	}
	if known {
		e.classes["KNOWN"] = true
	} else {
		e.classes["UNKNOWN"] = true
	}
	try(c.late)
	return in
}

// reply puts the levels together: the reservation, the classes in their
// order, the subnet, the server.
func (c *config) reply(s subnetConfig, host reservationConfig, in []int) netboot.Reply {
	levels := []scope{host.scope}
	for _, i := range in {
		levels = append(levels, c.classes[i].scope)
	}
	levels = append(levels, s.scope, c.scope)
	option := func(code int) string {
		for _, l := range levels {
			if v, ok := l.options[code]; ok {
				return v
			}
		}
		return ""
	}
	r := netboot.Reply{
		IP: host.ip, Bits: s.network.Bits(), Hostname: host.hostname, Domain: option(15),
		Routers: netboot.ParseAddrs(strings.Split(option(3), ",")), Nameservers: netboot.ParseAddrs(strings.Split(option(6), ",")), ServerName: option(66), Vendor: option(60), VLAN: vlan(option(43)),
	}
	for _, l := range levels {
		if r.BootFile == "" {
			r.BootFile = l.bootFile
		}
		if !r.NextServer.IsValid() {
			r.NextServer = l.nextServer
		}
		if r.ServerName == "" {
			r.ServerName = l.serverName
		}
	}
	if file := option(67); file != "" && r.BootFile == "" {
		r.BootFile = file
	}
	return r
}

// vlan reads sub-option 116 out of option 43 in hexadecimal.
func vlan(text string) string {
	raw, err := hex.DecodeString(strings.TrimPrefix(strings.ReplaceAll(text, " ", ""), "0x"))
	if err != nil {
		return ""
	}
	return netboot.ParseVLANOption(raw)
}
