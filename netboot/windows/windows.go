// Package windows writes a PowerShell script for the DHCP service of Windows
// Server, and reads what Export-DhcpServer writes.
//
// Windows compares option 60 (vendor class) and option 77 (user class), but not
// option 93. The architecture is a part of option 60, such as
// "PXEClient:Arch:00007:UNDI:003010". The policies of a scope choose the boot file by
// vendor class, user class and MAC. They override the scope's options, and the
// options of a reservation override them, so a reservation never has options 66 or
// 67.
//
// The script uses cmdlets and parameters as the reference of the DhcpServer module
// describes them (Windows Server 2012 R2 and later). The reference does not say
// whether option 66 also sets the next server of the header, and no test here can
// show it.
package windows

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"text/template"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// Server is the DHCP service of Windows Server.
type Server struct{}

var _ netboot.Server = Server{}

// Name implements [netboot.Server].
func (Server) Name() string { return "windows" }

// Modes implements [netboot.Server]. There is one mode, because the scopes are the
// site's own.
func (Server) Modes() []netboot.Mode { return []netboot.Mode{netboot.Full} }

// Checker implements [netboot.Server]. Windows has no checker.
func (Server) Checker(string) []string { return nil }

// Apply implements [netboot.Server].
func (Server) Apply(file string) []string {
	file = cmp.Or(file, "eksa-dhcp.ps1")
	return []string{
		`powershell -File ` + file + ` -WhatIf   # shows what would change`,
		`powershell -File ` + file + `           # takes effect at once`,
	}
}

//go:embed windows.tmpl
var text string

// Render implements [netboot.Server]. The scopes must exist.
func (Server) Render(p *netboot.Plan, m netboot.Mode) ([]netboot.File, error) {
	if err := netboot.Refuse(Server{}, m); err != nil {
		return nil, err
	}
	t, err := template.New("windows").Funcs(functions(p)).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading the PowerShell template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("writing the PowerShell script: %w", err)
	}
	return []netboot.File{{Name: p.Tag + "-dhcp.ps1", Content: b.Bytes()}}, nil
}

func functions(p *netboot.Plan) template.FuncMap {
	return template.FuncMap{
		"q":      quote,
		"list":   quoteList,
		"addrs":  addrs,
		"mac":    mac,
		"vendor": vendor,
		"vlan":   func(m hardware.Machine) string { return vlan(p, m) },
	}
}

// quote returns v as a PowerShell string without expansion.
func quote(v any) string {
	return "'" + strings.ReplaceAll(fmt.Sprint(v), "'", "''") + "'"
}

func quoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return "@(" + strings.Join(quoted, ", ") + ")"
}

func addrs(list []netip.Addr) string {
	text := make([]string, len(list))
	for i, a := range list {
		text[i] = a.String()
	}
	return quoteList(text)
}

// mac returns the address as Windows shows it, in upper case with hyphens.
func mac(m hardware.MAC) string {
	return strings.ToUpper(strings.ReplaceAll(m.String(), ":", "-"))
}

// vendor returns the beginning of option 60 for an architecture.
func vendor(c netboot.Client, arch uint16) string {
	kind := "PXEClient"
	if c.HTTP {
		kind = netboot.HTTPClient
	}
	return fmt.Sprintf("%s:Arch:%05d", kind, arch)
}

// vlan returns option 43 as a list of bytes, with sub-option 116 only.
func vlan(p *netboot.Plan, m hardware.Machine) string {
	if m.VLAN == 0 || p.NoVLANOption {
		return "@()"
	}
	var hex []string
	for _, b := range netboot.VLANOption(strconv.Itoa(m.VLAN)) {
		hex = append(hex, fmt.Sprintf("0x%02X", b))
	}
	return quoteList(hex)
}
