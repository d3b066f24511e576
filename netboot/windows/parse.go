package windows

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// The parts of the output of Export-DhcpServer that are used here.
type (
	export struct {
		XMLName xml.Name `xml:"DHCPServer"`
		IPv4    ipv4     `xml:"IPv4"`
	}
	ipv4 struct {
		ActivatePolicies string        `xml:"ActivatePolicies"`
		Classes          []class       `xml:"Classes>Class"`
		Definitions      []definition  `xml:"OptionDefinitions>OptionDefinition"`
		Options          []optionValue `xml:"OptionValues>OptionValue"`
		Policies         []policy      `xml:"Policies>Policy"`
		Scopes           []scope       `xml:"Scopes>Scope"`
	}
	class struct {
		Name, Type, Data string
	}
	definition struct {
		OptionID int `xml:"OptionId"`
	}
	optionValue struct {
		OptionID int      `xml:"OptionId"`
		Values   []string `xml:"Value"`
	}
	policy struct {
		Name, Enabled, Condition string
		Order                    int           `xml:"ProcessingOrder"`
		VendorClass              []string      `xml:"VendorClass"`
		UserClass                []string      `xml:"UserClass"`
		MacAddress               []string      `xml:"MacAddress"`
		Options                  []optionValue `xml:"OptionValues>OptionValue"`
	}
	scope struct {
		ID               string        `xml:"ScopeId"`
		Mask             string        `xml:"SubnetMask"`
		State            string        `xml:"State"`
		Start            string        `xml:"StartRange"`
		ActivatePolicies string        `xml:"ActivatePolicies"`
		Options          []optionValue `xml:"OptionValues>OptionValue"`
		Policies         []policy      `xml:"Policies>Policy"`
		Reservations     []reservation `xml:"Reservations>Reservation"`
	}
	reservation struct {
		Name, Type string
		IP         string        `xml:"IPAddress"`
		Client     string        `xml:"ClientId"`
		Options    []optionValue `xml:"OptionValues>OptionValue"`
	}
)

// Parse implements [netboot.Server]. It reads the XML of Export-DhcpServer.
func (Server) Parse(open netboot.Opener, name string) (netboot.Config, []netboot.Finding) {
	p := &parser{file: name}
	text, err := open(name)
	if err != nil {
		p.find(fmt.Sprintf("reading %q: %v", name, err), "")
		return nil, p.findings
	}
	var e export
	if err := xml.Unmarshal(text, &e); err != nil {
		why := err.Error()
		if errors.Is(err, io.EOF) {
			why = "it has no XML"
		}
		f := netboot.NotOf(Server{}, name, "it is not an export of Export-DhcpServer: "+why)
		f.Remedy = "run Export-DhcpServer -File dhcp.xml on the server and check that file"
		return nil, []netboot.Finding{f}
	}
	p.ipv4(e.IPv4)
	return &config{e.IPv4}, p.findings
}

// IsScript reports whether text is a script of [Server.Render].
func IsScript(text []byte) bool {
	first, _, _ := bytes.Cut(text, []byte("\n"))
	return bytes.Contains(first, []byte("written by hookbuild dhcp windows"))
}

type parser struct {
	file     string
	findings []netboot.Finding
}

func (p *parser) find(text, remedy string) {
	p.findings = append(p.findings, netboot.Finding{File: p.file, Level: netboot.Wrong, Text: text, Remedy: remedy})
}

// ipv4 looks for problems that do not depend on the machines.
func (p *parser) ipv4(s ipv4) {
	if no(s.ActivatePolicies) {
		p.find("policies are switched off for the server", "Set-DhcpServerSetting -ActivatePolicies $true")
	}
	for _, scope := range s.Scopes {
		if no(scope.ActivatePolicies) {
			p.find("policies are switched off for scope "+scope.ID, "Set-DhcpServerv4Scope -ScopeId "+scope.ID+" -ActivatePolicies $true")
		}
		if strings.EqualFold(scope.State, "InActive") {
			p.find("scope "+scope.ID+" is not active, so no client gets an answer", "Set-DhcpServerv4Scope -ScopeId "+scope.ID+" -State Active")
		}
		for _, r := range scope.Reservations {
			p.reservation(r)
		}
	}
}

