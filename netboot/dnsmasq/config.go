package dnsmasq

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// config holds the DHCP settings of a configuration, in the order of its lines.
type config struct {
	ranges   []addrRange
	hosts    []host
	options  []option
	matches  []match
	cards    []cardTag
	boots    []boot
	services []pxeService
	ignores  [][]string
	tagIfs   []tagIf
	domain   string
	// prompts reports whether pxe-prompt is set, and waits whether it leaves
	// time to choose.
	prompts, waits bool
	// unsure names something that was not read and can change any answer.
	unsure string
	// unknownTags maps the tags that lines set which are not evaluated to the
	// reason.
	unknownTags map[string]string
	// assumed reports whether the ranges are expected in another file.
	assumed bool
}

type (
	addrRange struct {
		line          int
		set, filter   []string
		start         netip.Addr
		bits          int
		static, proxy bool
	}
	host struct {
		macs      []pattern
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
		// text means that value may be anywhere in the option.
		text bool
	}
	// cardTag sets a tag by MAC address.
	cardTag struct {
		set  string
		mac  pattern
		line int
	}
	boot struct {
		tags       []string
		file, name string
		next       netip.Addr
	}
	pxeService struct {
		tags []string
		arch uint16
		// file is "" to boot from the local disk.
		file string
		next netip.Addr
		// elsewhere reports whether the service is a number or name that
		// another server resolves.
		elsewhere bool
	}
	tagIf struct{ set, tags []string }
)

// pattern is a MAC address with wildcard bytes.
type pattern struct {
	mac  hardware.MAC
	open [6]bool
}

func (p pattern) matches(m hardware.MAC) bool {
	for i, b := range m {
		if !p.open[i] && p.mac[i] != b {
			return false
		}
	}
	return true
}

// exact returns the number of bytes that are not wildcards.
func (p pattern) exact() int {
	n := 0
	for _, open := range p.open {
		if !open {
			n++
		}
	}
	return n
}

// tagged reports whether all conditions of a line hold. "!" and "#" negate a
// condition.
func tagged(conditions []string, tags map[string]bool) bool {
	for _, c := range conditions {
		name := strings.TrimLeft(c, "!#")
		if tags[name] == (name != c) {
			return false
		}
	}
	return true
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
	// own holds the client's tags, and all those and the tags of the range.
	own, all map[string]bool
	unsure   string
}

func (e *exchange) doubt(format string, args ...any) {
	if e.unsure == "" {
		e.unsure = fmt.Sprintf(format, args...)
	}
}

func (e *exchange) answer() (netboot.Reply, bool) {
	e.own = e.clientTags()
	r, ok := e.rangeOf()
	if !ok {
		return netboot.Reply{}, false
	}
	h, known := e.hostOf()
	if known {
		e.own["known"] = true
		addTags(e.own, h.set)
	}
	e.all = map[string]bool{}
	for tag := range e.own {
		e.all[tag] = true
	}
	addTags(e.all, r.set)
	e.runTagIfs(e.own)
	e.runTagIfs(e.all)
	for _, conditions := range e.ignores {
		if e.holds(conditions, e.own) && len(conditions) > 0 {
			return netboot.Reply{}, false
		}
	}
	if h.ignore {
		return netboot.Reply{}, false
	}
	if r.proxy {
		return e.proxy()
	}
	if r.static && !h.ip.IsValid() {
		return netboot.Reply{}, false
	}
	reply := e.addresses(r, h)
	e.bootOf(&reply)
	e.vendorOptions(&reply)
	if e.pxe() && (len(e.services) > 0 || e.prompts) {
		e.doubt("pxe-service in a server that also assigns addresses is not evaluated")
	}
	return reply, true
}

func addTags(tags map[string]bool, names []string) {
	for _, n := range names {
		tags[n] = true
	}
}

// holds is [tagged]. It also records a doubt about a tag that is not known.
func (e *exchange) holds(conditions []string, tags map[string]bool) bool {
	for _, c := range conditions {
		if why, ok := e.unknownTags[strings.TrimLeft(c, "!#")]; ok {
			e.doubt("%s", why)
		}
	}
	return tagged(conditions, tags)
}

// rangeOf returns the range that serves the client's network.
func (e *exchange) rangeOf() (addrRange, bool) {
	for _, r := range e.ranges {
		if e.request.Network.Contains(r.start) && e.holds(r.filter, e.own) {
			return r, true
		}
	}
	if e.assumed {
		return addrRange{start: e.request.Network.Addr(), bits: e.request.Network.Bits(), static: len(e.hosts) > 0}, true
	}
	return addrRange{}, false
}

