package dnsmasq

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// Parse implements [netboot.Server]. It follows conf-file; it cannot list the
// files of a conf-dir and says so.
func (Server) Parse(open netboot.Opener, name string) (netboot.Config, []netboot.Finding) {
	p := &parser{open: open}
	p.file(name, 0)
	if len(p.config.ranges) == 0 {
		p.find(name, 0, "there is no dhcp-range: a server of its own answers nobody", "add dhcp-range=NETWORK,static,NETMASK for each subnet")
		// A fragment is for a server that has them: the rest is checked all the same.
		p.findings[len(p.findings)-1].Doubtful = len(p.config.hosts) > 0
		p.config.assumed = true
	}
	return &p.config, p.findings
}

// deepest bounds files that include one another.
const deepest = 8

type parser struct {
	open     netboot.Opener
	config   config
	findings []netboot.Finding
	// name and line are the place being read.
	name string
	line int
}

func (p *parser) find(file string, line int, text, remedy string) {
	p.findings = append(p.findings, netboot.Finding{File: file, Line: line, Text: text, Remedy: remedy})
}

func (p *parser) wrong(format string, args ...any) {
	p.find(p.name, p.line, fmt.Sprintf(format, args...), "")
}

func (p *parser) doubt(format string, args ...any) {
	p.wrong(format, args...)
	p.findings[len(p.findings)-1].Doubtful = true
}

func (p *parser) file(name string, depth int) {
	text, err := p.open(name)
	if err != nil {
		p.wrong("reading %q: %v", name, err)
		return
	}
	from, line := p.name, p.line
	defer func() { p.name, p.line = from, line }()
	for i, text := range strings.Split(string(text), "\n") {
		p.name, p.line = name, i+1
		key, value, _ := strings.Cut(uncomment(text), "=")
		p.setting(strings.TrimSpace(key), strings.TrimSpace(value), depth)
	}
}

// uncomment cuts a comment off: # at the start of a line or after a space,
// outside of quotes.
func uncomment(line string) string {
	quoted := false
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '#' && !quoted && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

// fields splits at commas outside of quotes, trims, and takes quotes off.
func fields(value string) []string {
	var list []string
	var b strings.Builder
	quoted := false
	for _, c := range value {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			list = append(list, strings.TrimSpace(b.String()))
			b.Reset()
		default:
			b.WriteRune(c)
		}
	}
	return append(list, strings.TrimSpace(b.String()))
}

// setting takes one line in.
func (p *parser) setting(key, value string, depth int) {
	switch key {
	case "dhcp-range":
		p.addRange(fields(value))
	case "dhcp-host":
		p.addHost(fields(value))
	case "dhcp-option", "dhcp-option-force":
		p.addOption(fields(value))
	case "dhcp-match":
		p.addMatch(fields(value))
	case "dhcp-vendorclass":
		p.addClass(60, fields(value))
	case "dhcp-userclass":
		p.addClass(77, fields(value))
	case "dhcp-boot":
		p.addBoot(fields(value))
	case "pxe-service":
		p.addService(fields(value))
	case "dhcp-ignore":
		tags, _ := conditions(fields(value))
		p.config.ignores = append(p.config.ignores, tags)
	case "tag-if":
		p.addTagIf(fields(value))
	case "domain":
		p.config.domain = fields(value)[0]
	case "conf-file":
		if depth >= deepest {
			p.wrong("conf-file=%s: the files include one another more than %d deep", value, deepest)
			return
		}
		p.file(value, depth+1)
	case "conf-dir":
		p.doubt("the files of conf-dir=%s are not checked: check one that includes them with conf-file", value)
	case "dhcp-hostsfile", "dhcp-optsfile", "dhcp-hostsdir", "dhcp-optsdir", "dhcp-mac", "dhcp-remoteid", "dhcp-subscrid", "dhcp-circuitid", "dhcp-name-match", "dhcp-option-pxe", "shared-network":
		p.doubt("%s is not understood here: what it does to the machines is not checked", key)
	}
}

// conditions takes the tag: fields off the front.
func conditions(list []string) (tags []string, rest []string) {
	for i, f := range list {
		tag, ok := strings.CutPrefix(f, "tag:")
		if !ok {
			return tags, list[i:]
		}
		tags = append(tags, tag)
	}
	return tags, nil
}

func (p *parser) addRange(list []string) {
	r := addrRange{line: p.line}
	var addrs []netip.Addr
	for _, f := range list {
		if tag, ok := strings.CutPrefix(f, "set:"); ok {
			r.set = append(r.set, tag)
			continue
		}
		if ip, err := netip.ParseAddr(f); err == nil && ip.Is4() {
			addrs = append(addrs, ip)
			continue
		}
		switch f {
		case "static":
			r.static = true
		case "proxy":
			r.proxy = true
		}
	}
	if len(addrs) == 0 {
		if len(list) > 0 && !strings.Contains(strings.Join(list, ","), ":") {
			p.wrong("dhcp-range=%s has no address", strings.Join(list, ","))
		}
		return // of IPv6, or of an interface
	}
	r.start = addrs[0]
	for _, a := range addrs[1:] {
		if ones := maskBits(a); ones > 0 {
			r.bits = ones
			break
		}
	}
	if r.bits == 0 {
		p.doubt("dhcp-range=%s has no netmask: a machine behind a relay is told a guess", strings.Join(list, ","))
	}
	p.config.ranges = append(p.config.ranges, r)
}

// maskBits is the length of a netmask, 0 for an address that is none.
func maskBits(a netip.Addr) int {
	b := a.As4()
	value := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	for ones := 1; ones <= 32; ones++ {
		if value == ^uint32(0)<<(32-ones) {
			return ones
		}
	}
	return 0
}

