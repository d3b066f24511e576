// Package hardware reads EKS Anywhere's hardware.csv, which has a row for each
// machine with the addresses that DHCP must assign.
//
// The rules are those of EKS Anywhere's own reader and validator
// (pkg/providers/tinkerbell/hardware: machine.go, csv.go, validator.go). In addition
// the package refuses addresses that a DHCP server would accept silently and then
// not answer: duplicates, addresses outside their network, and the gateway's
// address. One run finds all faults of a file, each with its line and column. The
// package does not guess.
//
// The package checks BMC addresses and credentials, but never keeps them or
// repeats them in a message.
package hardware

import (
	"net"
	"net/netip"
)

// Machine is one row. Its fields are checked: addresses are IPv4, and the gateway
// and IP are inside the network.
type Machine struct {
	// Line is the row's line in the file, from 1.
	Line int
	// Hostname is a lower-case DNS-1123 name.
	Hostname string
	MAC      MAC
	IP       netip.Addr
	// Network is the network of IP, masked, such as 192.0.2.0/24.
	Network     netip.Prefix
	Gateway     netip.Addr
	Nameservers []netip.Addr
	// VLAN is 1 to 4094, or 0 for none.
	VLAN int
	// Disk is the path of the disk on which the system is installed.
	Disk string
	// Labels are the Kubernetes labels of the row.
	Labels map[string]string
}

// MAC is an Ethernet address.
type MAC [6]byte

// ParseMAC parses an address of six bytes, in the forms that Go's net package knows:
// "00:00:5e:00:53:11", "00-00-5E-00-53-11", "0000.5e00.5311".
func ParseMAC(s string) (MAC, bool) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != len(MAC{}) {
		return MAC{}, false
	}
	return MAC(hw), true
}

// String returns the address in lower case, with colons.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// multicast reports whether the address is that of a group of stations, which no
// network card has.
func (m MAC) multicast() bool { return m[0]&1 != 0 }

// Rules are facts from outside the file, against which its rows are checked.
type Rules struct {
	// Subnets are the networks that are served. If it is empty, any network is.
	Subnets []netip.Prefix
	// Taken are addresses that no machine may have.
	Taken []Taken
}

// Taken is an address in use.
type Taken struct {
	IP netip.Addr
	// By names its user, such as "the Tinkerbell IP".
	By string
}

// Broadcast returns the last address of an IPv4 network.
func Broadcast(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(a)
}
