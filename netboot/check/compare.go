package check

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// Scope says which clients are asked about, and how.
type Scope struct {
	// Proxy says that another server assigns the addresses.
	Proxy bool
	// Firmware lists the kinds of firmware that count, by [netboot.Client]'s
	// Firmware; the default is [DefaultFirmware]. What is wrong for other
	// kinds is a remark.
	Firmware []string
}

// DefaultFirmware is the kind that machines in hardware.csv have: EKS
// Anywhere registers each of them as UEFI on x86-64.
const DefaultFirmware = "uefi-x86_64"

// counts reports whether the kind of firmware counts.
func (s Scope) counts(firmware string) bool {
	if len(s.Firmware) == 0 {
		return firmware == DefaultFirmware
	}
	return slices.Contains(s.Firmware, firmware)
}

// Compare asks a configuration what each machine asks, and what clients ask
// that are not in the plan. A problem that several machines share is one
// finding.
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
	faults []fault
}

// fault is a finding about machines.
type fault struct {
	text, remedy string
	level        netboot.Level
	machines     []string
}

func (r *report) add(m hardware.Machine, level netboot.Level, remedy, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	i := slices.IndexFunc(r.faults, func(f fault) bool { return f.text == text })
	if i < 0 {
		i = len(r.faults)
		r.faults = append(r.faults, fault{text: text, remedy: remedy, level: level})
	}
	if level == netboot.Wrong {
		r.faults[i].level = level
	}
	if !slices.Contains(r.faults[i].machines, m.Hostname) {
		r.faults[i].machines = append(r.faults[i].machines, m.Hostname)
	}
}

// findings words the problems.
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

// names lists a few machines.
func names(list []string, all int) string {
	switch {
	case len(list) == all && all > 1:
		return "all machines"
	case len(list) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(list[:3], ", "), len(list)-3)
	}
	return strings.Join(list, ", ")
}

// probe is one way of asking.
type probe struct {
	request netboot.Request
	// who is a phrase for messages.
	who    string
	client *netboot.Client // nil for the installed system
	script bool
	// level is that of a problem: Wrong for a client that counts.
	level netboot.Level
}

