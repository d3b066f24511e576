package check

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// Scope says which clients are checked, and how.
type Scope struct {
	// Proxy reports whether another server assigns the addresses.
	Proxy bool
	// Firmware lists the kinds of firmware that count, by the Firmware of
	// [netboot.Client]. The default is [DefaultFirmware]. A problem of other
	// kinds is a remark.
	Firmware []string
}

// DefaultFirmware is the kind of firmware of machines in hardware.csv: EKS
// Anywhere registers each of them as UEFI on x86-64.
const DefaultFirmware = "uefi-x86_64"

// counts reports whether the kind of firmware counts.
func (s Scope) counts(firmware string) bool {
	if len(s.Firmware) == 0 {
		return firmware == DefaultFirmware
	}
	return slices.Contains(s.Firmware, firmware)
}

// Compare sends a configuration the requests of each machine, and of clients that
// are not in the plan, and returns the problems of the answers. A problem that
// several machines share is one finding.
func Compare(p *netboot.Plan, c netboot.Config, s Scope) []netboot.Finding {
	r := &report{plan: p, config: c, scope: s}
	for m := range p.Machines {
		r.machine(m)
	}
	r.strangers()
	return r.findings()
}

// report collects problems and the machines that have them.
type report struct {
	plan   *netboot.Plan
	config netboot.Config
	scope  Scope
	faults []problem
}

// problem is a finding about machines.
type problem struct {
	text, remedy string
	level        netboot.Level
	machines     []string
}

func (r *report) add(m hardware.Machine, level netboot.Level, remedy, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	i := slices.IndexFunc(r.faults, func(f problem) bool { return f.text == text })
	if i < 0 {
		i = len(r.faults)
		r.faults = append(r.faults, problem{text: text, remedy: remedy, level: level})
	}
	if level == netboot.Wrong {
		r.faults[i].level = level
	}
	if !slices.Contains(r.faults[i].machines, m.Hostname) {
		r.faults[i].machines = append(r.faults[i].machines, m.Hostname)
	}
}

// findings returns the problems as findings.
func (r *report) findings() []netboot.Finding {
	var list []netboot.Finding
	for _, f := range r.faults {
		who := ""
		if len(f.machines) > 0 && f.machines[0] != "" {
			who = names(f.machines, r.count()) + ": "
		}
		list = append(list, netboot.Finding{Level: f.level, Text: who + f.text, Remedy: f.remedy})
	}
	return list
}

func (r *report) count() int {
	n := 0
	for range r.plan.Machines {
		n++
	}
	return n
}

// names returns the names of a few of all machines, as text.
func names(list []string, all int) string {
	switch {
	case len(list) == all && all > 1:
		return "all machines"
	case len(list) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(list[:3], ", "), len(list)-3)
	}
	return strings.Join(list, ", ")
}

// probe is one request of a machine.
type probe struct {
	request netboot.Request
	// who names the client in messages.
	who    string
	client *netboot.Client // nil for the installed system
	script bool
	// level is the level of a problem: Wrong for a client that counts.
	level netboot.Level
}

// probes returns the requests that a machine sends.
func (r *report) probes(m hardware.Machine) []probe {
	var list []probe
	for _, c := range r.plan.Clients {
		if r.scope.Proxy && c.HTTP {
			continue // HTTP boot does not use proxy servers
		}
		for i, arch := range c.Archs {
			// Firmware rarely has another number than the first.
			list = append(list, probe{c.Request(m, arch, ""), fmt.Sprintf("%s firmware (architecture %d)", c.What, arch), &c, false, r.level(i == 0 && r.scope.counts(c.Firmware))})
		}
	}
	for _, class := range r.plan.UserClasses {
		for _, c := range r.plan.Clients {
			if c.HTTP {
				continue // iPXE sends the same request after HTTP boot
			}
			counts := r.scope.counts(c.Firmware) || r.scope.counts(strings.Replace(c.Firmware, "uefi", "http", 1))
			q := netboot.Client{}.Request(m, c.Archs[0], class)
			list = append(list, probe{q, fmt.Sprintf("iPXE (user class %s)", class), nil, true, r.level(counts)})
		}
	}
	if !r.scope.Proxy {
		list = append(list, probe{netboot.Request{MAC: m.MAC, Network: m.Network}, "the installed system", nil, false, netboot.Wrong})
	}
	return list
}

func (r *report) level(counts bool) netboot.Level {
	if counts {
		return netboot.Wrong
	}
	return netboot.Remark
}

