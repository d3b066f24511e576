// Package kea writes and reads the configuration of Kea's DHCPv4 server.
//
// Kea's Administrator Reference Manual describes the configuration. It does not
// mention the following, which was measured with version 2.2:
//   - of several classes with a boot file the first evaluated one wins, and
//     classes that do not depend on KNOWN are evaluated before those that do, in
//     any order of the file;
//   - the boot file of a reservation overrides all classes;
//   - with match-client-id, the default, a second client ID from the same MAC
//     gets no answer, and a booting machine has several.
package kea

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// Server is Kea's kea-dhcp4.
type Server struct{}

var _ netboot.Server = Server{}

// Name implements [netboot.Server].
func (Server) Name() string { return "kea" }

// Modes implements [netboot.Server].
func (Server) Modes() []netboot.Mode { return []netboot.Mode{netboot.Full, netboot.Fragment} }

// Checker implements [netboot.Server].
func (Server) Checker(file string) []string { return []string{"kea-dhcp4", "-t", file} }

// Apply implements [netboot.Server].
func (Server) Apply(file string) []string {
	file = cmp.Or(file, "/etc/kea/kea-dhcp4.conf")
	return []string{
		"kea-dhcp4 -t " + file,
		`echo '{ "command": "config-reload", "service": [ "dhcp4" ] }' | socat - UNIX-CONNECT:/run/kea/kea4-ctrl-socket`,
		"kill -HUP $(pidof kea-dhcp4)   # the same, where there is no control socket",
	}
}

// The parts of a configuration, in the order of the file.
type (
	document struct {
		Dhcp4 dhcp4 `json:"Dhcp4"`
	}
	dhcp4 struct {
		Comment       string     `json:"comment"`
		Interfaces    interfaces `json:"interfaces-config"`
		Control       control    `json:"control-socket"`
		Leases        leases     `json:"lease-database"`
		ValidLifetime int        `json:"valid-lifetime"`
		Identifiers   []string   `json:"host-reservation-identifiers"`
		Classes       []class    `json:"client-classes"`
		Subnets       []subnet   `json:"subnet4"`
	}
	interfaces struct {
		Interfaces []string `json:"interfaces"`
	}
	control struct {
		Type string `json:"socket-type"`
		Name string `json:"socket-name"`
	}
	leases struct {
		Type string `json:"type"`
	}
	class struct {
		Comment    string   `json:"comment,omitempty"`
		Name       string   `json:"name"`
		Test       string   `json:"test,omitempty"`
		BootFile   string   `json:"boot-file-name,omitempty"`
		OptionData []option `json:"option-data,omitempty"`
	}
	option struct {
		Name       string `json:"name"`
		Data       string `json:"data"`
		CSVFormat  *bool  `json:"csv-format,omitempty"`
		AlwaysSend bool   `json:"always-send,omitempty"`
	}
	subnet struct {
		ID            uint32        `json:"id"`
		Subnet        string        `json:"subnet"`
		MatchClientID bool          `json:"match-client-id"`
		Reservations  []reservation `json:"reservations"`
	}
	reservation struct {
		HWAddress  string   `json:"hw-address"`
		IPAddress  string   `json:"ip-address"`
		Hostname   string   `json:"hostname"`
		Classes    []string `json:"client-classes"`
		NextServer string   `json:"next-server"`
		OptionData []option `json:"option-data"`
	}
)

// Render implements [netboot.Server]. A fragment has a file of classes, a file of
// whole subnets, and a file of reservations for each subnet. A site includes the
// classes inside client-classes. For a subnet that the site's configuration has, it
// includes the file of reservations inside the array of the subnet. Otherwise it
// includes the file of whole subnets inside subnet4.
func (Server) Render(p *netboot.Plan, m netboot.Mode) ([]netboot.File, error) {
	if err := netboot.Refuse(Server{}, m); err != nil {
		return nil, err
	}
	if m == netboot.Fragment {
		return renderFragment(p)
	}
	return renderFull(p)
}

func renderFull(p *netboot.Plan) ([]netboot.File, error) {
	iface := "*"
	if p.Interface != "" {
		iface = p.Interface
	}
	d := document{dhcp4{
		Comment:       header(p),
		Interfaces:    interfaces{[]string{iface}},
		Control:       control{"unix", "/run/kea/kea4-ctrl-socket"},
		Leases:        leases{"memfile"},
		ValidLifetime: int(p.Lease / time.Second),
		Identifiers:   []string{"hw-address"},
		Classes:       renderClasses(p),
		Subnets:       subnets(p),
	}}
	text, err := encode(d, "")
	if err != nil {
		return nil, err
	}
	return []netboot.File{{Name: p.Tag + "-kea-dhcp4.conf", Content: text}}, nil
}

func header(p *netboot.Plan) string {
	text := fmt.Sprintf("Network boot of EKS Anywhere machines, written by hookbuild dhcp kea. Release %s, phase %s: the machines boot from %s", p.Version, p.Phase, p.Address)
	if p.OtherAddress.IsValid() {
		text += fmt.Sprintf(", in phase %s from %s", p.Phase.Other(), p.OtherAddress)
	}
	return text + "."
}

