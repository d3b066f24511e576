// Package dhcpd writes and reads the configuration of ISC's dhcpd, which many
// sites still run though its support ended in 2022.
//
// Its option 93 is built in under the name pxe-system-type; older files
// declare it again under another name, which is allowed. Everything else it
// needs is built in too, so that a fragment declares nothing that could clash
// with the site's own declarations.
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

// Checker implements [netboot.Server]. With -q it would not say what is wrong.
// The check would read the lease file,
// which it need not have.
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

// classes is true for the user classes.
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

// archs is true for the architectures: the first that option 93 lists counts.
func archs(list []uint16) string {
	tests := make([]string, len(list))
	for i, a := range list {
		tests[i] = fmt.Sprintf("substring(option pxe-system-type, 0, 2) = %02x:%02x", a>>8, a&0xff)
	}
	return strings.Join(tests, " or ")
}