// machine sends all requests of one machine and records the problems.
func (r *report) machine(m hardware.Machine) {
	var silent, answered []probe
	for _, p := range r.probes(m) {
		got, ok := r.config.Answer(p.request)
		switch {
		case got.Unsure != "":
			level := p.level
			if level == netboot.Wrong {
				level = netboot.Unknown
			}
			r.add(m, level, "", "the answer to %s is not known: %s", p.who, got.Unsure)
			answered = append(answered, p)
		case !ok:
			silent = append(silent, p)
		default:
			answered = append(answered, p)
			if !r.scope.Proxy {
				r.addresses(m, p, got)
			}
			r.boot(m, p, got)
		}
	}
	if len(answered) == 0 {
		r.add(m, netboot.Wrong, fmt.Sprintf("reserve each address by MAC, such as %s for %s, in its subnet, %s", m.IP, m.MAC, m.Network), "no answer at all")
		return
	}
	for _, level := range []netboot.Level{netboot.Wrong, netboot.Remark} {
		var who []string
		for _, p := range silent {
			if p.level == level {
				who = append(who, p.who)
			}
		}
		if len(who) > 0 {
			r.add(m, level, "", "no answer to %s", strings.Join(slices.Compact(who), ", "))
		}
	}
}

// otherAddress returns the address from which the configuration lets machines boot
// wherever that is not the plan's. It is invalid if there are several, or none.
func otherAddress(p *netboot.Plan, c netboot.Config, s Scope) netip.Addr {
	r := &report{plan: p, config: c, scope: s}
	var other netip.Addr
	for m := range p.Machines {
		for _, probe := range r.probes(m) {
			got, ok := c.Answer(probe.request)
			want, _ := p.Answer(probe.request)
			ip := source(got)
			switch {
			case probe.level != netboot.Wrong || !ok || !ip.IsValid() || ip == source(want):
			case other.IsValid() && ip != other:
				return netip.Addr{}
			default:
				other = ip
			}
		}
	}
	return other
}

// source returns the address from which a client loads its boot file. It is invalid
// without one.
func source(r netboot.Reply) netip.Addr {
	if !strings.Contains(r.BootFile, "://") {
		return r.NextServer
	}
	u, err := url.Parse(r.BootFile)
	if err != nil {
		return netip.Addr{}
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	return ip
}

// addresses compares the answer with the values of hardware.csv.
func (r *report) addresses(m hardware.Machine, p probe, got netboot.Reply) {
	if got.IP != m.IP {
		r.add(m, p.level, "reserve it by MAC", "gets %s, but hardware.csv has %s", orNone(got.IP), m.IP)
		return // perhaps of another network; the other differences follow from it
	}
	if got.Bits != m.Network.Bits() {
		r.add(m, p.level, "", "gets a netmask of /%d, but hardware.csv has /%d", got.Bits, m.Network.Bits())
	}
	if !slices.Equal(got.Routers, []netip.Addr{m.Gateway}) {
		r.add(m, p.level, "", "gets the gateway %s, but hardware.csv has %s", list(got.Routers), m.Gateway)
	}
	if !slices.Equal(got.Nameservers, m.Nameservers) {
		r.add(m, p.level, "", "gets the name servers %s, but hardware.csv has %s", list(got.Nameservers), list(m.Nameservers))
	}
	if got.Hostname != m.Hostname {
		r.add(m, netboot.Remark, "", "gets the host name %q, but hardware.csv has %q", got.Hostname, m.Hostname)
	}
	if r.plan.Domain != "" && got.Domain != r.plan.Domain {
		r.add(m, netboot.Remark, "", "gets the domain %q, not %q", got.Domain, r.plan.Domain)
	}
}

func orNone(ip netip.Addr) string {
	if !ip.IsValid() {
		return "an address without a reservation"
	}
	return ip.String()
}

func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "none (or the server's own)"
	}
	text := make([]string, len(addrs))
	for i, a := range addrs {
		text[i] = a.String()
	}
	return strings.Join(text, ", ")
}

