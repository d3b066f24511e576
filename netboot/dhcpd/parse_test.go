package dhcpd

import (
	"testing"

	"hookbuild/test/nettest"
)

func TestWrong(t *testing.T) { nettest.Wrong(t, Server{}, "testdata/wrong/*.conf") }

func TestModelAgreesWithServer(t *testing.T) {
	nettest.AgreesWithServer(t, Server{}, "testdata/wrong/runs.conf")
}

func FuzzParse(f *testing.F) {
	nettest.Fuzz(f, Server{}, "testdata/wrong/*", "testdata/full/*", "testdata/site/*")
}
