package kea

import (
	"testing"

	"hookbuild/netboot"
	"hookbuild/netboot/internal/nettest"
)

func TestExchange(t *testing.T) {
	n := nettest.New(t)
	p := nettest.Plan(t, netboot.Options{Domain: "example.net"})
	files, err := Server{}.Render(p, netboot.Full)
	if err != nil {
		t.Fatal(err)
	}
	n.StartDHCP(n.Server, "kea", files[0].Content)
	n.Matrix(t, p)
}
