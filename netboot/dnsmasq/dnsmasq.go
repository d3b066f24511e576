// Package dnsmasq writes and reads the configuration of dnsmasq, as a DHCP server
// or as a proxy next to a server that cannot be changed.
//
// The manual page of dnsmasq describes its configuration. It does not mention the
// following, which was measured with version 2.90:
//   - the second value of dhcp-boot is a name, which is sent unchanged (option
//     66); without the third value the next server is dnsmasq itself;
//   - without a router option dnsmasq sends its own address;
//   - a user class is matched by substring;
//   - of several lines for one option whose tags match, the last wins, and each
//     of them wins over a line without tags.
package dnsmasq

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	_ "embed"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// Server is dnsmasq.
type Server struct{}

var _ netboot.Server = Server{}

// Name implements [netboot.Server].
func (Server) Name() string { return "dnsmasq" }

// Modes implements [netboot.Server].
func (Server) Modes() []netboot.Mode {
	return []netboot.Mode{netboot.Full, netboot.Fragment, netboot.Proxy}
}

// Checker implements [netboot.Server].
func (Server) Checker(file string) []string { return []string{"dnsmasq", "--test", "-C", file} }

// Apply implements [netboot.Server].
func (Server) Apply(file string) []string {
	return []string{
		"dnsmasq --test -C " + cmp.Or(file, "/etc/dnsmasq.conf"),
		"systemctl restart dnsmasq   # SIGHUP does not read the configuration again",
	}
}

//go:embed dnsmasq.tmpl
var text string

// Render implements [netboot.Server].
func (Server) Render(p *netboot.Plan, m netboot.Mode) ([]netboot.File, error) {
	if err := netboot.Refuse(Server{}, m); err != nil {
		return nil, err
	}
	if err := refuse(p); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	t, err := template.New("dnsmasq").Funcs(functions(p)).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading the dnsmasq template: %w", err)
	}
	data := map[string]any{
		"Plan": p, "Full": m == netboot.Full, "Proxy": m == netboot.Proxy, "Own": m != netboot.Fragment, "Sets": sets(p),
	}
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("writing the dnsmasq configuration: %w", err)
	}
	return []netboot.File{{Name: p.Tag + "-dnsmasq.conf", Content: b.Bytes()}}, nil
}

func functions(p *netboot.Plan) template.FuncMap {
	sets := sets(p)
	return template.FuncMap{
		"mask":    netboot.Mask,
		"seconds": func(d time.Duration) string { return strconv.Itoa(int(d/time.Second)) + "s" },
		"join":    func(list []netip.Addr) string { return netboot.JoinAddrs(list, ",") },
		"tags":    func(m hardware.Machine) string { return machineTags(p, sets, m) },
		"service": service,
		// (With sub-options set by "vendor:PXEClient" dnsmasq would repeat the
		// client's option 60, and firmware would mistake the answer for a boot
		// server's.)
		"vlan": func(id int) string { return netboot.HexColons(netboot.VLANOption(strconv.Itoa(id))) },
	}
}

// set is the gateway and name servers that several machines share.
type set struct {
	Tag         string
	Gateway     netip.Addr
	Nameservers []netip.Addr
}

// sets returns the different sets in the order of the machines.
func sets(p *netboot.Plan) []set {
	var list []set
	for m := range p.Machines {
		if findSet(list, m) < 0 {
			list = append(list, set{fmt.Sprintf("%s-net%d", p.Tag, len(list)), m.Gateway, m.Nameservers})
		}
	}
	return list
}

func findSet(list []set, m hardware.Machine) int {
	return slices.IndexFunc(list, func(s set) bool {
		return s.Gateway == m.Gateway && slices.Equal(s.Nameservers, m.Nameservers)
	})
}

// machineTags returns the set:... part of a machine's line.
func machineTags(p *netboot.Plan, list []set, m hardware.Machine) string {
	tags := "set:" + p.Tag + ",set:" + list[findSet(list, m)].Tag
	if m.VLAN != 0 && !p.NoVLANOption {
		tags += fmt.Sprintf(",set:%s-vlan%d", p.Tag, m.VLAN)
	}
	return tags
}

// service returns dnsmasq's name of a firmware in pxe-service, by option 93.
// (Before version 2.76 the two names for x86-64 were swapped; both are written.)
func service(arch uint16) string {
	return map[uint16]string{0: "x86PC", 7: "X86-64_EFI", 9: "BC_EFI", 11: "ARM64_EFI"}[arch]
}

// refuse returns an error for a value that dnsmasq would misread.
func refuse(p *netboot.Plan) error {
	for m := range p.Machines {
		if lease(m.Hostname) {
			return fmt.Errorf("writing %q of line %d for dnsmasq: dnsmasq reads this host name as a lease time; choose another", m.Hostname, m.Line)
		}
		if strings.Contains(m.Hostname, ".") && !strings.HasSuffix(m.Hostname, "."+p.Domain) {
			return fmt.Errorf("writing %q of line %d for dnsmasq: dnsmasq ignores a name with dots outside its domain; set the domain or use a short host name", m.Hostname, m.Line)
		}
	}
	return nil
}

// lease reports whether dnsmasq reads s as a time: digits, with or without a unit.
func lease(s string) bool {
	if s == "infinite" || s == "ignore" {
		return true
	}
	digits := strings.TrimRight(s, "wdhms")
	return len(s)-len(digits) <= 1 && digits != "" && strings.Trim(digits, "0123456789") == ""
}
