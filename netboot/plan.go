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

// Plan says what each client is told in one phase. Everything in it is
// checked; writers quote all the same.
type Plan struct {
	// Version is as it was given.
	Version string
	Phase   Phase
	// Address is Tinkerbell's in this phase, OtherAddress in the other one;
	// invalid when there is no other.
	Address, OtherAddress netip.Addr
	// ScriptURL is the boot file of iPXE, BinaryURL the directory of the
	// programs over HTTP, with a slash at the end.
	ScriptURL, BinaryURL string
	UserClasses          []string
	// Clients are the kinds of firmware, in the order of architectures.
	Clients []Client
	// Subnets are ordered by address, their machines as in hardware.csv.
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
	// Name is a short safe name: "efi-x86".
	Name string
	// Firmware is its word on the command line: "uefi-x86_64".
	Firmware string
	// What is a phrase for people: "UEFI x86-64".
	What string
	// Archs are its numbers in option 93, the usual one first.
	Archs []uint16
	// HTTP says that it loads by HTTP: its boot file is a URL, and it takes
	// an answer only with "HTTPClient" in option 60.
	HTTP bool
	// BootFile is what it is told to load.
	BootFile string
}

// HTTPClient is what a client of UEFI HTTP boot sends and needs to get in
// option 60.
const HTTPClient = "HTTPClient"

// New makes the plan for the machines.
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

// check finds what only the whole plan shows.
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

// Machines walks all machines in the order of the subnets.
func (p *Plan) Machines(yield func(hardware.Machine) bool) {
	for _, s := range p.Subnets {
		for _, m := range s.Machines {
			if !yield(m) {
				return
			}
		}
	}
}

// Machine finds a machine by its address.
func (p *Plan) Machine(mac hardware.MAC) (hardware.Machine, bool) {
	for m := range p.Machines {
		if m.MAC == mac {
			return m, true
		}
	}
	return hardware.Machine{}, false
}

// VLANs lists the VLANs to tell, ascending.
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
