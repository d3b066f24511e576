package kea

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"hookbuild/netboot"
)

// Parse implements [netboot.Server].
func (Server) Parse(open netboot.Opener, name string) (netboot.Config, []netboot.Finding) {
	r := &reader{open: open}
	var root *node
	err := r.within(name, func(in *reader) (err error) {
		root, err = in.value()
		if err == nil && in.peek() != 0 {
			err = in.fail("there is text after the end of the configuration")
		}
		return err
	})
	var syntax *syntaxError
	if errors.As(err, &syntax) {
		if r.notJSON(name) {
			return nil, []netboot.Finding{netboot.NotOf(Server{}, name, "it is not JSON")}
		}
		return nil, append(r.findings, syntax.Finding)
	}
	if root.get("Dhcp4") == nil {
		return nil, []netboot.Finding{netboot.NotOf(Server{}, name, `there is no "Dhcp4"`)}
	}
	p := &parser{findings: r.findings, file: name}
	p.root(root)
	return &p.config, p.findings
}

type parser struct {
	config   config
	findings []netboot.Finding
	file     string
}

func (p *parser) find(n *node, level netboot.Level, text, remedy string) {
	f := netboot.Finding{File: p.file, Level: level, Text: text, Remedy: remedy}
	if n != nil {
		f.File, f.Line = n.file, n.line
	}
	p.findings = append(p.findings, f)
}

func (p *parser) root(root *node) {
	server := root.get("Dhcp4")
	if len(server.get("interfaces-config").get("interfaces").list()) == 0 {
		p.config.deaf = true
		p.find(server, netboot.Wrong, `"interfaces-config" names no interfaces, so no client gets an answer`, `add "interfaces-config": { "interfaces": [ "*" ] }`)
	}
	p.config.scope = p.scope(server)
	p.classes(server.get("client-classes").list())
	top := inherited{matchID: true, inSubnet: true}.from(server)
	for _, n := range server.get("subnet4").list() {
		p.subnet(n, top, nil)
	}
	for _, shared := range server.get("shared-networks").list() {
		around, inner := p.scope(shared), top.from(shared)
		for _, n := range shared.get("subnet4").list() {
			p.subnet(n, inner, &around)
		}
	}
	if len(p.config.subnets) == 0 {
		p.config.assumed = &subnetConfig{pools: []scope{{}}, inSubnet: true}
		if first := server.get("subnet4").list(); len(first) > 0 {
			p.config.assumed.scope = p.scope(first[0])
		}
		p.find(server, netboot.Wrong, `there is no subnet in "subnet4", so no client gets an answer`, `add { "id": ..., "subnet": "192.0.2.0/24", "reservations": [ ... ] }`)
	}
	for _, n := range server.get("reservations").list() {
		r := p.reservation(n)
		r.global = true
		p.config.global = append(p.config.global, r)
	}
	p.identifiers(server.get("host-reservation-identifiers"))
	p.elsewhere(server)
}

// elsewhere records settings outside the file that can change every answer.
func (p *parser) elsewhere(server *node) {
	for _, key := range []string{"hosts-database", "hosts-databases", "config-control"} {
		if n := server.get(key); n != nil {
			p.config.unsure = fmt.Sprintf("%s:%d: the contents of %q are not read", n.file, n.line, key)
		}
	}
	for _, n := range server.get("hooks-libraries").list() {
		library := path.Base(n.get("library").str())
		for _, word := range []string{"flex_option", "flex_id", "radius", "user_chk", "run_script", "mysql", "pgsql"} {
			if strings.Contains(library, word) {
				p.config.unsure = fmt.Sprintf("%s:%d: the hook library %s is not evaluated", n.file, n.line, library)
			}
		}
	}
}

// inherited holds the settings that a shared network and a subnet can override.
type inherited struct{ matchID, global, inSubnet bool }

// from returns the settings of a level inside.
func (in inherited) from(n *node) inherited {
	switch n.get("reservation-mode").str() { // before Kea 2
	case "global":
		in.global, in.inSubnet = true, false
	case "all", "out-of-pool":
		in.global, in.inSubnet = false, true
	case "disabled", "off":
		in.global, in.inSubnet = false, false
	}
	return inherited{
		matchID: n.get("match-client-id").truth(in.matchID), global: n.get("reservations-global").truth(in.global),
		inSubnet: n.get("reservations-in-subnet").truth(in.inSubnet),
	}
}

// identifiers adds a finding if the server does not look for reservations by MAC.
func (p *parser) identifiers(n *node) {
	list := n.list()
	if n != nil && !slices.ContainsFunc(list, func(e *node) bool { return e.str() == "hw-address" }) {
		p.find(n, netboot.Wrong, `"host-reservation-identifiers" lacks "hw-address": Kea does not look for reservations by MAC`, "add it")
	}
}

