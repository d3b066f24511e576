// Package dhcpd writes and reads the configuration of ISC dhcpd, which many sites
// still run although its support ended in 2022.
//
// Dhcpd has option 93 built in under the name pxe-system-type. Older files declare
// it again under another name, which is allowed. Everything else that a fragment
// needs is built in too, so it declares nothing that could clash with the site's
// own declarations.
package dhcpd

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"text/template"
	"time"

	"hookbuild/netboot"
)

// Server is ISC dhcpd.
type Server struct{}

var _ netboot.Server = Server{}

// Name implements [netboot.Server].
func (Server) Name() string { return "dhcpd" }

// Modes implements [netboot.Server].
func (Server) Modes() []netboot.Mode { return []netboot.Mode{netboot.Full, netboot.Fragment} }

// Checker implements [netboot.Server]. With -q dhcpd would not print what is wrong.
// The lease file is /dev/null, because the check would otherwise read one, which
// need not exist.
func (Server) Checker(file string) []string {
	return []string{"dhcpd", "-t", "-4", "-cf", file, "-lf", "/dev/null"}
}

// Apply implements [netboot.Server].
func (Server) Apply(file string) []string {
	return []string{
		"dhcpd -t -4 -q -cf " + cmp.Or(file, "/etc/dhcp/dhcpd.conf"),
		"systemctl restart isc-dhcp-server   # a SIGHUP would end it",
	}
}

//go:embed dhcpd.tmpl
var text string

// Render implements [netboot.Server].
func (Server) Render(p *netboot.Plan, m netboot.Mode) ([]netboot.File, error) {
	if err := netboot.Refuse(Server{}, m); err != nil {
		return nil, err
	}
	t, err := template.New("dhcpd").Funcs(functions()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading the dhcpd template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]any{"Plan": p, "Full": m == netboot.Full}); err != nil {
		return nil, fmt.Errorf("writing the dhcpd configuration: %w", err)
	}
	return []netboot.File{{Name: p.Tag + "-dhcpd.conf", Content: b.Bytes()}}, nil
}

func functions() template.FuncMap {
	return template.FuncMap{
		"mask":    netboot.Mask,
		"seconds": func(d time.Duration) int { return int(d / time.Second) },
		"join":    func(list []netip.Addr) string { return netboot.JoinAddrs(list, ", ") },
		"classes": classes,
		"archs":   archs,
		"vlan":    func(id int) string { return netboot.HexColons(netboot.VLANOption(strconv.Itoa(id))) },
	}
}

// classes returns a condition that holds for the user classes.
func classes(list []string) string {
	tests := make([]string, len(list))
	for i, c := range list {
		tests[i] = fmt.Sprintf("option user-class = %q", c)
	}
	if len(tests) == 1 {
		return tests[0]
	}
	return "(" + strings.Join(tests, " or ") + ")"
}

// archs returns a condition that holds for the architectures. The first one in
// option 93 counts.
func archs(list []uint16) string {
	tests := make([]string, len(list))
	for i, a := range list {
		tests[i] = fmt.Sprintf("substring(option pxe-system-type, 0, 2) = %02x:%02x", a>>8, a&0xff)
	}
	return strings.Join(tests, " or ")
}