// probes lists the ways in which a machine asks.
func (r *report) probes(m hardware.Machine) []probe {
	var list []probe
	for _, c := range r.plan.Clients {
		if r.scope.Proxy && c.HTTP {
			continue // HTTP boot does not use proxies
		}
		for i, arch := range c.Archs {
			// Firmware hardly ever has another number than the first.
			list = append(list, probe{c.Request(m, arch, ""), fmt.Sprintf("%s firmware (architecture %d)", c.What, arch), &c, false, r.level(i == 0 && r.scope.counts(c.Firmware))})
		}
	}
	for _, class := range r.plan.UserClasses {
		for _, c := range r.plan.Clients {
			if c.HTTP {
				continue // iPXE asks in the same way whatever started it
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

// machine asks in all ways as one machine.
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
			r.add(m, level, "", "what %s is told is not known: %s", p.who, got.Unsure)
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
		r.add(m, netboot.Wrong, fmt.Sprintf("reserve each address by MAC, as %s for %s, in its subnet, %s", m.IP, m.MAC, m.Network), "no answer at all")
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

// addresses compares what hardware.csv says.
func (r *report) addresses(m hardware.Machine, p probe, got netboot.Reply) {
	if got.IP != m.IP {
		r.add(m, p.level, "reserve it by MAC", "gets %s, hardware.csv says %s", orNone(got.IP), m.IP)
		return // of another network perhaps; the rest follows from it
	}
	if got.Bits != m.Network.Bits() {
		r.add(m, p.level, "", "gets a netmask of /%d, hardware.csv says /%d", got.Bits, m.Network.Bits())
	}
	if !slices.Equal(got.Routers, []netip.Addr{m.Gateway}) {
		r.add(m, p.level, "", "gets the gateway %s, hardware.csv says %s", list(got.Routers), m.Gateway)
	}
	if !slices.Equal(got.Nameservers, m.Nameservers) {
		r.add(m, p.level, "", "gets the name servers %s, hardware.csv says %s", list(got.Nameservers), list(m.Nameservers))
	}
	if got.Hostname != m.Hostname {
		r.add(m, netboot.Remark, "", "gets the host name %q, hardware.csv says %q", got.Hostname, m.Hostname)
	}
	if r.plan.Domain != "" && got.Domain != r.plan.Domain {
		r.add(m, netboot.Remark, "", "gets the domain %q, not %q", got.Domain, r.plan.Domain)
	}
}

func orNone(ip netip.Addr) string {
	if !ip.IsValid() {
		return "an address of no reservation"
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

// boot compares what to load.
func (r *report) boot(m hardware.Machine, p probe, got netboot.Reply) {
	want, _ := r.plan.Answer(p.request)
	if want.BootFile == "" {
		return // a boot file does no harm to the installed system
	}
	if got.BootFile == "" {
		r.add(m, p.level, "", "%s gets no boot file, it needs %q", p.who, want.BootFile)
		return
	}
	if !r.sameFile(p, want.BootFile, got.BootFile) {
		r.add(m, p.level, r.fileRemedy(p, got), "%s is told to load %q, not %q", p.who, got.BootFile, want.BootFile)
		return
	}
	if got.Menu {
		r.add(m, netboot.Remark, "leave one entry for each kind of firmware", "%s is shown a menu of several entries and waits for a choice", p.who)
	}
	viaTFTP := !strings.Contains(got.BootFile, "://")
	if got.NextServer != r.plan.Address && viaTFTP {
		r.add(m, p.level, "set next-server", "%s is to load from %s, not from %s of phase %s", p.who, orServer(got.NextServer), r.plan.Address, r.plan.Phase)
	}
	if got.ServerName != "" && got.ServerName != r.plan.Address.String() && viaTFTP {
		r.add(m, netboot.Remark, "leave it out or give the address", "%s is told the server name %q (option 66)", p.who, got.ServerName)
	}
	r.vendor(m, p, got)
	if want.VLAN != got.VLAN && !r.scope.Proxy {
		r.add(m, netboot.Remark, fmt.Sprintf("sub-option 116 of option 43, the text %q", want.VLAN), "iPXE is not told the VLAN %s", want.VLAN)
	}
}

func (r *report) vendor(m hardware.Machine, p probe, got netboot.Reply) {
	http := p.client != nil && p.client.HTTP
	if http && !strings.HasPrefix(got.Vendor, netboot.HTTPClient) {
		r.add(m, p.level, "send option 60", "%s takes an answer only with %q in option 60", p.who, netboot.HTTPClient)
	}
	if !http && strings.HasPrefix(got.Vendor, netboot.HTTPClient) {
		r.add(m, p.level, "send it to HTTP clients alone", "%s gets %q in option 60", p.who, netboot.HTTPClient)
	}
}

func orServer(ip netip.Addr) string {
	if !ip.IsValid() {
		return "the DHCP server itself or nowhere"
	}
	return ip.String()
}

// sameFile accepts what comes to the same: iPXE with the firmware's own
// driver, a directory with the MAC, the script's URL with the MAC in it.
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

// fileRemedy explains the usual mistakes.
func (r *report) fileRemedy(p probe, got netboot.Reply) string {
	switch {
	case p.script && got.BootFile != "" && !strings.Contains(got.BootFile, "://"):
		return "iPXE would load itself for ever; match its user class first"
	case p.script && strings.HasSuffix(got.BootFile, "/auto.ipxe"):
		return fmt.Sprintf("EKS Anywhere %s serves it there (the address is that of phase %s)", r.plan.Version, r.plan.Phase)
	case p.client != nil && got.BootFile == r.plan.Clients[1].BootFile:
		return "choose the program by option 93: this one is for UEFI x86-64 alone"
	}
	return ""
}

// strangers looks for settings that catch machines that are not in the list.
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
				r.add(hardware.Machine{}, netboot.Remark, "bind the boot settings to the machines by a tag, class or group", "other clients in %s that boot by network are told %q too", s.Network, got.BootFile)
			}
		}
	}
}
