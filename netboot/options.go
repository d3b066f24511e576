package netboot

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hookbuild/netboot/hardware"
)

// Options are a site's choices. The zero value of a field means its default.
type Options struct {
	// Version is the EKS Anywhere version, which determines the [Layout]. The
	// default is [LatestRelease].
	Version string
	// TinkerbellIP is the TinkerbellDatacenterConfig's tinkerbellIP.
	TinkerbellIP netip.Addr
	// BootstrapIP is the address of the bootstrap stack:
	// --tinkerbell-bootstrap-ip, or the admin machine's address.
	BootstrapIP netip.Addr
	// Phase defaults to Bootstrap with a BootstrapIP, else to Cluster.
	Phase Phase
	// Layout overrides the layout of the release, field by field.
	Layout Layout
	// ScriptURL and BinaryURL replace the URLs that follow from the layout and
	// the phase's address. BinaryURL is the directory of the programs over
	// HTTP.
	ScriptURL, BinaryURL string
	// UserClasses are the user classes that get the script. The default is
	// "Tinkerbell".
	UserClasses []string
	// Subnets are the networks to serve. The default is the networks of the
	// machines.
	Subnets []netip.Prefix
	// Domain is sent as option 15 if it is not empty.
	Domain string
	// Lease defaults to a day.
	Lease time.Duration
	// Tag marks generated names on a shared server: the names of classes, tags
	// and policies begin with it. The default is "eksa".
	Tag string
	// Interface limits a dedicated server to one network interface.
	Interface string
	// NoVLANOption leaves out sub-option 116 of option 43, by which
	// Tinkerbell's iPXE learns the VLAN that the firmware booted through.
	NoVLANOption bool
}

const (
	// longestFile fits the boot file field of the DHCP header.
	longestFile = 127
	longestTag  = 20
	// shortestLease keeps clients from renewing all the time.
	shortestLease = 2 * time.Minute
	// longestLease is a time that both dnsmasq and dhcpd accept.
	longestLease = 10 * 365 * 24 * time.Hour
)

// Rules returns the rules that the options set for hardware.csv.
func (o Options) Rules() hardware.Rules {
	rules := hardware.Rules{Subnets: o.Subnets}
	if o.TinkerbellIP.IsValid() {
		rules.Taken = append(rules.Taken, hardware.Taken{IP: o.TinkerbellIP, By: "the Tinkerbell IP"})
	}
	if o.BootstrapIP.IsValid() {
		rules.Taken = append(rules.Taken, hardware.Taken{IP: o.BootstrapIP, By: "the bootstrap IP"})
	}
	return rules
}

