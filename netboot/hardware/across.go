package hardware

import (
	"net/netip"
	"slices"
	"strings"
)

// network checks a row's addresses against each other and the rules.
func (r *reader) network(row *row, cells map[string]cell) {
	if !row.IP.IsValid() || row.prefixBits == 0 {
		return
	}
	row.Network = netip.PrefixFrom(row.IP, row.prefixBits).Masked()
	ip, gateway := cells["ip_address"], cells["gateway"]
	if role := edge(row.Network, row.IP); role != "" {
		ip.fault("%s is the %s address of %s", row.IP, role, row.Network)
	}
	for _, taken := range r.rules.Taken {
		if taken.IP == row.IP {
			ip.fault("%s is %s", row.IP, taken.By)
		}
	}
	if row.IP == row.Gateway {
		ip.fault("%s is also the gateway's address", row.IP)
	}
	r.served(row, ip)
	if !row.Gateway.IsValid() {
		return
	}
	if !row.Network.Contains(row.Gateway) {
		gateway.fault("%s is outside %s, the network of %s", row.Gateway, row.Network, row.IP)
	} else if role := edge(row.Network, row.Gateway); role != "" {
		gateway.fault("%s is the %s address of %s", row.Gateway, role, row.Network)
	}
}

// edge returns the role of an address that no machine of the network can have.
func edge(network netip.Prefix, ip netip.Addr) string {
	switch ip {
	case network.Addr():
		return "network"
	case Broadcast(network):
		return "broadcast"
	}
	return ""
}

// served checks that the network of the row is one of the subnets to serve.
func (r *reader) served(row *row, ip cell) {
	if len(r.rules.Subnets) == 0 || slices.Contains(r.rules.Subnets, row.Network) {
		return
	}
	for _, subnet := range r.rules.Subnets {
		if subnet.Contains(row.IP) {
			r.fault(row.Line, row.at["netmask"], "netmask", "%s has the mask of %s, but the subnet to serve is %s", row.IP, row.Network, subnet)
			return
		}
	}
	names := make([]string, len(r.rules.Subnets))
	for i, subnet := range r.rules.Subnets {
		names[i] = subnet.String()
	}
	ip.fault("%s is outside the subnet to serve, %s", row.IP, strings.Join(names, " or "))
}

// bmc checks the three BMC columns. It neither keeps nor shows their values, and
// returns the address in a form for comparisons.
func (r *reader) bmc(cells map[string]cell) string {
	given, missing := []cell{}, []cell{}
	for _, name := range []string{"bmc_ip", "bmc_username", "bmc_password"} {
		switch c, ok := cells[name]; {
		case ok && c.text != "":
			given = append(given, c)
		case ok:
			missing = append(missing, c)
		}
	}
	if len(given) == 0 {
		return ""
	}
	for _, c := range missing {
		c.fault("the value is missing, but another BMC value is set: set all three or none")
	}
	c, ok := cells["bmc_ip"]
	if !ok {
		given[0].fault("the header has no column bmc_ip")
		return ""
	}
	if c.text == "" {
		return ""
	}
	ip, err := netip.ParseAddr(c.text)
	if err != nil {
		c.fault("the value is not an IP address")
		return ""
	}
	return ip.Unmap().String()
}

// across checks the rows against each other.
func (r *reader) across() {
	r.unique("hostname", func(row *row) string { return row.Hostname })
	r.unique("mac", func(row *row) string {
		if row.MAC == (MAC{}) {
			return ""
		}
		return row.MAC.String()
	})
	r.unique("ip_address", func(row *row) string { return text(row.IP) })
	r.unique("bmc_ip", func(row *row) string { return row.bmc })
	r.roles()
	r.overlaps()
}

func text(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

// unique reports values that an earlier row also has.
func (r *reader) unique(name string, value func(*row) string) {
	first := map[string]int{}
	for _, row := range r.rows {
		v := value(row)
		if v == "" {
			continue
		}
		line, twice := first[v]
		switch {
		case twice && secret(name):
			r.fault(row.Line, row.at[name], name, "line %d has the same value", line)
		case twice:
			r.fault(row.Line, row.at[name], name, "line %d also has %s", line, v)
		default:
			first[v] = row.Line
		}
	}
}

// roles reports machines whose address is another row's gateway or a BMC's.
func (r *reader) roles() {
	gateways, bmcs := map[netip.Addr]int{}, map[string]int{}
	for _, row := range slices.Backward(r.rows) {
		gateways[row.Gateway] = row.Line
		bmcs[row.bmc] = row.Line
	}
	for _, row := range r.rows {
		if !row.IP.IsValid() {
			continue
		}
		if line, ok := gateways[row.IP]; ok && row.IP != row.Gateway {
			r.fault(row.Line, row.at["ip_address"], "ip_address", "%s is the gateway of line %d", row.IP, line)
		}
		if line, ok := bmcs[row.IP.String()]; ok {
			r.fault(row.Line, row.at["ip_address"], "ip_address", "%s is also the address of a BMC (line %d)", row.IP, line)
		}
	}
}

// overlaps reports networks that overlap but are not the same. One of the two masks
// is wrong.
func (r *reader) overlaps() {
	first := map[netip.Prefix]int{}
	var networks []netip.Prefix
	for _, row := range r.rows {
		if !row.Network.IsValid() {
			continue
		}
		if _, known := first[row.Network]; known {
			continue
		}
		for _, other := range networks {
			if other.Overlaps(row.Network) {
				r.fault(row.Line, row.at["netmask"], "netmask", "the network %s overlaps %s of line %d: one of the masks is wrong", row.Network, other, first[other])
				break
			}
		}
		first[row.Network] = row.Line
		networks = append(networks, row.Network)
	}
}
