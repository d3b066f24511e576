package nettest

import (
	"bytes"
	"os"

	"hookbuild/test/testneed"
)

// StartDHCP runs one of the real servers in a namespace, with all that it
// writes below a directory of the test, or ends the test where it is not
// installed.
func (n *Net) StartDHCP(namespace, server string, conf []byte) *Process {
	n.t.Helper()
	dir := n.t.TempDir()
	dev := ServerDev
	if namespace == n.Client {
		dev = clientDev
	}
	var p *Process
	switch server {
	case "dnsmasq":
		p = n.runIn(namespace, nil, testneed.Tool(n.t, "dnsmasq"), "--keep-in-foreground", "--conf-file="+n.writeFile("dnsmasq.conf", conf),
			"--user=root", "--pid-file="+dir+"/pid", "--dhcp-leasefile="+dir+"/leases", "--log-dhcp", "--log-facility=-")
		p.WaitFor("started")
	case "kea":
		file := n.writeFile("kea.json", keaPaths(conf, dir))
		env := []string{"KEA_PIDFILE_DIR=" + dir, "KEA_LOCKFILE_DIR=" + dir}
		p = n.runIn(namespace, env, testneed.Tool(n.t, "kea-dhcp4"), "-c", file)
		p.config = file
		p.WaitFor("DHCP4_STARTED")
	case "dhcpd":
		if err := os.WriteFile(dir+"/leases", nil, 0o644); err != nil {
			n.t.Fatal(err)
		}
		p = n.runIn(namespace, nil, testneed.Tool(n.t, "dhcpd"), "-4", "-f", "-d", "-cf", n.writeFile("dhcpd.conf", conf),
			"-lf", dir+"/leases", "-pf", dir+"/pid", dev)
		p.WaitFor("Server starting service")
	default:
		n.t.Fatalf("there is no server %q to start", server)
	}
	p.dir = dir
	return p
}

// Dir is where a DHCP server keeps its leases and sockets.
func (p *Process) Dir() string { return p.dir }

// keaPaths keeps a test from the paths of an installed server.
func keaPaths(conf []byte, dir string) []byte {
	conf = bytes.ReplaceAll(conf, []byte("/run/kea/"), []byte(dir+"/"))
	return bytes.ReplaceAll(conf, []byte(`"type": "memfile"`), []byte(`"type": "memfile", "persist": false`))
}

// WriteConfig replaces the configuration of a running Kea, which then has to
// be told.
func (p *Process) WriteConfig(conf []byte) {
	p.t.Helper()
	if err := os.WriteFile(p.config, keaPaths(conf, p.dir), 0o644); err != nil {
		p.t.Fatal(err)
	}
}
