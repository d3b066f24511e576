package nettest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// siteFiles puts a site's configuration together with a generated fragment: in its
// text DIR stands for the fragment's directory and FRAGMENT for its one file.
// It returns the name of the whole.
func siteFiles(t testing.TB, site string, fragment []netboot.File) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range fragment {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(site)
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.NewReplacer("FRAGMENT", filepath.Join(dir, fragment[0].Name), "DIR", dir).Replace(string(text))
	name := filepath.Join(dir, filepath.Base(site))
	if err := os.WriteFile(name, []byte(whole), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// Shared proves a fragment in a site's server: the machines are told what the
// plan says, everybody else what the site said before, and the checks find
// nothing wrong.
func (n *Net) Shared(t *testing.T, s netboot.Server, p *netboot.Plan, site string) {
	t.Helper()
	files, err := s.Render(p, netboot.Fragment)
	if err != nil {
		t.Fatal(err)
	}
	whole := siteFiles(t, site, files)
	if got := Lint(s, p, whole, false); got != "" {
		t.Errorf("the checks find:\n%s", got)
	}
	conf, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	n.StartDHCP(n.Server, s.Name(), conf)
	for _, subnet := range p.Subnets {
		for i, m := range subnet.Machines {
			for _, c := range variants(p, m, i == 0) {
				c.Relayed = subnet.Network.Addr().String() == "198.51.100.0"
				n.sharedAnswer(t, p, c)
			}
		}
	}
	n.others(t, p)
}

// sharedAnswer is [Net.expect] without what a site may add: a boot file for
// who does not boot, and a domain.
func (n *Net) sharedAnswer(t *testing.T, p *netboot.Plan, c Client) {
	t.Helper()
	if want, _ := p.Answer(c.Request); want.BootFile == "" {
		return
	}
	n.expect(t, p, c)
}

// others asks as clients of the site, also one that says it is Tinkerbell's. A
// server may look first whether a free address is in use, which takes seconds.
func (n *Net) others(t *testing.T, p *netboot.Plan) {
	t.Helper()
	for _, last := range []byte{0x99, 0xaa} {
		m := hardware.Machine{MAC: hardware.MAC{0, 0, 0x5e, 0, 0x53, last}}
		for _, class := range []string{"", "Tinkerbell"} {
			got, ok := n.ask(Client{Request: p.Clients[1].Request(m, 7, class), Wait: 5 * time.Second})
			if last == 0xaa && got.IP.String() != "192.0.2.170" {
				t.Errorf("the site's reservation became %s", got.IP)
			}
			if !ok || strings.Contains(got.BootFile, "ipxe") || got.NextServer == p.Address || got.ServerName != "" || len(got.Nameservers) != 1 || got.Nameservers[0].String() != "192.0.2.77" {
				t.Errorf("another client of the site, user class %q: answered %t, %s", class, ok, format(got))
			}
			if last == 0x99 && got.BootFile != "site.efi" {
				t.Errorf("another client of the site, user class %q, is told %q, not the site's own", class, got.BootFile)
			}
		}
	}
}
