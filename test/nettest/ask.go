package nettest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"hookbuild/netboot"
)

// Client is one DHCP client and how it asks.
type Client struct {
	netboot.Request
	// ID is option 61, none when empty.
	ID []byte
	// Short asks for mask, router and name server alone, as some firmware does.
	Short bool
	// Relayed asks from the second subnet through a relay.
	Relayed bool
	// Wait is how long no answer means none; 0 is a second.
	Wait time.Duration
}

// ask makes a whole exchange, DISCOVER to ACK, from the client's namespace; it
// is false when no offer comes.
func (n *Net) ask(c Client) (netboot.Reply, bool) {
	n.t.Helper()
	offer, ack, err := n.exchange(c)
	if errors.Is(err, nclient4.ErrNoResponse) || errors.Is(err, context.DeadlineExceeded) {
		return netboot.Reply{}, false
	}
	if err != nil {
		n.t.Fatalf("asking as %s: %v", c.MAC, err)
	}
	if a, b := reply(offer), reply(ack); !sameReply(a, b) {
		n.t.Errorf("asking as %s: the offer %+v is not the acknowledgement %+v", c.MAC, a, b)
	}
	return reply(ack), true
}

// Discover sends a DISCOVER alone, as to a proxy server, and returns the offer.
func (n *Net) Discover(c Client) (netboot.Reply, bool) {
	n.t.Helper()
	var offer *dhcpv4.DHCPv4
	err := inside(n.Client, func() error {
		client, err := n.open(c)
		if err != nil {
			return err
		}
		defer client.Close()
		offer, err = client.DiscoverOffer(context.Background(), c.modify())
		return err
	})
	if err != nil {
		return netboot.Reply{}, false
	}
	return reply(offer), true
}

func (n *Net) exchange(c Client) (offer, ack *dhcpv4.DHCPv4, err error) {
	err = inside(n.Client, func() error {
		client, err := n.open(c)
		if err != nil {
			return err
		}
		defer client.Close()
		offer, err = client.DiscoverOffer(context.Background(), c.modify())
		if err != nil {
			return err
		}
		lease, err := client.RequestFromOffer(context.Background(), offer, c.modify())
		if err != nil {
			return err
		}
		ack = lease.ACK
		return nil
	})
	return offer, ack, err
}

func (n *Net) open(c Client) (*nclient4.Client, error) {
	wait := c.Wait
	if wait == 0 {
		wait = time.Second
	}
	opts := []nclient4.ClientOpt{nclient4.WithTimeout(wait), nclient4.WithRetry(1), nclient4.WithHWAddr(c.MAC[:])}
	if !c.Relayed {
		return nclient4.New(clientDev, opts...)
	}
	// A relay speaks UDP from port 67 to the server's address.
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(relayIP), Port: 67})
	if err != nil {
		return nil, err
	}
	server := &net.UDPAddr{IP: net.ParseIP(ServerIP), Port: 67}
	return nclient4.NewWithConn(conn, c.MAC[:], append(opts, nclient4.WithServerAddr(server))...)
}

func (c Client) modify() dhcpv4.Modifier {
	return func(m *dhcpv4.DHCPv4) {
		m.SetBroadcast()
		if c.Relayed {
			m.GatewayIPAddr, m.HopCount = net.ParseIP(relayIP), 1
		}
		set := func(code dhcpv4.GenericOptionCode, value []byte) { m.UpdateOption(dhcpv4.OptGeneric(code, value)) }
		set(55, c.wanted())
		if c.Vendor != "" {
			set(60, []byte(c.Vendor))
		}
		if len(c.Archs) > 0 {
			var archs []byte
			for _, a := range c.Archs {
				archs = append(archs, byte(a>>8), byte(a))
			}
			set(93, archs)
			set(94, []byte{1, 3, 1})
			set(97, append([]byte{0}, c.MAC[:]...))
		}
		if c.UserClass != "" { // iPXE
			set(175, []byte{0x21, 1, 1})
			set(77, []byte(c.UserClass))
		}
		if len(c.ID) > 0 {
			set(61, c.ID)
		}
	}
}

func (c Client) wanted() []byte {
	if c.Short {
		return []byte{1, 3, 6}
	}
	return []byte{1, 3, 6, 12, 15, 28, 42, 43, 51, 54, 60, 66, 67}
}

// reply reads what a message tells.
func reply(m *dhcpv4.DHCPv4) netboot.Reply {
	bits, _ := m.SubnetMask().Size()
	r := netboot.Reply{
		IP: addr(m.YourIPAddr), Bits: bits, Hostname: text(m, 12), Domain: text(m, 15), Vendor: text(m, 60),
		NextServer: addr(m.ServerIPAddr), ServerName: text(m, 66), BootFile: text(m, 67),
		Routers: addrs(m.Router()), Nameservers: addrs(m.DNS()),
	}
	if r.ServerName == "" {
		r.ServerName = m.ServerHostName
	}
	if r.BootFile == "" {
		r.BootFile = m.BootFileName
	}
	var sub dhcpv4.Options = map[uint8][]byte{}
	if sub.FromBytes(m.Options.Get(dhcpv4.OptionVendorSpecificInformation)) == nil {
		r.VLAN = string(sub[116])
	}
	return r
}

func text(m *dhcpv4.DHCPv4, code uint8) string {
	return strings.TrimRight(string(m.Options[code]), "\x00")
}

func addr(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func addrs(ips []net.IP) []netip.Addr {
	var list []netip.Addr
	for _, ip := range ips {
		list = append(list, addr(ip))
	}
	return list
}

func sameReply(a, b netboot.Reply) bool { return format(a) == format(b) }

// writeFile puts a configuration into the test's directory.
func (n *Net) writeFile(name string, content []byte) string {
	n.t.Helper()
	path := n.t.TempDir() + "/" + name
	if err := os.WriteFile(path, content, 0o644); err != nil {
		n.t.Fatal(err)
	}
	return path
}
