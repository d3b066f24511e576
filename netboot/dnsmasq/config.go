package dnsmasq

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// config is what a configuration says about DHCP, in the order of its lines.
type config struct {
	ranges   []addrRange
	hosts    []host
	options  []option
	matches  []match
	boots    []boot
	services []pxeService
	ignores  [][]string
	tagIfs   []tagIf
	domain   string
	// assumed says that the ranges are taken to be in another file.
	assumed bool
}

type (
	addrRange struct {
		line          int
		set           []string
		start         netip.Addr
		bits          int
		static, proxy bool
	}
	host struct {
		macs      []hardware.MAC
		set, tags []string
		ip        netip.Addr
		name      string
		ignore    bool
	}
	option struct {
		tags   []string
		vendor string
		code   int
		values []string
	}
	match struct {
		set   string
		code  int
		value string
	}
	boot struct {
		tags       []string
		file, name string
		next       netip.Addr
	}
	pxeService struct {
		tags []string
		arch uint16
		file string
		next netip.Addr
	}
	tagIf struct{ set, tags []string }
)

// tagged says whether a line's conditions hold: all of them, "!" for not.
func tagged(conditions []string, tags map[string]bool) bool {
	for _, c := range conditions {
		name, not := strings.CutPrefix(c, "!")
		if tags[name] == not {
			return false
		}
	}
	return true
}

// Answer implements [netboot.Config].
func (c *config) Answer(q netboot.Request) (netboot.Reply, bool) {
	r, ok := c.rangeOf(q)
	if !ok {
		return netboot.Reply{}, false
	}
	h, known := c.hostOf(q)
	tags := c.tags(q, r, h, known)
	for _, conditions := range c.ignores {
		if tagged(conditions, tags) {
			return netboot.Reply{}, false
		}
	}
	if h.ignore || r.static && !h.ip.IsValid() {
		return netboot.Reply{}, false
	}
	if r.proxy {
		return c.proxy(q, tags)
	}
	reply := c.addresses(q, r, h, tags)
	reply.BootFile, reply.ServerName, reply.NextServer = c.boot(tags)
	c.bootOptions(&reply, q, tags)
	return reply, true
}

// rangeOf finds the range that serves the client's network.
func (c *config) rangeOf(q netboot.Request) (addrRange, bool) {
	for _, r := range c.ranges {
		if q.Network.Contains(r.start) {
			return r, true
		}
	}
	if c.assumed {
		return addrRange{start: q.Network.Addr(), bits: q.Network.Bits(), static: len(c.hosts) > 0}, true
	}
	return addrRange{}, false
}

// hostOf finds the reservation: the last line wins; one for another network
// does not count.
func (c *config) hostOf(q netboot.Request) (host, bool) {
	for _, h := range slices.Backward(c.hosts) {
		if slices.Contains(h.macs, q.MAC) && (!h.ip.IsValid() || q.Network.Contains(h.ip)) {
			return h, true
		}
	}
	return host{}, false
}

// tags collects what is set for a client.
func (c *config) tags(q netboot.Request, r addrRange, h host, known bool) map[string]bool {
	tags := map[string]bool{}
	set := func(names []string) {
		for _, n := range names {
			tags[n] = true
		}
	}
	set(r.set)
	if known {
		tags["known"] = true
		set(h.set)
	}
	for _, m := range c.matches {
		if m.matches(q) {
			tags[m.set] = true
		}
	}
	for range c.tagIfs { // each may depend on the others
		for _, t := range c.tagIfs {
			if tagged(t.tags, tags) {
				set(t.set)
			}
		}
	}
	return tags
}

// matches compares as dnsmasq does: text anywhere, numbers one by one.
func (m match) matches(q netboot.Request) bool {
	switch m.code {
	case 60:
		return q.Vendor != "" && strings.Contains(q.Vendor, m.value)
	case 77:
		return q.UserClass != "" && strings.Contains(q.UserClass, m.value)
	case 93:
		n, err := strconv.ParseUint(m.value, 0, 16)
		return m.value == "" && len(q.Archs) > 0 || err == nil && slices.Contains(q.Archs, uint16(n))
	}
	return false
}

// option finds the values of an option: the last line whose tags match, else
// the last without tags.
func (c *config) option(code int, tags map[string]bool) ([]string, bool) {
	for _, withTags := range []bool{true, false} {
		for _, o := range slices.Backward(c.options) {
			if o.code == code && o.vendor == "" && (len(o.tags) > 0) == withTags && tagged(o.tags, tags) {
				return o.values, true
			}
		}
	}
	return nil, false
}

func (c *config) addresses(q netboot.Request, r addrRange, h host, tags map[string]bool) netboot.Reply {
	reply := netboot.Reply{IP: h.ip, Bits: r.bits, Hostname: h.name, Domain: c.domain}
	if reply.Bits == 0 {
		reply.Bits = q.Network.Bits()
	}
	routers, _ := c.option(3, tags)
	servers, _ := c.option(6, tags)
	reply.Routers, reply.Nameservers = netboot.ParseAddrs(routers), netboot.ParseAddrs(servers)
	if domain, ok := c.option(15, tags); ok && len(domain) > 0 {
		reply.Domain = domain[0]
	}
	return reply
}

// boot finds the boot file; an invalid next server is dnsmasq itself.
func (c *config) boot(tags map[string]bool) (file, name string, next netip.Addr) {
	for _, withTags := range []bool{true, false} {
		for _, b := range slices.Backward(c.boots) {
			if (len(b.tags) > 0) == withTags && tagged(b.tags, tags) {
				return b.file, b.name, b.next
			}
		}
	}
	return "", "", netip.Addr{}
}

// bootOptions adds what options tell of booting.
func (c *config) bootOptions(r *netboot.Reply, q netboot.Request, tags map[string]bool) {
	first := func(code int) string {
		if values, ok := c.option(code, tags); ok && len(values) > 0 {
			return values[0]
		}
		return ""
	}
	if file := first(67); file != "" && r.BootFile == "" {
		r.BootFile = file
	}
	if ip, err := netip.ParseAddr(first(serverIP)); err == nil && !r.NextServer.IsValid() {
		r.NextServer = ip
	}
	if name := first(66); name != "" && r.ServerName == "" {
		r.ServerName = name
	}
	r.Vendor = first(60)
	r.VLAN = vlan(first(43))
	for _, o := range c.options {
		if o.vendor != "" && strings.Contains(q.Vendor, o.vendor) && o.code == 116 && tagged(o.tags, tags) && len(o.values) > 0 {
			r.VLAN = o.values[0]
		}
	}
}

// vlan reads sub-option 116 out of option 43 in hexadecimal.
func vlan(text string) string {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil {
		return ""
	}
	return netboot.ParseVLANOption(raw)
}

// proxy tells only what to boot, and only PXE clients.
func (c *config) proxy(q netboot.Request, tags map[string]bool) (netboot.Reply, bool) {
	if !strings.HasPrefix(q.Vendor, "PXEClient") || len(q.Archs) == 0 {
		return netboot.Reply{}, false
	}
	r := netboot.Reply{}
	for _, s := range slices.Backward(c.services) {
		if s.arch == q.Archs[0] && tagged(s.tags, tags) {
			r.BootFile, r.NextServer = s.file, s.next
			return r, true
		}
	}
	r.BootFile, r.ServerName, r.NextServer = c.boot(tags)
	return r, true
}
