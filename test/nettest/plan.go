package nettest

import (
	"net/netip"
	"strings"
	"testing"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// HardwareCSV is a site of two subnets, with a second gateway in the first one
// and machines on a VLAN. Its addresses are from the ranges for documentation.
const HardwareCSV = `hostname,bmc_ip,bmc_username,bmc_password,mac,ip_address,netmask,gateway,nameservers,labels,disk,vlan_id
eksa-cp01,203.0.113.11,admin,example,00:00:5E:00:53:11,192.0.2.11,255.255.255.0,192.0.2.1,192.0.2.53|192.0.2.54,type=cp,/dev/sda,
eksa-cp02,203.0.113.12,admin,example,00:00:5E:00:53:12,192.0.2.12,255.255.255.0,192.0.2.1,192.0.2.53|192.0.2.54,type=cp,/dev/sda,
eksa-wk01,203.0.113.21,admin,example,00:00:5E:00:53:21,192.0.2.21,255.255.255.0,192.0.2.1,192.0.2.53|192.0.2.54,type=worker,/dev/nvme0n1,120
eksa-wk02,203.0.113.22,admin,example,00:00:5E:00:53:22,192.0.2.22,255.255.255.0,192.0.2.254,192.0.2.55,type=worker,/dev/sda,
eksa-edge01,203.0.113.31,admin,example,00:00:5E:00:53:31,198.51.100.31,255.255.255.192,198.51.100.1,198.51.100.53,type=edge,/dev/sda,
eksa-edge02,203.0.113.32,admin,example,00:00:5E:00:53:32,198.51.100.32,255.255.255.192,198.51.100.1,198.51.100.53,type=edge,/dev/sda,300
`

// Plan is the plan of [HardwareCSV] for the wire's addresses, in the bootstrap
// phase unless o says otherwise.
func Plan(t testing.TB, o netboot.Options) *netboot.Plan {
	t.Helper()
	return PlanOf(t, o, HardwareCSV)
}

// PlanOf is [Plan] for another list of machines.
func PlanOf(t testing.TB, o netboot.Options, csv string) *netboot.Plan {
	t.Helper()
	if !o.TinkerbellIP.IsValid() {
		o.TinkerbellIP = netip.MustParseAddr("192.0.2.10")
	}
	if !o.BootstrapIP.IsValid() {
		o.BootstrapIP = netip.MustParseAddr(BootIP)
	}
	machines, _, err := hardware.Read(strings.NewReader(csv), o.Rules())
	if err != nil {
		t.Fatal(err)
	}
	p, err := netboot.New(o, machines)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// OneSubnetCSV is a part of [HardwareCSV]: the machines of the wire's subnet.
const OneSubnetCSV = `hostname,mac,ip_address,netmask,gateway,nameservers,labels,disk
eksa-cp01,00:00:5E:00:53:11,192.0.2.11,255.255.255.0,192.0.2.1,192.0.2.53|192.0.2.54,type=cp,/dev/sda
eksa-wk01,00:00:5E:00:53:21,192.0.2.21,255.255.255.0,192.0.2.1,192.0.2.53,type=worker,/dev/sda
`