func (p *parser) addHost(list []string) {
	h := host{}
	for _, f := range list {
		kind, rest, _ := strings.Cut(f, ":")
		switch {
		case kind == "set" || kind == "net":
			h.set = append(h.set, rest)
		case kind == "tag":
			h.tags = append(h.tags, rest)
		case kind == "id":
			p.doubt("dhcp-host=%s names a client id: firmware, iPXE and the installed system have different ones", strings.Join(list, ","))
		case f == "ignore":
			h.ignore = true
		case lease(f):
		default:
			p.hostField(&h, f)
		}
	}
	if len(h.macs) > 0 {
		p.config.hosts = append(p.config.hosts, h)
	}
}

// hostField takes a MAC, address or name.
func (p *parser) hostField(h *host, f string) {
	if ip, err := netip.ParseAddr(strings.Trim(f, "[]")); err == nil {
		if ip.Is4() {
			h.ip = ip
		}
		return
	}
	mac, isMAC := hardware.ParseMAC(f)
	switch {
	case isMAC && strings.Contains(f, ":"):
		h.macs = append(h.macs, mac)
	case isMAC:
		p.wrong("dhcp-host: %q is read as a host name", f)
		p.findings[len(p.findings)-1].Remedy = "write " + mac.String()
	case strings.Count(f, ":") > 1:
		p.wrong("dhcp-host: %q is not a MAC address of six bytes", f)
	case strings.Count(f, ".") == 3 && strings.Trim(f, "0123456789.") == "":
		p.wrong("dhcp-host: %q is not an IP address", f)
	default:
		h.name = f
	}
}

// optionCode reads "option:router", "3" or "option6:..." (0).
func optionCode(s string) int {
	if name, ok := strings.CutPrefix(s, "option:"); ok {
		return map[string]int{
			"netmask": 1, "router": 3, "dns-server": 6, "hostname": 12, "domain-name": 15, "ntp-server": 42, "vendor-encap": 43,
			"vendor-class": 60, "client-id": 61, "tftp-server": 66, "server-name": 66, "bootfile-name": 67, "user-class": 77,
			"client-arch": 93, "client-interface-id": 94, "client-machine-id": 97, "server-ip-address": serverIP,
		}[name]
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0
	}
	return int(n)
}

// serverIP stands for the header's next server among the options.
const serverIP = 1000

func (p *parser) addOption(list []string) {
	o := option{}
	o.tags, list = conditions(list)
	for len(list) > 0 && strings.HasPrefix(list[0], "vendor:") {
		o.vendor = strings.TrimPrefix(list[0], "vendor:")
		list = list[1:]
	}
	if len(list) == 0 {
		p.wrong("dhcp-option has no value")
		return
	}
	if strings.HasPrefix(list[0], "encap:") || strings.HasPrefix(list[0], "vi-encap:") || strings.HasPrefix(list[0], "option6:") {
		return
	}
	o.code, o.values = optionCode(list[0]), list[1:]
	if o.code != 0 {
		p.config.options = append(p.config.options, o)
	}
}

func (p *parser) addMatch(list []string) {
	if len(list) < 2 {
		p.wrong("dhcp-match=%s names no tag and option", strings.Join(list, ","))
		return
	}
	m := match{set: strings.TrimPrefix(list[0], "set:"), code: optionCode(list[1])}
	if len(list) > 2 {
		m.value = list[2]
	}
	if m.code == 0 {
		p.doubt("dhcp-match=%s is not understood here", strings.Join(list, ","))
		return
	}
	p.config.matches = append(p.config.matches, m)
}

func (p *parser) addClass(code int, list []string) {
	if len(list) == 2 {
		p.config.matches = append(p.config.matches, match{set: strings.TrimPrefix(list[0], "set:"), code: code, value: list[1]})
	}
}

func (p *parser) addTagIf(list []string) {
	t := tagIf{}
	for _, f := range list {
		if set, ok := strings.CutPrefix(f, "set:"); ok {
			t.set = append(t.set, set)
		} else if tag, ok := strings.CutPrefix(f, "tag:"); ok {
			t.tags = append(t.tags, tag)
		}
	}
	p.config.tagIfs = append(p.config.tagIfs, t)
}

func (p *parser) addBoot(list []string) {
	b := boot{}
	b.tags, list = conditions(list)
	for len(list) < 3 {
		list = append(list, "")
	}
	b.file, b.name = list[0], list[1]
	if list[2] == "" {
		if !strings.Contains(b.file, "://") {
			p.doubt("dhcp-boot=%s has no address as its last value: the machines load from the DHCP server itself", b.file)
		}
	} else if ip, err := netip.ParseAddr(list[2]); err != nil {
		p.doubt("dhcp-boot: the server %q is not an address", list[2])
	} else {
		b.next = ip
	}
	if b.name != "" {
		if _, err := netip.ParseAddr(b.name); err != nil && !strings.Contains(b.name, ".") {
			p.doubt("dhcp-boot: %q is sent as the server's name (option 66); leave the value empty", b.name)
		}
	}
	p.config.boots = append(p.config.boots, b)
}

func (p *parser) addService(list []string) {
	s := pxeService{}
	s.tags, list = conditions(list)
	if len(list) < 3 {
		return // local boot
	}
	for _, arch := range []uint16{0, 7, 9, 11} {
		if strings.EqualFold(service(arch), list[0]) {
			s.arch = arch
			s.file = list[2]
			if len(list) > 3 {
				s.next, _ = netip.ParseAddr(list[3])
			}
			p.config.services = append(p.config.services, s)
		}
	}
}
