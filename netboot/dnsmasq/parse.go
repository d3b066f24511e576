package dnsmasq

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hookbuild/internal/filetype"
	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// Parse implements [netboot.Server]. It follows conf-file. It cannot list the files
// of a conf-dir, which it reports.
func (Server) Parse(open netboot.Opener, name string) (netboot.Config, []netboot.Finding) {
	p := &parser{open: open}
	p.file(name, 0)
	if p.foreign != "" && p.recognised == 0 {
		return nil, []netboot.Finding{netboot.NotOf(Server{}, name, fmt.Sprintf("it has no option of dnsmasq (%s)", filetype.Line(p.foreign)))}
	}
	if len(p.config.ranges) == 0 {
		p.find(name, 0, "there is no dhcp-range, so a dedicated server answers no client", "add dhcp-range=NETWORK,static,NETMASK for each subnet")
		// A fragment is for a server that has ranges, so the rest is checked too.
		if len(p.config.hosts) > 0 {
			p.findings[len(p.findings)-1].Level = netboot.Remark
		}
		p.config.assumed = true
	}
	return &p.config, p.findings
}

// deepest limits the nesting of includes.
const deepest = 8

type parser struct {
	open     netboot.Opener
	config   config
	findings []netboot.Finding
	// name and line are the place being read.
	name string
	line int
	// recognised counts the lines that are options of dnsmasq. Foreign is the
	// first line that is not.
	recognised int
	foreign    string
}

func (p *parser) find(file string, line int, text, remedy string) {
	p.findings = append(p.findings, netboot.Finding{File: file, Line: line, Text: text, Remedy: remedy})
}

func (p *parser) wrong(format string, args ...any) {
	p.find(p.name, p.line, fmt.Sprintf(format, args...), "")
}

func (p *parser) doubt(format string, args ...any) {
	p.wrong(format, args...)
	p.findings[len(p.findings)-1].Level = netboot.Remark
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
		key, value, assigned := strings.Cut(uncomment(text), "=")
		key = strings.TrimSpace(key)
		p.count(key, assigned)
		p.setting(key, strings.TrimSpace(value), depth)
	}
}

// uncomment removes a comment, which begins with # at the start of a line or after
// a space, outside quotes.
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

// fields splits a value at commas outside quotes, and removes spaces and quotes.
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

// isOption reports whether a word has the form of an option of dnsmasq, which has
// hundreds. Those without a value have a hyphen, but for a few.
func isOption(key string, assigned bool) bool {
	if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasPrefix(key, "-") {
		return false
	}
	return assigned || strings.Contains(key, "-") || slices.Contains([]string{"conntrack", "dnssec", "filterwin2k", "localmx", "selfmx"}, key)
}

// count counts a line by whether it is an option of dnsmasq.
func (p *parser) count(key string, assigned bool) {
	switch {
	case key == "":
	case isOption(key, assigned):
		p.recognised++
	case p.foreign == "":
		p.foreign = key
	}
}

// setting reads one line.
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
			p.wrong("conf-file=%s: the includes are nested more than %d deep", value, deepest)
			return
		}
		p.file(value, depth+1)
	case "conf-dir":
		p.doubt("the files of conf-dir=%s are not read: check a file that includes them with conf-file", value)
		p.config.unsure = fmt.Sprintf("%s:%d: the files of conf-dir=%s are not read", p.name, p.line, value)
	case "dhcp-mac":
		p.addCardTag(fields(value))
	case "pxe-prompt":
		list := fields(value)
		p.config.prompts, p.config.waits = true, list[len(list)-1] != "0"
	case "dhcp-remoteid", "dhcp-subscrid", "dhcp-circuitid", "dhcp-name-match":
		tag := strings.TrimPrefix(fields(value)[0], "set:")
		p.unknownTag(tag, "%s:%d: the tag %q, which %s sets, is not evaluated", p.name, p.line, tag, key)
	case "dhcp-hostsfile", "dhcp-optsfile", "dhcp-hostsdir", "dhcp-optsdir", "dhcp-option-pxe", "shared-network", "dhcp-script", "bridge-interface":
		p.doubt("%s is not evaluated", key)
		if key != "dhcp-script" && key != "bridge-interface" {
			p.config.unsure = fmt.Sprintf("%s:%d: %s is not evaluated", p.name, p.line, key)
		}
	}
}

// conditions splits the tag: fields off the front.
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

// unknownTag records why it is not known whether a tag is set.
func (p *parser) unknownTag(tag, format string, args ...any) {
	if p.config.unknownTags == nil {
		p.config.unknownTags = map[string]string{}
	}
	p.config.unknownTags[tag] = fmt.Sprintf(format, args...)
}

func (p *parser) addCardTag(list []string) {
	mac, ok := parsePattern(list[len(list)-1])
	if len(list) != 2 || !ok {
		p.doubt("dhcp-mac=%s is not of the form dhcp-mac=set:TAG,MAC", strings.Join(list, ","))
		return
	}
	p.config.cards = append(p.config.cards, cardTag{strings.TrimPrefix(list[0], "set:"), mac, p.line})
}