// hostOf returns the reservation. One whose conditions hold precedes those without
// conditions, a whole MAC precedes a pattern, and then the last line wins. A
// reservation for another network does not count.
func (e *exchange) hostOf() (host, bool) {
	for _, conditional := range []bool{true, false} {
		best, found := host{}, 0
		for _, h := range slices.Backward(e.hosts) {
			if (len(h.tags) > 0) != conditional || !e.holds(h.tags, e.own) || h.ip.IsValid() && !e.request.Network.Contains(h.ip) {
				continue
			}
			for _, p := range h.macs {
				if p.matches(e.request.MAC) && p.exact() > found {
					best, found = h, p.exact()
				}
			}
		}
		if found > 0 {
			return best, true
		}
	}
	return host{}, false
}

// clientTags returns the tags that the client's request and MAC set.
func (e *exchange) clientTags() map[string]bool {
	tags := map[string]bool{}
	for _, m := range e.matches {
		holds, known := m.matches(e.request)
		if holds {
			tags[m.set] = true
		}
		if !known && e.uses(m.set) {
			e.doubt("dhcp-match for option %d is not evaluated", m.code)
		}
	}
	for _, c := range e.cards {
		if c.mac.matches(e.request.MAC) {
			tags[c.set] = true
		}
	}
	return tags
}

// uses reports whether a condition names the tag.
func (c *config) uses(tag string) bool {
	var all [][]string
	for _, o := range c.options {
		all = append(all, o.tags)
	}
	for _, b := range c.boots {
		all = append(all, b.tags)
	}
	for _, s := range c.services {
		all = append(all, s.tags)
	}
	for _, h := range c.hosts {
		all = append(all, h.tags)
	}
	for _, t := range c.tagIfs {
		all = append(all, t.tags)
	}
	for _, conditions := range append(all, c.ignores...) {
		if slices.ContainsFunc(conditions, func(s string) bool { return strings.TrimLeft(s, "!#") == tag }) {
			return true
		}
	}
	return false
}

// runTagIfs executes the tag-if lines, each once, in their order.
func (e *exchange) runTagIfs(tags map[string]bool) {
	for _, t := range e.tagIfs {
		if e.holds(t.tags, tags) {
			addTags(tags, t.set)
		}
	}
}

// matches compares as dnsmasq does. Text may be anywhere in the option; numbers
// are compared two bytes at a time.
func (m match) matches(q netboot.Request) (holds, known bool) {
	value, sent, valued, known := q.Option(m.code)
	switch {
	case !known:
		return false, false
	case !sent || m.value == "":
		return sent, true
	case !valued:
		return false, false
	case m.code == 93:
		n, err := strconv.ParseUint(m.value, 10, 16)
		if err != nil {
			return false, false
		}
		return slices.Contains(q.Archs, uint16(n)), true
	}
	return strings.Contains(value, m.value), m.text
}

// optionOf returns the values of an option, from the last line whose tags match.
// It looks at lines that match without the tags of the range, then at those that
// match with them, then at lines without tags.
func (e *exchange) optionOf(code int) ([]string, bool) {
	last := func(fits func(option) bool) ([]string, bool) {
		for _, o := range slices.Backward(e.options) {
			if o.code == code && o.vendor == "" && fits(o) {
				return o.values, true
			}
		}
		return nil, false
	}
	if v, ok := last(func(o option) bool {
		return len(o.tags) > 0 && e.holds(o.tags, e.own) && e.holds(o.tags, e.all)
	}); ok {
		return v, true
	}
	if v, ok := last(func(o option) bool { return len(o.tags) > 0 && e.holds(o.tags, e.all) }); ok {
		return v, true
	}
	return last(func(o option) bool { return len(o.tags) == 0 })
}

func (e *exchange) first(code int) string {
	if values, ok := e.optionOf(code); ok && len(values) > 0 {
		return values[0]
	}
	return ""
}

func (e *exchange) addresses(r addrRange, h host) netboot.Reply {
	reply := netboot.Reply{IP: h.ip, Bits: r.bits, Hostname: h.name, Domain: e.domain}
	if reply.Bits == 0 {
		reply.Bits = e.request.Network.Bits()
	}
	if mask, err := netip.ParseAddr(e.first(1)); err == nil && mask.Is4() {
		reply.Bits = netboot.MaskBits(mask)
	}
	routers, _ := e.optionOf(3)
	servers, _ := e.optionOf(6)
	reply.Routers, reply.Nameservers = netboot.ParseAddrs(routers), netboot.ParseAddrs(servers)
	if domain, ok := e.optionOf(15); ok && len(domain) > 0 {
		reply.Domain = domain[0]
	}
	if name, ok := e.optionOf(12); ok && len(name) > 0 {
		reply.Hostname = name[0]
	}
	return reply
}

