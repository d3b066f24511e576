package chain

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"hookbuild/netboot"
	"hookbuild/netboot/dhcpd"
	"hookbuild/netboot/dnsmasq"
	"hookbuild/netboot/hardware"
	"hookbuild/netboot/kea"
	"hookbuild/netboot/serve"
	"hookbuild/test/nettest"
	"hookbuild/test/testneed"
)

// The environment of a test binary that runs as the lab's boot server, in a network
// namespace.
const (
	artifactsEnv = "HOOKBUILD_TEST_ARTIFACTS"
	ipxeEnv      = "HOOKBUILD_TEST_IPXE"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(artifactsEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	plan, err := makePlan()
	if err == nil {
		err = serve.Run(ctx, serve.Options{
			Plan: plan, Artifacts: dir, IPXE: []string{os.Getenv(ipxeEnv)}, Console: "ttyS0",
			Log: func(line string) { fmt.Println(line) }, Ready: func() { fmt.Println("ready") },
		})
	}
	if err != nil {
		fmt.Println(err)
	}
}

const machineCSV = `hostname,mac,ip_address,netmask,gateway,nameservers,labels,disk
eksa-cp01,00:00:5E:00:53:11,192.0.2.11,255.255.255.0,192.0.2.1,192.0.2.53,type=cp,/dev/sda
`

// makePlan returns a plan that boots the machine from the wire's second address. The
// distribution's iPXE calls itself iPXE, and Tinkerbell's calls itself Tinkerbell.
// Both get the script.
func makePlan() (*netboot.Plan, error) {
	o := netboot.Options{
		TinkerbellIP: netip.MustParseAddr("192.0.2.10"), BootstrapIP: netip.MustParseAddr(nettest.BootIP),
		UserClasses: []string{"Tinkerbell", "iPXE"},
	}
	machines, _, err := hardware.Read(strings.NewReader(machineCSV), o.Rules())
	if err != nil {
		return nil, err
	}
	return netboot.New(o, machines)
}

// ways returns the combinations to try: each server and each kind of firmware
// once.
func ways() []way {
	uefi := []string{"-machine", "q35", "-bios", ovmf}
	noPXE := []string{
		"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n",
	}
	return []way{
		{"dnsmasq, UEFI PXE", dnsmasq.Server{}, netboot.Full, uefi, "virtio-net-pci,romfile="},
		{"kea, UEFI HTTP boot", kea.Server{}, netboot.Full, append(noPXE, uefi...), "virtio-net-pci,romfile="},
		{"dhcpd, BIOS PXE", dhcpd.Server{}, netboot.Full, []string{"-machine", "pc,graphics=off", "-boot", "n"}, "e1000"},
		{"dnsmasq as proxy, UEFI PXE", dnsmasq.Server{}, netboot.Proxy, uefi, "virtio-net-pci,romfile="},
		{"dnsmasq as proxy, BIOS PXE", dnsmasq.Server{}, netboot.Proxy, []string{"-machine", "pc,graphics=off", "-boot", "n"}, "e1000"},
	}
}

type way struct {
	name     string
	server   netboot.Server
	mode     netboot.Mode
	firmware []string
	card     string
}

// ovmf is the UEFI firmware for x86-64 in Debian's package of that name.
const ovmf = "/usr/share/OVMF/OVMF_CODE.fd"

// needFirmware returns QEMU and the directory of iPXE programs: the distribution's,
// or one from the environment, such as Tinkerbell's own.
func needFirmware(t *testing.T) (qemu, ipxe string) {
	t.Helper()
	qemu = testneed.Tool(t, "qemu-system-x86_64")
	ipxe = "/usr/lib/ipxe"
	if dir := os.Getenv(ipxeEnv); dir != "" {
		ipxe = dir
	}
	for _, file := range []string{ovmf, ipxe + "/ipxe.efi", ipxe + "/undionly.kpxe"} {
		if _, err := os.Stat(file); err != nil {
			testneed.Missing(t, "firmware", err.Error())
		}
	}
	return qemu, ipxe
}

func TestChain(t *testing.T) {
	testneed.Root(t)
	qemu, ipxe := needFirmware(t)
	artifacts := standIn(t, t.Context())
	for i, w := range ways() {
		if i > 0 && !thorough {
			break
		}
		t.Run(w.name, func(t *testing.T) { w.boot(t, qemu, artifacts, ipxe) })
	}
}

// boot boots one machine and checks its console.
func (w way) boot(t *testing.T, qemu, artifacts, ipxe string) {
	n := nettest.New(t)
	p, err := makePlan()
	if err != nil {
		t.Fatal(err)
	}
	w.startDHCP(t, n, p)
	files := n.Run([]string{artifactsEnv + "=" + artifacts, ipxeEnv + "=" + ipxe}, os.Args[0])
	files.WaitFor("ready")
	args := append([]string{
		"-accel", "tcg", "-cpu", "max", "-m", "1024", "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nodefaults",
	}, w.firmware...)
	machine := n.Run(nil, qemu, append(args, n.Tap("00:00:5e:00:53:11", w.card)...)...)
	err = machine.Wait(3 * time.Minute)
	console := machine.Log()
	want := "hw_addr=00:00:5e:00:53:11"
	_, started, ok := strings.Cut(console, "stand-in started with ")
	if err != nil || !ok || !strings.Contains(started, want) {
		t.Errorf("the machine did not start (%v)\n--- console\n%s\n--- boot server\n%s", err, tail(console), files.Log())
	}
}

func tail(s string) string {
	if len(s) > 4000 {
		s = s[len(s)-4000:]
	}
	return s
}

// startDHCP runs the server with the generated configuration. For a proxy it also runs
// a server at the far end of the wire, which only assigns the address.
func (w way) startDHCP(t *testing.T, n *nettest.Net, p *netboot.Plan) {
	t.Helper()
	rendered, err := w.server.Render(p, w.mode)
	if err != nil {
		t.Fatal(err)
	}
	n.StartDHCP(n.Server, w.server.Name(), rendered[0].Content)
	if w.mode == netboot.Proxy {
		n.StartDHCP(n.Client, "dnsmasq", []byte("port=0\ndhcp-range=192.0.2.0,static,255.255.255.0\ndhcp-host=00:00:5e:00:53:11,192.0.2.11\n"))
	}
}