// scope reads the settings that every level can have.
func (p *parser) scope(n *node) scope {
	s := scope{bootFile: n.get("boot-file-name").str(), serverName: n.get("server-hostname").str(), options: map[int]string{}, guard: n.get("client-class").str()}
	for _, c := range n.get("require-client-classes").list() {
		s.required = append(s.required, c.str())
	}
	if text := n.get("next-server").str(); text != "" {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			p.find(n.get("next-server"), netboot.Wrong, "next-server "+text+" is not an address", "")
		}
		s.nextServer = ip
	}
	for _, o := range n.get("option-data").list() {
		code := optionCodes()[o.get("name").str()]
		if number, ok := nodeNumber(o.get("code")); ok {
			code = number
		}
		s.options[code] = optionData(code, o)
	}
	return s
}

// optionData returns the value of an option as text. Bytes of option 43 stay in
// hexadecimal.
func optionData(code int, o *node) string {
	text := o.get("data").str()
	if o.get("csv-format").truth(code != 43) || code == 43 {
		return text
	}
	raw, err := hex.DecodeString(strings.TrimPrefix(strings.NewReplacer(" ", "", ":", "").Replace(text), "0x"))
	if err != nil {
		return text
	}
	if code != 1 && code != 3 && code != 6 {
		return string(raw)
	}
	var list []netip.Addr
	for ; len(raw) >= 4; raw = raw[4:] {
		list = append(list, netip.AddrFrom4([4]byte(raw[:4])))
	}
	return netboot.JoinAddrs(list, ",")
}

func nodeNumber(n *node) (int, bool) {
	if n == nil {
		return 0, false
	}
	f, ok := n.value.(float64)
	return int(f), ok
}

// optionCodes maps Kea's names of the options that are used here to their numbers.
func optionCodes() map[string]int {
	return map[string]int{
		"subnet-mask": 1, "routers": 3, "domain-name-servers": 6, "host-name": 12, "domain-name": 15,
		"vendor-encapsulated-options": 43, "vendor-class-identifier": 60, "tftp-server-name": 66, "boot-file-name": 67,
		"user-class": 77, "client-system": 93,
	}
}

func (p *parser) classes(list []*node) {
	for _, n := range list {
		c := clientClass{name: n.get("name").str(), scope: p.scope(n), onlyIfRequired: n.get("only-if-required").truth(false)}
		if test := n.get("test"); test != nil {
			expr, members, err := parseTest(test.str())
			if err != nil {
				p.find(test, netboot.Remark, "the test of class "+c.name+" is not evaluated: "+err.Error(), "")
				expr, c.unread = nil, err.Error()
			}
			c.test, c.members = expr, members
		}
		p.config.classes = append(p.config.classes, c)
	}
	p.config.order()
}

func (p *parser) subnet(n *node, outside inherited, around *scope) {
	text := n.get("subnet").str()
	network, err := netip.ParsePrefix(text)
	if err != nil {
		p.find(n, netboot.Wrong, `an element of "subnet4" has no network in "subnet"`, "Kea does not start with it")
		return
	}
	if n.get("id") == nil {
		p.find(n, netboot.Remark, "subnet "+text+` has no "id": Kea 2.6 and later refuse it`, "add one and never change it")
	}
	settings := outside.from(n)
	if settings.matchID {
		p.find(n, netboot.Wrong, "subnet "+text+" matches client IDs: firmware, iPXE and the system have different ones, and the second one gets no answer", `add "match-client-id": false`)
	}
	s := subnetConfig{network: network.Masked(), scope: p.scope(n), global: settings.global, inSubnet: settings.inSubnet}
	if around != nil {
		s.around, s.shared = *around, true
	}
	for _, pool := range n.get("pools").list() {
		s.pools = append(s.pools, p.scope(pool))
	}
	for _, r := range n.get("reservations").list() {
		s.reservations = append(s.reservations, p.reservation(r))
	}
	p.config.subnets = append(p.config.subnets, s)
}

func (p *parser) reservation(n *node) reservationConfig {
	r := reservationConfig{mac: n.get("hw-address").str(), hostname: n.get("hostname").str(), scope: p.scope(n)}
	if text := n.get("ip-address").str(); text != "" {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			p.find(n, netboot.Wrong, "the reservation's address "+text+" is not an IP address", "")
		}
		r.ip = ip
	}
	for _, c := range n.get("client-classes").list() {
		r.classes = append(r.classes, c.str())
	}
	if r.bootFile != "" {
		p.find(n, netboot.Remark, "the reservation of "+r.mac+" has a boot file, which overrides all classes: firmware and iPXE get the same file", "set it in the classes")
	}
	return r
}