// boot returns the last dhcp-boot line whose tags match, or else the last one
// without tags.
func (e *exchange) boot() (boot, bool) {
	for _, withTags := range []bool{true, false} {
		for _, b := range slices.Backward(e.boots) {
			if (len(b.tags) > 0) == withTags && e.holds(b.tags, e.all) {
				return b, true
			}
		}
	}
	return boot{}, false
}

// bootOf adds the boot settings from dhcp-boot and options. An invalid next server
// means dnsmasq itself.
func (e *exchange) bootOf(r *netboot.Reply) {
	b, ok := e.boot()
	file, name := e.first(67), e.first(66)
	r.Vendor = e.first(60)
	if !ok {
		r.BootFile, r.ServerName = file, name
		r.NextServer, _ = netip.ParseAddr(e.first(serverIP))
		return
	}
	r.BootFile, r.ServerName, r.NextServer = b.file, b.name, b.next
	if file != "" && b.file != "" || name != "" && b.name != "" {
		e.doubt("dhcp-boot and dhcp-option both set the boot file or server name, and both are sent")
	}
	if b.file == "" {
		r.BootFile = file
	}
	if b.name == "" {
		r.ServerName = name
	}
}

// vendorOptions adds option 43. If it is sent, dnsmasq repeats the client's option
// 60.
func (e *exchange) vendorOptions(r *netboot.Reply) {
	r.VLAN = netboot.ParseVLANHex(e.first(43))
	sent := false
	class := cmp.Or(r.Vendor, e.request.Vendor) // the one in the answer counts
	for _, o := range e.options {
		if o.vendor == "" || !strings.Contains(class, o.vendor) || !e.holds(o.tags, e.all) {
			continue
		}
		sent = true
		if o.code == 116 && len(o.values) > 0 {
			r.VLAN = o.values[0]
		}
	}
	if sent && r.Vendor == "" {
		r.Vendor = e.request.Vendor
	}
}

// pxe reports whether the client is a PXE client.
func (e *exchange) pxe() bool {
	return strings.HasPrefix(e.request.Vendor, "PXEClient") && len(e.request.Archs) > 0
}

// firstUEFI is the lowest architecture that dnsmasq treats as UEFI.
const firstUEFI = 6

// proxy answers PXE clients with what to boot, and no other clients. Services of
// the client's architecture form a menu, which is not shown if it has one entry.
// Without any pxe-service or pxe-prompt a proxy answers no client.
func (e *exchange) proxy() (netboot.Reply, bool) {
	if !e.pxe() || len(e.services) == 0 && !e.prompts {
		return netboot.Reply{}, false
	}
	var entries []pxeService
	for _, s := range e.services {
		if s.arch == e.request.Archs[0] && e.holds(s.tags, e.all) {
			entries = append(entries, s)
		}
	}
	r := netboot.Reply{}
	uefi := e.request.Archs[0] >= firstUEFI
	var programs []pxeService
	for _, s := range entries {
		if s.file != "" {
			programs = append(programs, s)
		}
	}
	b, boots := e.boot()
	switch {
	case uefi && len(programs) != 1 && boots && b.file != "":
		// The offer has this file, and firmware does not request a menu.
	case uefi && len(programs) == 1:
		r.BootFile, r.NextServer = programs[0].bootFile(), programs[0].next
		if r.NextServer.IsValid() {
			r.ServerName = r.NextServer.String()
		}
		return r, true
	case len(entries) > 0:
		r.BootFile, r.NextServer = entries[0].bootFile(), entries[0].next
		r.Menu = len(entries) > 1 && (e.waits || !e.prompts)
		if entries[0].file == "" || entries[0].elsewhere {
			e.doubt("the first entry of the PXE menu does not load a program from this server")
		}
		return r, true
	}
	r.BootFile, r.NextServer = b.file, b.next
	return r, true
}

// bootFile returns the file that is loaded. Dnsmasq appends the layer to a name
// without a dot.
func (s pxeService) bootFile() string {
	if s.file != "" && !strings.Contains(s.file, ".") {
		return s.file + ".0"
	}
	return s.file
}
