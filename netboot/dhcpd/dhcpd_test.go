package dhcpd

import (
	"path/filepath"
	"testing"

	"hookbuild/netboot"
	"hookbuild/test/nettest"
)

// A dedicated server answers every kind of client of every machine, and no other
// client.
func TestExchange(t *testing.T) {
	p := nettest.Plan(t, netboot.Options{Domain: "example.net"})
	files := nettest.GoldenRender(t, Server{}, p, netboot.Full)
	n := nettest.New(t)
	n.StartDHCP(n.Server, "dhcpd", files[0].Content)
	n.Matrix(t, p)
}

// A fragment does not affect a site's own clients.
func TestSharedServer(t *testing.T) {
	n := nettest.New(t)
	n.Shared(t, Server{}, nettest.Plan(t, netboot.Options{}), "testdata/site/dhcpd.conf")
}

func TestGoldenFragment(t *testing.T) {
	nettest.GoldenRender(t, Server{}, nettest.Plan(t, netboot.Options{ScriptURL: "http://192.0.2.9:7171/ipxe/script/${mac}/auto.ipxe"}), netboot.Fragment)
}

// The checks find no problems in generated files.
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