// Validate checks everything that does not depend on the machines.
func (o Options) Validate() error {
	if err := o.checkAddresses(); err != nil {
		return err
	}
	for _, subnet := range o.Subnets {
		if !subnet.Addr().Is4() || subnet != subnet.Masked() || subnet.Bits() < 1 || subnet.Bits() > 30 {
			return fmt.Errorf("reading the subnet %q: write an IPv4 network as 192.0.2.0/24, without host bits, /1 to /30", subnet)
		}
	}
	if len(o.Tag) > longestTag || !isName(cmp.Or(o.Tag, "eksa")) {
		return fmt.Errorf("reading the tag %q: use at most %d lower-case letters, digits and hyphens, with a letter first", o.Tag, longestTag)
	}
	for _, class := range o.UserClasses {
		if class == "" || len(class) > longestTag || strings.Trim(class, alphanumeric+"._-") != "" {
			return fmt.Errorf("reading the user class %q: use at most %d letters, digits, dots, hyphens and underscores", class, longestTag)
		}
	}
	if o.Lease != 0 && (o.Lease < shortestLease || o.Lease > longestLease || o.Lease%time.Second != 0) {
		return fmt.Errorf("reading the lease %s: choose whole seconds from %s to %s", o.Lease, shortestLease, longestLease)
	}
	if err := checkDomain(o.Domain); err != nil {
		return err
	}
	if strings.Trim(o.Interface, alphanumeric+"._-") != "" || len(o.Interface) > 15 {
		return fmt.Errorf("reading the interface %q: it is not the name of a network interface", o.Interface)
	}
	_, err := o.layout()
	return err
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// isName reports whether s is a safe name in every server's language.
func isName(s string) bool {
	return s != "" && s[0] >= 'a' && s[0] <= 'z' && s == strings.ToLower(s) && strings.Trim(s, alphanumeric+"-") == "" && !strings.ContainsAny(s, "_.")
}

func checkDomain(domain string) error {
	for label := range strings.SplitSeq(domain, ".") {
		if domain != "" && (label == "" || len(label) > 63 || strings.Trim(label, alphanumeric+"-") != "" || label[0] == '-' || label[len(label)-1] == '-') {
			return fmt.Errorf("reading the domain %q: it is not a DNS name", domain)
		}
	}
	if len(domain) > 253 {
		return fmt.Errorf("reading the domain %q: a DNS name has at most 253 characters", domain)
	}
	return nil
}

func (o Options) checkAddresses() error {
	if !o.TinkerbellIP.IsValid() {
		return errors.New("choosing the address to boot from: the Tinkerbell IP is missing; set it to spec.tinkerbellIP of the TinkerbellDatacenterConfig")
	}
	for _, ip := range []netip.Addr{o.TinkerbellIP, o.BootstrapIP} {
		if ip.IsValid() && (!ip.Is4() || ip.IsLoopback() || ip.IsMulticast() || ip.IsUnspecified()) {
			return fmt.Errorf("choosing the address to boot from: %s is not the IPv4 address of a host", ip)
		}
	}
	if o.TinkerbellIP == o.BootstrapIP {
		return fmt.Errorf("choosing the address to boot from: %s cannot be both the Tinkerbell IP and the bootstrap IP, because both stacks run at the same time for a while", o.TinkerbellIP)
	}
	if o.Phase == Bootstrap && !o.BootstrapIP.IsValid() {
		return errors.New("choosing the address to boot from: the bootstrap phase needs the bootstrap IP")
	}
	return nil
}

// phase returns the phase, its address, and the address of the other phase.
func (o Options) phase() (p Phase, now, other netip.Addr) {
	p = o.Phase
	if p == "" {
		p = Cluster
		if o.BootstrapIP.IsValid() {
			p = Bootstrap
		}
	}
	if p == Bootstrap {
		return p, o.BootstrapIP, o.TinkerbellIP
	}
	return p, o.TinkerbellIP, o.BootstrapIP
}

// layout returns the layout of the release with the fields that o overrides.
func (o Options) layout() (Layout, error) {
	l, _, err := LayoutOf(cmp.Or(o.Version, LatestRelease))
	if err != nil {
		return Layout{}, err
	}
	l = Layout{
		HTTPPort:   cmp.Or(o.Layout.HTTPPort, l.HTTPPort),
		ScriptPath: cmp.Or(o.Layout.ScriptPath, l.ScriptPath),
		BinaryPath: strings.TrimSuffix(cmp.Or(o.Layout.BinaryPath, l.BinaryPath), "/") + "/",
		BIOS:       cmp.Or(o.Layout.BIOS, l.BIOS), EFI: cmp.Or(o.Layout.EFI, l.EFI), ARM64: cmp.Or(o.Layout.ARM64, l.ARM64),
	}
	if l.HTTPPort < 1 || l.HTTPPort > 65535 {
		return Layout{}, fmt.Errorf("reading the HTTP port %d: choose 1 to 65535", l.HTTPPort)
	}
	for _, path := range []string{l.ScriptPath, l.BinaryPath} {
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "//") {
			return Layout{}, fmt.Errorf("reading the path %q: it must begin with a slash and not contain \"//\"", path)
		}
	}
	for _, file := range []string{l.BIOS, l.EFI, l.ARM64} {
		if strings.Trim(file, alphanumeric+"._-") != "" || len(file) > 64 {
			return Layout{}, fmt.Errorf("reading the program name %q: write a bare file name", file)
		}
	}
	return l, nil
}

// at returns the host part of a URL for an address and port.
func at(ip netip.Addr, port int) string {
	if port == 80 {
		return ip.String()
	}
	return net.JoinHostPort(ip.String(), strconv.Itoa(port))
}

// checkURL returns an error unless every firmware, server and output format can
// carry the URL: http, an IPv4 host, few characters. "${name}" is an iPXE
// setting.
func checkURL(s string, settings bool) error {
	plain := s
	if settings {
		plain = strings.NewReplacer("${", "", "}", "").Replace(s)
	}
	u, err := url.Parse(plain)
	if err != nil {
		return fmt.Errorf("reading the URL %q: %w", s, err)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	port, portErr := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16)
	switch {
	case u.Scheme != "http" || err != nil || !ip.Is4() || u.User != nil:
		return fmt.Errorf("reading the URL %q: firmware needs http:// and an IPv4 address", s)
	case portErr != nil || port == 0:
		return fmt.Errorf("reading the URL %q: its port must be 1 to 65535", s)
	case strings.Trim(plain, alphanumeric+"._-:/") != "":
		return fmt.Errorf("reading the URL %q: every DHCP server carries only letters, digits and . _ - : / unchanged", s)
	case len(s) > longestFile:
		return fmt.Errorf("reading the URL %q: it has %d bytes, but the boot file field of DHCP holds %d", s, len(s), longestFile)
	}
	return nil
}
