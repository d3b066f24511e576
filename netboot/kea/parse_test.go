package kea

import (
	"testing"

	"hookbuild/test/nettest"
)

func TestWrong(t *testing.T) { nettest.Wrong(t, Server{}, "testdata/wrong/*.json") }

func TestModelAgreesWithServer(t *testing.T) {
	nettest.AgreesWithServer(t, Server{}, "testdata/wrong/order.json")
}

func FuzzParse(f *testing.F) {
	nettest.Fuzz(f, Server{}, "testdata/wrong/*", "testdata/full/*", "testdata/site/*")
}
