package hardware

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// cell is one value with its place.
type cell struct {
	r            *reader
	line, column int
	name, text   string
}

// cell trims a value, which is unambiguous, and warns, because EKS Anywhere does not
// trim and refuses the row.
func (r *reader) cell(line, column int, name, written string) cell {
	text := strings.TrimSpace(written)
	if text != written && slices.Contains(knownColumns(), name) {
		r.warn(line, column, name, "spaces around the value, which EKS Anywhere does not trim")
	}
	return cell{r, line, column, name, text}
}

func (c cell) fault(format string, args ...any) {
	c.r.fault(c.line, c.column, c.name, format, args...)
}

// parse checks the cells of a row, each alone and against each other.
func (r *reader) parse(line int, cells map[string]cell) *row {
	row := &row{at: map[string]int{}}
	for name, c := range cells {
		row.at[name] = c.column
	}
	row.Line = line
	row.Hostname = cells["hostname"].hostname()
	row.MAC = cells["mac"].mac()
	row.IP = cells["ip_address"].ip()
	row.prefixBits = cells["netmask"].netmask()
	row.Gateway = cells["gateway"].ip()
	row.Nameservers = cells["nameservers"].nameservers()
	row.Disk = cells["disk"].disk()
	row.Labels = cells["labels"].labels()
	if c, ok := cells["vlan_id"]; ok {
		row.VLAN = c.vlan()
	}
	row.bmc = r.bmc(cells)
	r.network(row, cells)
	return row
}

// empty reports a required value that is missing.
func (c cell) empty() bool {
	if c.text == "" {
		c.fault("the value is missing")
	}
	return c.text == ""
}

func (c cell) mac() MAC {
	if c.empty() {
		return MAC{}
	}
	mac, ok := ParseMAC(c.text)
	switch {
	case !ok && isIP(c.text):
		c.fault("%q is an IP address, not a MAC address: are two columns swapped?", c.text)
	case !ok:
		c.fault("%q is not a MAC address of six bytes, such as 00:00:5e:00:53:11", c.text)
	case mac == MAC{}:
		c.fault("%q is not the address of a network card", c.text)
	case mac.multicast():
		c.fault("%q is a group address, not that of a network card: its first byte is odd", c.text)
	default:
		return mac
	}
	return MAC{}
}

func isIP(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is4()
}

// ip parses an IPv4 address of a machine or router.
func (c cell) ip() netip.Addr {
	if c.empty() {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(c.text)
	_, isMAC := ParseMAC(c.text)
	switch {
	case isMAC:
		c.fault("%q is a MAC address, not an IP address: are two columns swapped?", c.text)
	case err != nil:
		c.fault("%q is not an IPv4 address%s", c.text, leadingZero(c.text))
	case !ip.Is4():
		c.fault("%q is an IPv6 address, but network boot needs IPv4", c.text)
	case c.name == "gateway" && maskBits(ip) > 0:
		c.fault("%q is a netmask: are the columns gateway and netmask swapped?", c.text)
	case !usable(ip):
		c.fault("%s is not an address that a machine can have", ip)
	default:
		return ip
	}
	return netip.Addr{}
}

func leadingZero(s string) string {
	for part := range strings.SplitSeq(s, ".") {
		if len(part) > 1 && part[0] == '0' {
			return ": write its numbers without leading zeros"
		}
	}
	return ""
}

// usable reports whether a machine can have the address. It refuses 0.0.0.0/8,
// loopback, link-local, multicast and above.
func usable(ip netip.Addr) bool {
	return ip.As4()[0] != 0 && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && ip.As4()[0] < 224
}

// maskBits returns the length of a netmask, or -1 for another address.
func maskBits(mask netip.Addr) int {
	b := mask.As4()
	value := binary.BigEndian.Uint32(b[:])
	ones := bits.LeadingZeros32(^value)
	if value<<ones != 0 {
		return -1
	}
	return ones
}

// netmask returns the length of a mask, or 0 if the mask is wrong.
func (c cell) netmask() int {
	if c.empty() {
		return 0
	}
	mask, err := netip.ParseAddr(c.text)
	if err != nil || !mask.Is4() {
		c.fault("%q is not a netmask such as 255.255.255.0", c.text)
		return 0
	}
	switch ones := maskBits(mask); {
	case ones < 0 && usable(mask):
		c.fault("%q is not a netmask but an address: are two columns swapped?", c.text)
	case ones < 0:
		c.fault("%q is not a netmask: its one bits are not contiguous at the front", c.text)
	case ones < 1 || ones > 30:
		c.fault("%q has no room for a machine and its gateway: use 255.255.255.252 or wider", c.text)
	default:
		return ones
	}
	return 0
}

func (c cell) nameservers() []netip.Addr {
	if c.empty() {
		return nil
	}
	var servers []netip.Addr
	for part := range strings.SplitSeq(c.text, "|") {
		ip, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil || !ip.Is4() || !usable(ip) {
			c.fault("%q is not the IPv4 address of a name server: separate several by |", part)
			return nil
		}
		if slices.Contains(servers, ip) {
			c.fault("the name server %s is listed twice", ip)
			return nil
		}
		servers = append(servers, ip)
	}
	if len(servers) > mostNameservers {
		c.fault("there are %d name servers, but a DHCP option holds %d", len(servers), mostNameservers)
		return nil
	}
	return servers
}

// mostNameservers is how many fit in the 255 bytes of an option.
const mostNameservers = 63

func (c cell) vlan() int {
	if c.text == "" {
		return 0
	}
	id, err := strconv.Atoi(c.text)
	if err != nil || id < 1 || id > 4094 || strconv.Itoa(id) != c.text {
		c.fault("%q is not a VLAN: choose 1 to 4094 or leave it empty", c.text)
		return 0
	}
	return id
}

func (c cell) disk() string {
	if c.empty() {
		return ""
	}
	// EKS Anywhere's own pattern is ^(/dev/[\w-]+)+$: one level below /dev.
	name, ok := strings.CutPrefix(c.text, "/dev/")
	if !ok || name == "" || !only(name, lower+upper+digits+"_-") {
		c.fault("%q is not a disk that EKS Anywhere accepts: write /dev/NAME, without another directory", c.text)
		return ""
	}
	return c.text
}
