package dhcpd

import (
	"path/filepath"
	"testing"

	"hookbuild/netboot"
	"hookbuild/test/nettest"
)

// Every kind of client of every machine, in a server of its own; nobody else
// is answered.
func TestExchange(t *testing.T) {
	p := nettest.Plan(t, netboot.Options{Domain: "example.net"})
	files := nettest.GoldenRender(t, Server{}, p, netboot.Full)
	n := nettest.New(t)
	n.StartDHCP(n.Server, "dhcpd", files[0].Content)
	n.Matrix(t, p)
}

// Beside a site's own clients, which notice nothing.
func TestSharedServer(t *testing.T) {
	n := nettest.New(t)
	n.Shared(t, Server{}, nettest.Plan(t, netboot.Options{}), "testdata/site/dhcpd.conf")
}

func TestGoldenFragment(t *testing.T) {
	nettest.GoldenRender(t, Server{}, nettest.Plan(t, netboot.Options{ScriptURL: "http://192.0.2.9:7171/ipxe/script/${mac}/auto.ipxe"}), netboot.Fragment)
}

// What is generated has no faults by the checks.
func TestOwnConfigurationIsFaultless(t *testing.T) {
	p := nettest.Plan(t, netboot.Options{Domain: "example.net", Phase: netboot.Cluster, UserClasses: []string{"Tinkerbell", "iPXE"}})
	files, err := Server{}.Render(p, netboot.Full)
	if err != nil {
		t.Fatal(err)
	}
	whole := nettest.Site(t, "testdata/site/dhcpd.conf", files) // for its directory
	if got := nettest.Lint(Server{}, p, filepath.Join(filepath.Dir(whole), files[0].Name), false); got != "" {
		t.Error(got)
	}
}