// boot compares the boot file and what belongs to it.
func (r *report) boot(m hardware.Machine, p probe, got netboot.Reply) {
	want, _ := r.plan.Answer(p.request)
	if want.BootFile == "" {
		return // the installed system ignores a boot file
	}
	if got.BootFile == "" {
		r.add(m, p.level, "", "%s gets no boot file, but needs %q", p.who, want.BootFile)
		return
	}
	if !r.sameFile(p, want.BootFile, got.BootFile) {
		r.add(m, p.level, r.fileRemedy(p, got), "%s is told to load %q, not %q", p.who, got.BootFile, want.BootFile)
		return
	}
	if got.Menu {
		r.add(m, netboot.Remark, "keep one entry for each kind of firmware", "%s shows a menu of several entries and waits for a choice", p.who)
	}
	viaTFTP := !strings.Contains(got.BootFile, "://")
	if got.NextServer != r.plan.Address && viaTFTP {
		r.add(m, p.level, "set next-server", "%s is told to load from %s, not from %s of phase %s", p.who, orServer(got.NextServer), r.plan.Address, r.plan.Phase)
	}
	if got.ServerName != "" && got.ServerName != r.plan.Address.String() && viaTFTP {
		r.add(m, netboot.Remark, "remove it or set it to the address", "%s gets the server name %q (option 66)", p.who, got.ServerName)
	}
	r.vendor(m, p, got)
	if want.VLAN != got.VLAN && !r.scope.Proxy {
		r.add(m, netboot.Remark, fmt.Sprintf("send sub-option 116 of option 43, as the text %q", want.VLAN), "iPXE does not get the VLAN %s", want.VLAN)
	}
}

func (r *report) vendor(m hardware.Machine, p probe, got netboot.Reply) {
	http := p.client != nil && p.client.HTTP
	if http && !strings.HasPrefix(got.Vendor, netboot.HTTPClient) {
		r.add(m, p.level, "send option 60", "%s accepts only an answer with %q in option 60", p.who, netboot.HTTPClient)
	}
	if !http && strings.HasPrefix(got.Vendor, netboot.HTTPClient) {
		r.add(m, p.level, "send it only to HTTP clients", "%s gets %q in option 60", p.who, netboot.HTTPClient)
	}
}

func orServer(ip netip.Addr) string {
	if !ip.IsValid() {
		return "the DHCP server itself or nowhere"
	}
	return ip.String()
}

// sameFile reports whether two boot files are equivalent. It accepts iPXE with the
// firmware's own driver, and the script's URL with the MAC in it.
func (r *report) sameFile(p probe, want, got string) bool {
	if want == got {
		return true
	}
	if p.script {
		dir, file := path.Split(want)
		mac := strings.TrimSuffix(strings.TrimPrefix(got, dir), "/"+file)
		_, isMAC := hardware.ParseMAC(mac)
		return strings.HasPrefix(got, dir) && strings.HasSuffix(got, "/"+file) && (isMAC || mac == "${mac}" || mac == "${netX/mac}")
	}
	if p.client == nil || path.Dir(want) != path.Dir(got) {
		return false
	}
	return p.client.Name == "efi-x86" && path.Base(got) == "snp-x86_64.efi"
}

// fileRemedy returns the remedy for a common mistake, or "".
func (r *report) fileRemedy(p probe, got netboot.Reply) string {
	switch {
	case p.script && got.BootFile != "" && !strings.Contains(got.BootFile, "://"):
		return "iPXE would load itself forever; match its user class first"
	case p.script && strings.HasSuffix(got.BootFile, "/auto.ipxe"):
		return fmt.Sprintf("EKS Anywhere %s serves it there (at the address of phase %s)", r.plan.Version, r.plan.Phase)
	case p.client != nil && got.BootFile == r.plan.Clients[1].BootFile:
		return "choose the program by option 93: this one is only for UEFI x86-64"
	}
	return ""
}

// strangers looks for boot settings that also apply to machines that are not in
// the plan.
func (r *report) strangers() {
	stranger := hardware.MAC{0x02, 0, 0, 0, 0, 1}
	for {
		if _, taken := r.plan.Machine(stranger); !taken {
			break
		}
		stranger[5]++
	}
	for _, s := range r.plan.Subnets {
		m := hardware.Machine{MAC: stranger, Network: s.Network}
		for _, p := range r.probes(m) {
			got, ok := r.config.Answer(p.request)
			want, _ := r.plan.Answer(netboot.Request{MAC: s.Machines[0].MAC, Archs: p.request.Archs, UserClass: p.request.UserClass, Vendor: p.request.Vendor})
			if ok && got.Unsure == "" && got.BootFile != "" && r.sameFile(p, want.BootFile, got.BootFile) {
				r.add(hardware.Machine{}, netboot.Remark, "bind the boot settings to the machines by a tag, class or group", "other clients in %s that boot from the network get %q too", s.Network, got.BootFile)
			}
		}
	}
}
