package netboot_test

import (
	"encoding/json"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"hookbuild/netboot"
	"hookbuild/netboot/kea"
	"hookbuild/test/nettest"
)

// Kea loads the other phase while it runs, by its control channel and by
// SIGHUP, and refuses a broken file without losing the one it runs.
func TestKeaSwitchesWhileItRuns(t *testing.T) {
	before := nettest.PlanOf(t, netboot.Options{Phase: netboot.Bootstrap}, nettest.OneSubnetCSV)
	after := nettest.PlanOf(t, netboot.Options{Phase: netboot.Cluster}, nettest.OneSubnetCSV)
	changes, err := netboot.Changes(kea.Server{}, before, after, netboot.Full)
	if err != nil {
		t.Fatal(err)
	}
	n := nettest.New(t)
	p := n.StartDHCP(n.Server, "kea", changes[0].Before)
	n.Matrix(t, before)
	p.WriteConfig(changes[0].After)
	keaCommand(t, p.Dir()+"/kea4-ctrl-socket", `{ "command": "config-reload", "service": [ "dhcp4" ] }`)
	n.Matrix(t, after)
	p.WriteConfig([]byte("{ broken"))
	p.Signal(syscall.SIGHUP)
	p.WaitFor("DHCP4_DYNAMIC_RECONFIGURATION_FAIL")
	n.Matrix(t, after)
	loaded := p.Count("DHCP4_DYNAMIC_RECONFIGURATION_SUCCESS")
	p.WriteConfig(changes[0].Before)
	p.Signal(syscall.SIGHUP)
	p.WaitForMore("DHCP4_DYNAMIC_RECONFIGURATION_SUCCESS", loaded)
	n.Matrix(t, before)
}

// keaCommand sends a command to Kea's control socket.
func keaCommand(t *testing.T, socket, command string) {
	t.Helper()
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, command); err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Result int    `json:"result"`
		Text   string `json:"text"`
	}
	if err := json.NewDecoder(conn).Decode(&answer); err != nil || answer.Result != 0 {
		t.Errorf("%s: %+v %v", command, answer, err)
	}
}