// parsePattern parses a MAC address of six bytes. Each has one or two digits, or is
// the wildcard "*". A hardware type before it ("1-") must be Ethernet's.
func parsePattern(s string) (pattern, bool) {
	parts := strings.Split(strings.TrimPrefix(s, "1-"), ":")
	var p pattern
	if len(parts) != len(p.mac) {
		return p, false
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 16, 8)
		p.open[i] = part == "*"
		if err != nil && !p.open[i] || len(part) > 2 {
			return p, false
		}
		p.mac[i] = byte(n)
	}
	return p, true
}

func (p *parser) addRange(list []string) {
	r := addrRange{line: p.line}
	r.filter, list = conditions(list)
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
		return // an IPv6 range, or one of an interface
	}
	r.start = addrs[0]
	for _, a := range addrs[1:] {
		if ones := netboot.MaskBits(a); ones > 0 {
			r.bits = ones
			break
		}
	}
	if r.bits == 0 {
		p.doubt("dhcp-range=%s has no netmask: dnsmasq uses that of the interface, and guesses it behind a relay", strings.Join(list, ","))
	}
	p.config.ranges = append(p.config.ranges, r)
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
			p.doubt("dhcp-host=%s names a client ID: firmware, iPXE and the installed system have different ones", strings.Join(list, ","))
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

// hostField reads a MAC, address or name.
func (p *parser) hostField(h *host, f string) {
	if ip, err := netip.ParseAddr(strings.Trim(f, "[]")); err == nil {
		if ip.Is4() {
			h.ip = ip
		}
		return
	}
	mac, isMAC := hardware.ParseMAC(f)
	card, ok := parsePattern(f)
	switch {
	case ok:
		h.macs = append(h.macs, card)
	case isMAC:
		p.wrong("dhcp-host: dnsmasq reads %q as a host name", f)
		p.findings[len(p.findings)-1].Remedy = "write " + mac.String()
	case strings.Count(f, ":") > 1:
		p.wrong("dhcp-host: %q is not a MAC address of six bytes", f)
	case strings.Count(f, ".") == 3 && strings.Trim(f, "0123456789.") == "":
		p.wrong("dhcp-host: %q is not an IP address", f)
	default:
		h.name = f
	}
}

// optionCode returns the number of "option:router" or "3", and 0 for others such as
// "option6:...".
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

// serverIP is the number used here for the next server of the header.
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
		p.wrong("dhcp-match=%s does not name a tag and an option", strings.Join(list, ","))
		return
	}
	m := match{set: strings.TrimPrefix(list[0], "set:"), code: optionCode(list[1]), text: true}
	if len(list) > 2 {
		m.value = list[2]
		// Bytes and numbers are not compared as text.
		m.text = strings.Trim(m.value, "0123456789abcdefABCDEF:*") != ""
	}
	if m.code == 0 {
		p.unknownTag(m.set, "%s:%d: dhcp-match=%s is not evaluated", p.name, p.line, strings.Join(list, ","))
		return
	}
	p.config.matches = append(p.config.matches, m)
}

func (p *parser) addClass(code int, list []string) {
	if len(list) == 2 {
		p.config.matches = append(p.config.matches, match{set: strings.TrimPrefix(list[0], "set:"), code: code, value: list[1], text: true})
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
			p.doubt("dhcp-boot=%s has no address as its last value, so the machines load from the DHCP server itself", b.file)
		}
	} else if ip, err := netip.ParseAddr(list[2]); err != nil {
		p.doubt("dhcp-boot: the server %q is not an address", list[2])
	} else {
		b.next = ip
	}
	if b.name != "" {
		if _, err := netip.ParseAddr(b.name); err != nil && !strings.Contains(b.name, ".") {
			p.doubt("dhcp-boot: %q is sent as the server name (option 66); leave the value empty", b.name)
		}
	}
	p.config.boots = append(p.config.boots, b)
}

func (p *parser) addService(list []string) {
	s := pxeService{}
	s.tags, list = conditions(list)
	if len(list) < 2 {
		p.wrong("pxe-service=%s has no text", strings.Join(list, ","))
		return
	}
	arch, ok := architecture(list[0])
	if !ok {
		p.wrong("pxe-service: %q is not a kind of client", list[0])
		return
	}
	s.arch = arch
	if len(list) > 2 && list[2] != "0" {
		_, err := strconv.ParseUint(list[2], 10, 16)
		s.file, s.elsewhere = list[2], err == nil
	}
	if len(list) > 3 {
		var err error
		s.next, err = netip.ParseAddr(list[3])
		s.elsewhere = s.elsewhere || err != nil
	}
	p.config.services = append(p.config.services, s)
}

// architecture returns the number of a kind of client by dnsmasq's name or number.
func architecture(name string) (uint16, bool) {
	names := []string{"x86PC", "PC98", "IA64_EFI", "Alpha", "Arc_x86", "Intel_Lean_Client", "IA32_EFI", "x86-64_EFI", "Xscale_EFI", "BC_EFI", "ARM32_EFI", "ARM64_EFI"}
	if i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) }); i >= 0 {
		return uint16(i), true
	}
	n, err := strconv.ParseUint(name, 10, 16)
	return uint16(n), err == nil
}