func renderFragment(p *netboot.Plan) ([]netboot.File, error) {
	list := renderClasses(p)
	list[0].Comment = header(p) + " " + list[0].Comment + " Include this file inside the array client-classes, and the reservations of a subnet inside its array reservations," +
		" as <?include \"/etc/kea/" + p.Tag + "-classes.json\"?>; the subnet needs match-client-id false. Subnets that the server lacks are whole in " + p.Tag + "-subnets.json." +
		" A class of the site that has a boot file needs not member('KNOWN'), or it wins."
	first, err := elements(list)
	if err != nil {
		return nil, err
	}
	whole, err := elements(subnets(p))
	if err != nil {
		return nil, err
	}
	files := []netboot.File{
		{Name: p.Tag + "-classes.json", Content: first, Use: "include it in the array client-classes, always"},
		{Name: p.Tag + "-subnets.json", Content: whole, Use: "include it in the array subnet4 if the server has none of these subnets; otherwise leave it out"},
	}
	for _, s := range subnets(p) {
		part, err := elements(s.Reservations)
		if err != nil {
			return nil, err
		}
		name := p.Tag + "-reservations-" + strings.ReplaceAll(s.Subnet, "/", "-") + ".json"
		files = append(files, netboot.File{Name: name, Content: part, Use: "include it in the array reservations of subnet " + s.Subnet + " if the server has that subnet, and set match-client-id to false there"})
	}
	return files, nil
}

// elements returns the elements of an array, without its brackets.
func elements[T any](list []T) ([]byte, error) {
	var b bytes.Buffer
	for i, e := range list {
		text, err := encode(e, "")
		if err != nil {
			return nil, err
		}
		b.Write(bytes.TrimRight(text, "\n"))
		if i < len(list)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

func encode(v any, prefix string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("writing the Kea configuration: %w", err)
	}
	return b.Bytes(), nil
}

// renderClasses returns the classes. A class of the site that has a boot file must
// depend on KNOWN, for example by "not member('KNOWN')". Otherwise Kea evaluates it
// before these, and it wins.
func renderClasses(p *netboot.Plan) []class {
	ours := fmt.Sprintf("member('KNOWN') and member('%s')", p.Tag)
	var userClasses []string
	for _, c := range p.UserClasses {
		userClasses = append(userClasses, fmt.Sprintf("option[77].hex == '%s'", c))
	}
	list := []class{
		{Name: p.Tag, Comment: "The machines of hardware.csv: their reservations name this class, and everything below applies only to it."},
		{
			Name: p.Tag + "-ipxe", Comment: "Second step: iPXE loads the script.",
			Test: ours + " and " + anyOf(userClasses), BootFile: p.ScriptURL,
		},
		{
			Name: p.Tag + "-firmware", Comment: "First step: the firmware loads iPXE.",
			Test: fmt.Sprintf("%s and not member('%s-ipxe')", ours, p.Tag),
		},
	}
	for _, c := range p.Clients {
		list = append(list, firmware(p, c))
	}
	return append(list, vlans(p)...)
}

// anyOf returns a test that holds if one of the tests holds.
func anyOf(tests []string) string {
	if len(tests) == 1 {
		return tests[0]
	}
	return "(" + strings.Join(tests, " or ") + ")"
}

func firmware(p *netboot.Plan, c netboot.Client) class {
	var archs []string
	for _, a := range c.Archs {
		archs = append(archs, fmt.Sprintf("substring(option[93].hex, 0, 2) == 0x%04x", a))
	}
	out := class{
		Name: p.Tag + "-" + c.Name, Comment: c.What,
		Test: fmt.Sprintf("member('%s-firmware') and %s", p.Tag, anyOf(archs)), BootFile: c.BootFile,
	}
	if c.HTTP {
		out.OptionData = []option{{Name: "vendor-class-identifier", Data: netboot.HTTPClient, AlwaysSend: true}}
	}
	return out
}

// vlans returns classes that send Tinkerbell's iPXE the VLAN that the firmware
// booted through: sub-option 116 of option 43, as text.
func vlans(p *netboot.Plan) []class {
	var list []class
	for _, id := range p.VLANs() {
		no := false
		list = append(list, class{
			Name: vlanClass(p, id), Comment: "The VLAN that the firmware booted through, for iPXE: sub-option 116 of option 43.",
			OptionData: []option{{
				Name: "vendor-encapsulated-options", Data: hex.EncodeToString(netboot.VLANOption(strconv.Itoa(id))),
				CSVFormat: &no, AlwaysSend: true,
			}},
		})
	}
	return list
}

func vlanClass(p *netboot.Plan, id int) string { return fmt.Sprintf("%s-vlan-%d", p.Tag, id) }

func subnets(p *netboot.Plan) []subnet {
	var list []subnet
	for _, s := range p.Subnets {
		out := subnet{ID: id(s.Network), Subnet: s.Network.String()}
		for _, m := range s.Machines {
			out.Reservations = append(out.Reservations, reserve(p, m))
		}
		list = append(list, out)
	}
	return list
}

// id returns the network's address as a number. It is the same whenever the
// configuration is generated again, because a changed ID would orphan the leases.
func id(n netip.Prefix) uint32 {
	a := n.Addr().As4()
	return binary.BigEndian.Uint32(a[:])
}

func reserve(p *netboot.Plan, m hardware.Machine) reservation {
	r := reservation{
		HWAddress: m.MAC.String(), IPAddress: m.IP.String(), Hostname: m.Hostname,
		Classes: []string{p.Tag}, NextServer: p.Address.String(),
		OptionData: []option{
			{Name: "routers", Data: m.Gateway.String()},
			{Name: "domain-name-servers", Data: netboot.JoinAddrs(m.Nameservers, ", ")},
			{Name: "tftp-server-name", Data: p.Address.String()},
		},
	}
	if p.Domain != "" {
		r.OptionData = append(r.OptionData, option{Name: "domain-name", Data: p.Domain})
	}
	if m.VLAN != 0 && !p.NoVLANOption {
		r.Classes = append(r.Classes, vlanClass(p, m.VLAN))
	}
	return r
}
