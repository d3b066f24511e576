package kea

import (
	"bytes"
	"testing"

	"hookbuild/internal/testneed"
	"hookbuild/netboot"
	"hookbuild/netboot/internal/nettest"
)

func start(t *testing.T, n *nettest.Net, conf []byte) *nettest.Process {
	t.Helper()
	dir := t.TempDir()
	// The paths of an installed server do not belong to a test.
	conf = bytes.ReplaceAll(conf, []byte("/run/kea/"), []byte(dir+"/"))
	conf = bytes.ReplaceAll(conf, []byte(`"type": "memfile"`), []byte(`"type": "memfile", "persist": false`))
	file := n.WriteFile("kea.json", conf)
	p := n.Run([]string{"KEA_PIDFILE_DIR=" + dir, "KEA_LOCKFILE_DIR=" + dir, "KEA_DHCP_DATA_DIR=" + dir}, testneed.Tool(t, "kea-dhcp4"), "-c", file)
	p.WaitFor("DHCP4_STARTED")
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
