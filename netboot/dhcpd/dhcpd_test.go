package dhcpd

import (
	"os"
	"testing"

	"hookbuild/internal/testneed"
	"hookbuild/netboot"
	"hookbuild/netboot/internal/nettest"
)

func start(t *testing.T, n *nettest.Net, conf []byte) *nettest.Process {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/leases", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	file := n.WriteFile("dhcpd.conf", conf)
	p := n.Run(nil, testneed.Tool(t, "dhcpd"), "-4", "-f", "-d", "-cf", file, "-lf", dir+"/leases", "-pf", dir+"/pid", nettest.ServerDev)
	p.WaitFor("Server starting service")
	return p
}

func TestExchange(t *testing.T) {
	n := nettest.New(t)
	p := nettest.Plan(t, netboot.Options{Domain: "example.net"})
	files, err := Server{}.Render(p, netboot.Full)
	if err != nil {
		t.Fatal(err)
	}
	start(t, n, files[0].Content)
	n.Matrix(t, p)
}
