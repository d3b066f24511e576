package serve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"hookbuild/netboot"
	"hookbuild/netboot/hardware"
)

// dhcpService answers only the machines of the plan.
type dhcpService struct {
	*server
	conn net.PacketConn
}

func (s *server) listenDHCP() (service, error) {
	conn, err := server4.NewIPv4UDPConn(s.Interface, &net.UDPAddr{Port: dhcpv4.ServerPort})
	if err != nil {
		return nil, fmt.Errorf("listening for DHCP on interface %q: %w; run it as root and name an interface of this host with --interface", s.Interface, err)
	}
	return &dhcpService{s, conn}, nil
}

func (d *dhcpService) serve(ctx context.Context) error {
	server, err := server4.NewServer(d.Interface, nil, d.handle, server4.WithConn(d.conn))
	if err != nil {
		return fmt.Errorf("serving DHCP: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = d.conn.Close() })
	defer stop()
	if err := server.Serve(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving DHCP: %w", err)
	}
	return nil
}

// handle answers one message.
func (d *dhcpService) handle(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
	answer, err := d.answer(m)
	if err != nil {
		d.note("DHCP %s: %v", m.ClientHWAddr, err)
		return
	}
	if answer == nil {
		return
	}
	if _, err := conn.WriteTo(answer.ToBytes(), destination(m, peer)); err != nil {
		d.note("DHCP %s: answering: %v", m.ClientHWAddr, err)
		return
	}
	d.note("DHCP %s: %s: %s %s", m.ClientHWAddr, answer.MessageType(), answer.YourIPAddr, answer.BootFileName)
}

// destination returns the address of the relay or of a client that has one, and
// otherwise the broadcast address, because a client without an address cannot be
// reached in another way.
func destination(m *dhcpv4.DHCPv4, peer net.Addr) net.Addr {
	switch {
	case !m.GatewayIPAddr.IsUnspecified():
		return &net.UDPAddr{IP: m.GatewayIPAddr, Port: dhcpv4.ServerPort}
	case !m.ClientIPAddr.IsUnspecified() && !m.IsBroadcast():
		return peer
	}
	return &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort}
}

// answer returns the answer to a message, or nil for none.
func (d *dhcpService) answer(m *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	if m.OpCode != dhcpv4.OpcodeBootRequest || len(m.ClientHWAddr) != len(hardware.MAC{}) {
		return nil, nil
	}
	reply, known := d.Plan.Answer(request(m))
	if !known {
		return nil, fmt.Errorf("%s of an unknown machine: not answered", m.MessageType())
	}
	kind := dhcpv4.MessageTypeOffer
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
	case dhcpv4.MessageTypeRequest:
		kind = d.requested(m, reply.IP)
	case dhcpv4.MessageTypeInform:
		kind = dhcpv4.MessageTypeAck
	default:
		return nil, nil
	}
	if kind == dhcpv4.MessageTypeNone {
		return nil, nil
	}
	return d.message(m, kind, reply)
}

// requested handles a REQUEST. It ignores one for another server, and refuses one
// for another address.
func (d *dhcpService) requested(m *dhcpv4.DHCPv4, reserved netip.Addr) dhcpv4.MessageType {
	if server := m.ServerIdentifier(); server != nil && !server.Equal(d.Plan.Address.AsSlice()) {
		return dhcpv4.MessageTypeNone
	}
	wanted := m.RequestedIPAddress()
	if wanted == nil {
		wanted = m.ClientIPAddr
	}
	if !wanted.Equal(reserved.AsSlice()) {
		return dhcpv4.MessageTypeNak
	}
	return dhcpv4.MessageTypeAck
}

// request returns the parts of a message on which the answer depends. The server
// answers clients of any network, because the lab is one wire.
func request(m *dhcpv4.DHCPv4) netboot.Request {
	q := netboot.Request{
		MAC: hardware.MAC(m.ClientHWAddr), Vendor: m.ClassIdentifier(),
		UserClass: string(m.Options.Get(dhcpv4.OptionUserClassInformation)),
	}
	archs := m.Options.Get(dhcpv4.OptionClientSystemArchitectureType)
	for i := 0; i+1 < len(archs); i += 2 {
		q.Archs = append(q.Archs, uint16(archs[i])<<8|uint16(archs[i+1]))
	}
	return q
}

func (d *dhcpService) message(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, r netboot.Reply) (*dhcpv4.DHCPv4, error) {
	out, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind))
	if err != nil {
		return nil, fmt.Errorf("making an answer: %w", err)
	}
	out.UpdateOption(dhcpv4.OptServerIdentifier(d.Plan.Address.AsSlice()))
	if kind == dhcpv4.MessageTypeNak {
		return out, nil
	}
	if m.MessageType() != dhcpv4.MessageTypeInform {
		out.YourIPAddr = r.IP.AsSlice()
		out.UpdateOption(dhcpv4.OptIPAddressLeaseTime(d.Plan.Lease.Round(time.Second)))
	}
	out.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(r.Bits, 32)))
	out.UpdateOption(dhcpv4.OptRouter(ips(r.Routers)...))
	out.UpdateOption(dhcpv4.OptDNS(ips(r.Nameservers)...))
	out.UpdateOption(dhcpv4.OptHostName(r.Hostname))
	if r.Domain != "" {
		out.UpdateOption(dhcpv4.OptDomainName(r.Domain))
	}
	if r.BootFile == "" {
		return out, nil
	}
	out.ServerIPAddr = r.NextServer.AsSlice()
	out.BootFileName = r.BootFile
	out.UpdateOption(dhcpv4.OptTFTPServerName(r.ServerName))
	out.UpdateOption(dhcpv4.OptBootFileName(r.BootFile))
	if r.Vendor != "" {
		out.UpdateOption(dhcpv4.OptClassIdentifier(r.Vendor))
	}
	if r.VLAN != "" {
		out.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, netboot.VLANOption(r.VLAN)))
	}
	return out, nil
}

func ips(list []netip.Addr) []net.IP {
	out := make([]net.IP, len(list))
	for i, a := range list {
		out[i] = a.AsSlice()
	}
	return out
}
