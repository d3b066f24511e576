package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/netboot"
	"hookbuild/netboot/dhcpd"
	"hookbuild/netboot/dnsmasq"
	"hookbuild/netboot/kea"
	"hookbuild/test/nettest"
)

// TestProvenConfigurations checks configurations written by hand that boot every
// kind of client, and shorter ones, for which the findings must name what they
// leave out. [TestVerdictsAreTheServers] compares them with the servers.
func TestProvenConfigurations(t *testing.T) {
	const dir = "testdata/proven"
	csv, err := os.ReadFile(filepath.Join(dir, "hardware.csv"))
	if err != nil {
		t.Fatal(err)
	}
	p := nettest.PlanOf(t, netboot.Options{}, string(csv))
	for _, tt := range []struct {
		server   netboot.Server
		all, few string
	}{
		{dnsmasq.Server{}, "dnsmasq.all.conf", "dnsmasq.few.conf"},
		{kea.Server{}, "kea.all.json", "kea.few.json"},
		{dhcpd.Server{}, "dhcpd.all.conf", "dhcpd.few.conf"},
	} {
		if got := nettest.Lint(tt.server, p, filepath.Join(dir, tt.all), false); got != "" {
			t.Errorf("%s:\n%s", tt.all, got)
		}
		few := nettest.Lint(tt.server, p, filepath.Join(dir, tt.few), false)
		for _, want := range []string{"wk-b, edge-a: no answer at all", "BIOS firmware (architecture 0)", "UEFI arm64 firmware (architecture 11)"} {
			if !strings.Contains(few, want) {
				t.Errorf("%s: %q is not in:\n%s", tt.few, want, few)
			}
		}
	}
}
