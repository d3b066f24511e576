package check_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/netboot"
	"hookbuild/netboot/dhcpd"
	"hookbuild/netboot/dnsmasq"
	"hookbuild/netboot/hardware"
	"hookbuild/netboot/kea"
	"hookbuild/test/nettest"
	"hookbuild/test/testneed"
)

// sharedData is the project's collection of configurations that were proven
// by hand before this program existed.
func sharedData(t *testing.T) (dir string, p *netboot.Plan) {
	t.Helper()
	dir, err := filepath.Abs("../../../shared/data/netboot")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "hardware.csv"))
	if err != nil {
		testneed.Missing(t, "shared-data", err.Error())
	}
	defer f.Close()
	o := netboot.Options{TinkerbellIP: netip.MustParseAddr("192.0.2.10"), BootstrapIP: netip.MustParseAddr("192.0.2.9")}
	machines, _, err := hardware.Read(f, o.Rules())
	if err != nil {
		t.Fatal(err)
	}
	p, err = netboot.New(o, machines)
	if err != nil {
		t.Fatal(err)
	}
	return dir, p
}

type sharedServer struct {
	server        netboot.Server
	full, minimal string
}

func sharedServers() []sharedServer {
	return []sharedServer{
		{dnsmasq.Server{}, "dnsmasq.full.conf", "dnsmasq.minimal.conf"},
		{kea.Server{}, "kea.full.json", "kea.minimal.json"},
		{dhcpd.Server{}, "dhcpd.full.conf", "dhcpd.minimal.conf"},
	}
}

// The proven configurations pass, and of the minimal ones it is said what they
// leave out on purpose.
func TestProvenConfigurations(t *testing.T) {
	dir, p := sharedData(t)
	for _, s := range sharedServers() {
		if got := nettest.Lint(s.server, p, filepath.Join(dir, s.full), false); got != "" {
			t.Errorf("%s:\n%s", s.full, got)
		}
		minimal := nettest.Lint(s.server, p, filepath.Join(dir, s.minimal), false)
		for _, want := range []string{"eksa-wk02, eksa-edge01: no answer at all", "BIOS firmware (architecture 0)", "UEFI arm64 firmware (architecture 11)"} {
			if !strings.Contains(minimal, want) {
				t.Errorf("%s: %q is not in:\n%s", s.minimal, want, minimal)
			}
		}
	}
}
