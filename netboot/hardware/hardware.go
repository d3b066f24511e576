// Package hardware reads EKS Anywhere's hardware.csv: one row a machine, with
// the addresses that DHCP must hand out.
//
// The rules are those of EKS Anywhere's own reader and validator
// (pkg/providers/tinkerbell/hardware: machine.go, csv.go, validator.go), and
// beyond them what a DHCP server would take without a word and answer with
// silence: addresses twice, outside their network, equal to the gateway. All
// faults of a file are found in one run, each with its line and column, and
// nothing is guessed.
//
// BMC addresses and credentials are checked, never kept and never repeated in
// a message.
package hardware

import (
	"net"
	"net/netip"
)

// Machine is one row. Its fields are checked: addresses are IPv4, the gateway
// and IP are inside the network.
type Machine struct {
	// Line is the row's line in the file, from 1.
	Line int
	// Hostname is a lower-case DNS-1123 name.
	Hostname string
	MAC      MAC
	IP       netip.Addr
	// Network is IP's network, masked: 192.0.2.0/24.
	Network     netip.Prefix
	Gateway     netip.Addr
	Nameservers []netip.Addr
	// VLAN is 1 to 4094, or 0 for none.
	VLAN int
	// Disk is the path of the disk that the system goes to.
	Disk string
	// Labels are the Kubernetes labels of the row.
	Labels map[string]string
}

// MAC is an Ethernet address.
type MAC [6]byte

// ParseMAC reads the forms that Go's net package knows, of six bytes only:
// "00:00:5e:00:53:11", "00-00-5E-00-53-11", "0000.5e00.5311".
func ParseMAC(s string) (MAC, bool) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != len(MAC{}) {
		return MAC{}, false
	}
	return MAC(hw), true
}

// String is lower case with colons.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Multicast says that the address names a group of stations, which no network
// card has.
func (m MAC) Multicast() bool { return m[0]&1 != 0 }

// Rules are the facts from outside the file that its rows are checked against.
type Rules struct {
	// Subnets are the networks that are served; none means any.
	Subnets []netip.Prefix
	// Taken are addresses that no machine may have.
	Taken []Taken
}

// Taken is an address in use.
type Taken struct {
	IP netip.Addr
	// By says what uses it: "the Tinkerbell IP".
	By string
}

// Broadcast is the last address of an IPv4 network.
func Broadcast(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(a)
}
