package dhcpd

import (
	"testing"

	"hookbuild/netboot"
	"hookbuild/test/nettest"
)

func TestExchange(t *testing.T) { nettest.Exchange(t, Server{}) }

// A fragment does not affect a site's own clients.
func TestSharedServer(t *testing.T) {
	n := nettest.New(t)
	n.Shared(t, Server{}, nettest.Plan(t, netboot.Options{}), "testdata/site/dhcpd.conf")
}

func TestGoldenFragment(t *testing.T) { nettest.GoldenFragment(t, Server{}) }

func TestOwnConfigurationIsFaultless(t *testing.T) {
	nettest.Faultless(t, Server{}, "testdata/site/dhcpd.conf")
}