func no(s string) bool { return strings.EqualFold(strings.TrimSpace(s), "false") }

func (p *parser) reservation(r reservation) {
	if strings.EqualFold(r.Type, "Bootp") {
		p.find("the reservation of "+r.IP+" is only for BOOTP: DHCP clients do not get it", "make its type Dhcp or Both")
	}
	for _, o := range r.Options {
		if o.OptionID == 66 || o.OptionID == 67 {
			p.find(fmt.Sprintf("the reservation of %s has option %d, which overrides the policies: firmware and iPXE get the same value", r.IP, o.OptionID), "remove it from the reservation")
		}
	}
}

// config answers as the exported server.
type config struct{ ipv4 }

// Answer implements [netboot.Config].
func (c *config) Answer(q netboot.Request) (netboot.Reply, bool) {
	for _, s := range c.Scopes {
		network, ok := s.network()
		if ok && network == q.Network && !strings.EqualFold(s.State, "InActive") {
			return c.inScope(q, s, network)
		}
	}
	return netboot.Reply{}, false
}

// network returns the network of the scope, or false if its address or mask is
// invalid.
func (s scope) network() (netip.Prefix, bool) {
	ip, err1 := netip.ParseAddr(s.ID)
	mask, err2 := netip.ParseAddr(s.Mask)
	if err1 != nil || err2 != nil || !ip.Is4() || !mask.Is4() {
		return netip.Prefix{}, false
	}
	ones := 0
	for _, b := range mask.As4() {
		for ; b&0x80 != 0; b <<= 1 {
			ones++
		}
	}
	return netip.PrefixFrom(ip, ones), true
}

// inScope combines the levels, in this precedence: reservation, policies of the
// scope, policies of the server, scope, server.
func (c *config) inScope(q netboot.Request, s scope, network netip.Prefix) (netboot.Reply, bool) {
	r, known := s.reservation(q.MAC)
	if !known && s.Start == "" {
		return netboot.Reply{}, false
	}
	levels := [][]optionValue{r.Options}
	if !no(s.ActivatePolicies) && !no(c.ActivatePolicies) {
		levels = append(levels, c.matching(q, s.Policies)...)
		levels = append(levels, c.matching(q, c.Policies)...)
	}
	levels = append(levels, s.Options, c.Options)
	option := func(id int) []string {
		for _, level := range levels {
			for _, o := range level {
				if o.OptionID == id {
					return o.Values
				}
			}
		}
		return nil
	}
	reply := netboot.Reply{
		Bits: network.Bits(), Routers: netboot.ParseAddrs(option(3)), Nameservers: netboot.ParseAddrs(option(6)), Hostname: first(option(12)),
		Domain: first(option(15)), Vendor: first(option(60)), ServerName: first(option(66)), BootFile: first(option(67)), VLAN: vlanText(option(43)),
	}
	reply.IP, _ = netip.ParseAddr(r.IP)
	// Windows has only option 66 for the address to load from.
	reply.NextServer, _ = netip.ParseAddr(reply.ServerName)
	return reply, true
}

func (s scope) reservation(mac hardware.MAC) (reservation, bool) {
	for _, r := range s.Reservations {
		if have, ok := hardware.ParseMAC(r.Client); ok && have == mac {
			return r, true
		}
	}
	return reservation{}, false
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// vlanText returns sub-option 116 of option 43, which is a list of bytes.
func vlanText(values []string) string {
	var raw []byte
	for _, v := range values {
		b, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(v), "0x"))
		if err != nil {
			return ""
		}
		raw = append(raw, b...)
	}
	return netboot.ParseVLANOption(raw)
}
