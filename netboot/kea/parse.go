package kea

import (
	"errors"
	"net/netip"
	"slices"

	"hookbuild/netboot"
)

// Parse implements [netboot.Server].
func (Server) Parse(open netboot.Opener, name string) (netboot.Config, []netboot.Finding) {
	r := &reader{open: open}
	var root *node
	err := r.within(name, func(in *reader) (err error) {
		root, err = in.value()
		if err == nil && in.peek() != 0 {
			err = in.fail("something follows the end of the configuration")
		}
		return err
	})
	var syntax *syntaxError
	if errors.As(err, &syntax) {
		return nil, append(r.findings, syntax.Finding)
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

func (p *parser) find(n *node, doubtful bool, text, remedy string) {
	f := netboot.Finding{File: p.file, Doubtful: doubtful, Text: text, Remedy: remedy}
	if n != nil {
		f.File, f.Line = n.file, n.line
	}
	p.findings = append(p.findings, f)
}

func (p *parser) root(root *node) {
	server := root.get("Dhcp4")
	if server == nil {
		p.find(root, false, `there is no "Dhcp4"`, "give the configuration of kea-dhcp4")
		return
	}
	if len(server.get("interfaces-config").get("interfaces").list()) == 0 {
		p.find(server, false, `"interfaces-config" names no interfaces: nobody is answered`, `add "interfaces-config": { "interfaces": [ "*" ] }`)
	}
	p.config.scope = p.scope(server)
	p.classes(server.get("client-classes").list())
	subnets := server.get("subnet4").list()
	for _, shared := range server.get("shared-networks").list() {
		subnets = append(subnets, shared.get("subnet4").list()...)
	}
	matchID := server.get("match-client-id").truth(true)
	for _, n := range subnets {
		p.subnet(n, matchID)
	}
	if len(p.config.subnets) == 0 {
		p.config.assumed = &subnetConfig{pools: true}
		if len(subnets) > 0 {
			p.config.assumed.scope = p.scope(subnets[0])
		}
		p.find(server, false, `there is no subnet in "subnet4": nobody is answered`, `add { "id": ..., "subnet": "192.0.2.0/24", "reservations": [ ... ] }`)
	}
	for _, n := range server.get("reservations").list() {
		p.config.global = append(p.config.global, p.reservation(n))
	}
	p.identifiers(server.get("host-reservation-identifiers"))
}

// identifiers reports a server that looks for reservations by other things
// than the MAC.
func (p *parser) identifiers(n *node) {
	list := n.list()
	if n != nil && !slices.ContainsFunc(list, func(e *node) bool { return e.str() == "hw-address" }) {
		p.find(n, false, `"host-reservation-identifiers" lacks "hw-address": reservations by MAC are not looked for`, "add it")
	}
}

// scope reads what can be set at every level.
func (p *parser) scope(n *node) scope {
	s := scope{bootFile: n.get("boot-file-name").str(), serverName: n.get("server-hostname").str(), options: map[int]string{}}
	if text := n.get("next-server").str(); text != "" {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			p.find(n.get("next-server"), false, "next-server "+text+" is not an address", "")
		}
		s.nextServer = ip
	}
	for _, o := range n.get("option-data").list() {
		code := optionCodes()[o.get("name").str()]
		if number, ok := nodeNumber(o.get("code")); ok {
			code = number
		}
		s.options[code] = o.get("data").str()
	}
	return s
}

func nodeNumber(n *node) (int, bool) {
	if n == nil {
		return 0, false
	}
	f, ok := n.value.(float64)
	return int(f), ok
}

// optionCodes are the options that matter here by Kea's names.
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
				p.find(test, true, "the test of class "+c.name+" is not checked: "+err.Error(), "")
			}
			c.test, c.members = expr, members
			if err != nil {
				c.test = nil
			}
		}
		p.config.classes = append(p.config.classes, c)
	}
	p.config.order()
}

func (p *parser) subnet(n *node, matchID bool) {
	text := n.get("subnet").str()
	network, err := netip.ParsePrefix(text)
	if err != nil {
		p.find(n, false, `an element of "subnet4" has no network in "subnet"`, "Kea does not start with it")
		return
	}
	if n.get("id") == nil {
		p.find(n, true, "subnet "+text+` has no "id": Kea 2.6 and later refuse it`, "add one and never change it")
	}
	if n.get("match-client-id").truth(matchID) {
		p.find(n, false, "subnet "+text+" matches client ids: firmware, iPXE and the system have different ones, and the second gets no answer", `add "match-client-id": false`)
	}
	s := subnetConfig{network: network.Masked(), scope: p.scope(n), pools: len(n.get("pools").list()) > 0,
		global: n.get("reservations-global").truth(false), inSubnet: n.get("reservations-in-subnet").truth(true)}
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
			p.find(n, false, "the reservation's address "+text+" is none", "")
		}
		r.ip = ip
	}
	for _, c := range n.get("client-classes").list() {
		r.classes = append(r.classes, c.str())
	}
	if r.bootFile != "" {
		p.find(n, false, "the reservation of "+r.mac+" has a boot file, which overrides all classes: firmware and iPXE get the same", "leave it to the classes")
	}
	return r
}
