package windows

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/netboot"
	"hookbuild/test/nettest"
)

func TestWrong(t *testing.T) { nettest.Wrong(t, Server{}, "testdata/wrong/*.xml") }

// exported returns the export of a server on which the script has run.
func exported(p *netboot.Plan) []byte {
	var b bytes.Buffer
	option := func(id int, values ...string) {
		fmt.Fprintf(&b, "<OptionValue><OptionId>%d</OptionId>", id)
		for _, v := range values {
			fmt.Fprintf(&b, "<Value>%s</Value>", v)
		}
		b.WriteString("</OptionValue>")
	}
	b.WriteString("<DHCPServer><IPv4><Classes>")
	fmt.Fprintf(&b, "<Class><Name>%s-ipxe-0</Name><Type>User</Type><Data>%s</Data></Class>", p.Tag, p.UserClasses[0])
	for _, c := range p.Clients {
		for _, arch := range c.Archs {
			fmt.Fprintf(&b, "<Class><Name>%s-%s-%d</Name><Type>Vendor</Type><Data>%s</Data></Class>", p.Tag, c.Name, arch, vendor(c, arch))
		}
	}
	b.WriteString("</Classes><Scopes>")
	for _, s := range p.Subnets {
		var macs strings.Builder
		for _, m := range s.Machines {
			fmt.Fprintf(&macs, "<MacAddress>%s</MacAddress>", mac(m.MAC))
		}
		fmt.Fprintf(&b, "<Scope><ScopeId>%s</ScopeId><SubnetMask>%s</SubnetMask><StartRange>%s</StartRange><Policies>", s.Network.Addr(), map[int]string{24: "255.255.255.0", 26: "255.255.255.192"}[s.Network.Bits()], s.Network.Addr().Next())
		fmt.Fprintf(&b, "<Policy><Name>i</Name><Condition>And</Condition><ProcessingOrder>1</ProcessingOrder><UserClass>EQ</UserClass><UserClass>%s-ipxe-0</UserClass><MacAddress>EQ</MacAddress>%s<OptionValues>", p.Tag, &macs)
		option(66, p.Address.String())
		option(67, p.ScriptURL)
		b.WriteString("</OptionValues></Policy>")
		for _, c := range p.Clients {
			for _, arch := range c.Archs {
				fmt.Fprintf(&b, "<Policy><Condition>And</Condition><ProcessingOrder>2</ProcessingOrder><VendorClass>EQ,%s-%s-%d*</VendorClass><UserClass>NE</UserClass><UserClass>%s-ipxe-0</UserClass><MacAddress>EQ</MacAddress>%s<OptionValues>", p.Tag, c.Name, arch, p.Tag, &macs)
				option(66, p.Address.String())
				option(67, c.BootFile)
				if c.HTTP {
					option(60, "HTTPClient")
				}
				b.WriteString("</OptionValues></Policy>")
			}
		}
		b.WriteString("</Policies><Reservations>")
		for _, m := range s.Machines {
			fmt.Fprintf(&b, "<Reservation><IPAddress>%s</IPAddress><ClientId>%s</ClientId><Type>Dhcp</Type><OptionValues>", m.IP, strings.ToLower(mac(m.MAC)))
			option(3, m.Gateway.String())
			var servers []string
			for _, a := range m.Nameservers {
				servers = append(servers, a.String())
			}
			option(6, servers...)
			option(12, m.Hostname)
			if m.VLAN != 0 {
				option(43, strings.Split(strings.Trim(vlan(p, m), "@()'"), "', '")...)
			}
			b.WriteString("</OptionValues></Reservation>")
		}
		b.WriteString("</Reservations></Scope>")
	}
	b.WriteString("</Scopes></IPv4></DHCPServer>")
	return b.Bytes()
}

func TestWhatTheScriptMakesIsFaultless(t *testing.T) {
	p := nettest.Plan(t, netboot.Options{})
	file := filepath.Join(t.TempDir(), "export.xml")
	if err := os.WriteFile(file, exported(p), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := nettest.Lint(Server{}, p, file, false); got != "" {
		t.Error(got)
	}
}

func TestEvaluate(t *testing.T) {
	is := func(want string) func(string) bool { return func(s string) bool { return s == want } }
	for _, tt := range []struct {
		condition  []string
		result, ok bool
	}{
		{nil, true, false},
		{[]string{"EQ", "a", "b"}, true, true},
		{[]string{"EQ", "b"}, false, true},
		{[]string{"NE", "a"}, false, true},
		{[]string{"NE", "b", "c"}, true, true},
		{[]string{"EQ,a,NE,b"}, true, true},
	} {
		if result, ok := evaluate(tt.condition, is("a")); result != tt.result && ok || ok != tt.ok {
			t.Errorf("%q: %t %t", tt.condition, result, ok)
		}
	}
}

// FuzzParse parses any bytes and sends requests, which must not panic or hang.
func FuzzParse(f *testing.F) {
	p := nettest.PlanOf(f, netboot.Options{}, nettest.OneSubnetCSV)
	f.Add(exported(p))
	f.Fuzz(func(t *testing.T, text []byte) { nettest.Probe(Server{}, p, text) })
}
