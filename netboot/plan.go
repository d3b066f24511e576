package netboot

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hookbuild/netboot/hardware"
)

// Plan holds what each client is told in one phase. Everything in it is checked,
// but writers still quote it.
type Plan struct {
	// Version is the version as it was given.
	Version string
	Phase   Phase
	// Address is Tinkerbell's address in this phase, and OtherAddress in the
	// other phase. OtherAddress is invalid if it is not known.
	Address, OtherAddress netip.Addr
	// ScriptURL is the boot file of iPXE. BinaryURL is the directory of the
	// programs over HTTP, with a slash at the end.
	ScriptURL, BinaryURL string
	UserClasses          []string
	// Clients are the kinds of firmware, in the order of architectures.
	Clients []Client
	// Subnets are sorted by address. Their machines are in the order of
	// hardware.csv.
	Subnets      []Subnet
	Domain       string
	Lease        time.Duration
	Tag          string
	Interface    string
	NoVLANOption bool
}

// Subnet is a network with machines.
type Subnet struct {
	Network  netip.Prefix
	Machines []hardware.Machine
}

// Client is a kind of firmware.
type Client struct {
	// Name is a short safe name, such as "efi-x86".
	Name string
	// Firmware is its name on the command line, such as "uefi-x86_64".
	Firmware string
	// What is its name in messages, such as "UEFI x86-64".
	What string
	// Archs are its numbers in option 93, the usual one first.
	Archs []uint16
	// HTTP reports whether it loads by HTTP. Its boot file is then a URL, and it
	// accepts only answers with "HTTPClient" in option 60.
	HTTP bool
	// BootFile is the file that it is told to load.
	BootFile string
}

// HTTPClient is the text that a client of UEFI HTTP boot sends in option 60 and
// needs to get there.
const HTTPClient = "HTTPClient"

// New returns the plan for the machines.
func New(o Options, machines []hardware.Machine) (*Plan, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	layout, err := o.layout()
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Version: cmp.Or(o.Version, LatestRelease), UserClasses: o.UserClasses, Subnets: bySubnet(machines),
		Domain: o.Domain, Lease: cmp.Or(o.Lease, 24*time.Hour), Tag: cmp.Or(o.Tag, "eksa"),
		Interface: o.Interface, NoVLANOption: o.NoVLANOption,
	}
	p.Phase, p.Address, p.OtherAddress = o.phase()
	if len(p.UserClasses) == 0 {
		p.UserClasses = []string{"Tinkerbell"}
	}
	p.ScriptURL = cmp.Or(o.ScriptURL, "http://"+at(p.Address, layout.HTTPPort)+layout.ScriptPath)
	p.BinaryURL = cmp.Or(o.BinaryURL, "http://"+at(p.Address, layout.HTTPPort)+layout.BinaryPath)
	p.BinaryURL = strings.TrimSuffix(p.BinaryURL, "/") + "/"
	p.Clients = clients(layout, p.BinaryURL)
	return p, p.check()
}

func clients(l Layout, binaryURL string) []Client {
	return []Client{
		{Name: "bios", Firmware: "bios", What: "BIOS", Archs: []uint16{0}, BootFile: l.BIOS},
		{Name: "efi-x86", Firmware: "uefi-x86_64", What: "UEFI x86-64", Archs: []uint16{7, 9}, BootFile: l.EFI},
		{Name: "efi-arm", Firmware: "uefi-arm64", What: "UEFI arm64", Archs: []uint16{11}, BootFile: l.ARM64},
		{Name: "http-x86", Firmware: "http-x86_64", What: "UEFI x86-64 HTTP boot", Archs: []uint16{16}, HTTP: true, BootFile: binaryURL + l.EFI},
		{Name: "http-arm", Firmware: "http-arm64", What: "UEFI arm64 HTTP boot", Archs: []uint16{19}, HTTP: true, BootFile: binaryURL + l.ARM64},
	}
}

func bySubnet(machines []hardware.Machine) []Subnet {
	var subnets []Subnet
	for _, m := range machines {
		i := slices.IndexFunc(subnets, func(s Subnet) bool { return s.Network == m.Network })
		if i < 0 {
			i = len(subnets)
			subnets = append(subnets, Subnet{Network: m.Network})
		}
		subnets[i].Machines = append(subnets[i].Machines, m)
	}
	slices.SortFunc(subnets, func(a, b Subnet) int { return a.Network.Addr().Compare(b.Network.Addr()) })
	return subnets
}

// check finds problems that depend on both the options and the machines.
func (p *Plan) check() error {
	var errs []error
	for _, c := range p.Clients {
		if c.HTTP {
			errs = append(errs, checkURL(c.BootFile, false))
		}
	}
	errs = append(errs, checkURL(p.ScriptURL, true))
	for _, ip := range []netip.Addr{p.Address, p.OtherAddress} {
		for _, s := range p.Subnets {
			if ip == s.Network.Addr() || ip == hardware.Broadcast(s.Network) {
				errs = append(errs, fmt.Errorf("choosing the address to boot from: %s is the network or broadcast address of %s", ip, s.Network))
			}
		}
	}
	return errors.Join(errs...)
}

// Machines yields all machines in the order of the subnets.
func (p *Plan) Machines(yield func(hardware.Machine) bool) {
	for _, s := range p.Subnets {
		for _, m := range s.Machines {
			if !yield(m) {
				return
			}
		}
	}
}

// Machine returns the machine with the MAC address.
func (p *Plan) Machine(mac hardware.MAC) (hardware.Machine, bool) {
	for m := range p.Machines {
		if m.MAC == mac {
			return m, true
		}
	}
	return hardware.Machine{}, false
}

// VLANs returns the VLANs to send, in ascending order.
func (p *Plan) VLANs() []int {
	var ids []int
	for m := range p.Machines {
		if m.VLAN != 0 && !p.NoVLANOption && !slices.Contains(ids, m.VLAN) {
			ids = append(ids, m.VLAN)
		}
	}
	slices.Sort(ids)
	return ids
}
