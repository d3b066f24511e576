package nettest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"hookbuild/netboot"
)

// Live answers as a running server does: it is a [netboot.Config] of what the
// server said to every request that was put to it.
type Live struct {
	replies map[string]netboot.Reply
}

// Answer implements [netboot.Config].
func (l *Live) Answer(q netboot.Request) (netboot.Reply, bool) {
	r, ok := l.replies[key(q)]
	return r, ok
}

func key(q netboot.Request) string {
	return fmt.Sprintf("%s %v %q %q", q.MAC, q.Archs, q.UserClass, q.Vendor)
}

const (
	// grace is how long an answer that is not expected may take.
	grace = 150 * time.Millisecond
	// patience is how long one that is expected may take.
	patience = 4 * time.Second
)

// AskAll sends the requests to the server on the wire, all at once, and
// collects its offers. Expect says which are to be waited for. A PXE client
// that is sent on to port 4011 asks there too, as firmware does.
func (n *Net) AskAll(t testing.TB, requests []netboot.Request, expect func(netboot.Request) bool) *Live {
	t.Helper()
	live := &Live{replies: map[string]netboot.Reply{}}
	offers := n.round(t, requests, expect, func(q netboot.Request, xid dhcpv4.TransactionID) ([]byte, *net.UDPAddr) {
		return message(q, xid, dhcpv4.MessageTypeDiscover).ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ServerPort}
	})
	var again []netboot.Request
	for _, q := range requests {
		offer := offers[key(q)]
		if offer == nil {
			continue
		}
		live.replies[key(q)] = reply(offer)
		if live.replies[key(q)].BootFile == "" && text(offer, 60) == "PXEClient" || pxeMenu(offer) != nil {
			again = append(again, q)
		}
	}
	n.bootServers(t, live, offers, again)
	return live
}

// bootServers asks at port 4011 for what the offers left open.
func (n *Net) bootServers(t testing.TB, live *Live, offers map[string]*dhcpv4.DHCPv4, again []netboot.Request) {
	t.Helper()
	all := func(netboot.Request) bool { return true }
	const port = 4011
	acks := n.round(t, again, all, func(q netboot.Request, xid dhcpv4.TransactionID) ([]byte, *net.UDPAddr) {
		m := message(q, xid, dhcpv4.MessageTypeRequest)
		m.ClientIPAddr = net.ParseIP(clientIP)
		if item := pxeMenu(offers[key(q)]); item != nil { // the menu's first entry, layer 0
			m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{71, 4, item[0], item[1], 0, 0, 255}))
		}
		return m.ToBytes(), &net.UDPAddr{IP: net.ParseIP(ServerIP), Port: port}
	})
	var second []netboot.Request
	for _, q := range again {
		ack := acks[key(q)]
		if ack == nil {
			continue
		}
		if item := pxeMenu(ack); item != nil && pxeMenu(offers[key(q)]) == nil {
			offers[key(q)] = ack // the menu comes from port 4011: choose there
			second = append(second, q)
			continue
		}
		r := reply(ack)
		r.IP, r.Menu = live.replies[key(q)].IP, waits(offers[key(q)])
		live.replies[key(q)] = r
	}
	if len(second) > 0 {
		n.bootServers(t, live, offers, second)
	}
}

// pxeMenu returns the types of the entries of a PXE boot menu, two bytes each;
// nil when the message has none.
func pxeMenu(m *dhcpv4.DHCPv4) []byte {
	var sub dhcpv4.Options = map[uint8][]byte{}
	if sub.FromBytes(m.Options.Get(dhcpv4.OptionVendorSpecificInformation)) != nil {
		return nil
	}
	var types []byte
	for menu := sub[9]; len(menu) > 3 && len(menu) >= 3+int(menu[2]); menu = menu[3+int(menu[2]):] {
		types = append(types, menu[0], menu[1])
	}
	return types
}

// waits reports whether a menu has several entries and a time to choose.
func waits(m *dhcpv4.DHCPv4) bool {
	var sub dhcpv4.Options = map[uint8][]byte{}
	if sub.FromBytes(m.Options.Get(dhcpv4.OptionVendorSpecificInformation)) != nil {
		return false
	}
	prompt := sub[10]
	return len(pxeMenu(m)) > 2 && len(prompt) > 0 && prompt[0] > 0
}

func message(q netboot.Request, xid dhcpv4.TransactionID, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	m, err := dhcpv4.New(dhcpv4.WithTransactionID(xid), dhcpv4.WithHwAddr(q.MAC[:]), dhcpv4.WithMessageType(kind))
	if err != nil {
		panic(err) // it makes random numbers
	}
	Client{Request: q}.modify()(m)
	return m
}

// round sends a packet for each request and returns the answers by request.
func (n *Net) round(t testing.TB, requests []netboot.Request, expect func(netboot.Request) bool, packet func(netboot.Request, dhcpv4.TransactionID) ([]byte, *net.UDPAddr)) map[string]*dhcpv4.DHCPv4 {
	t.Helper()
	answers := map[string]*dhcpv4.DHCPv4{}
	if len(requests) == 0 {
		return answers
	}
	err := inside(n.Client, func() error {
		conn, err := clientSocket()
		if err != nil {
			return err
		}
		defer conn.Close()
		pending := map[dhcpv4.TransactionID]netboot.Request{}
		waiting := 0
		send := func() error {
			for _, q := range requests {
				if answers[key(q)] != nil {
					continue
				}
				xid, err := dhcpv4.GenerateTransactionID()
				if err != nil {
					return err
				}
				pending[xid] = q
				raw, to := packet(q, xid)
				if _, err := conn.WriteTo(raw, to); err != nil {
					return err
				}
			}
			return nil
		}
		for _, q := range requests {
			if expect(q) {
				waiting++
			}
		}
		if err := send(); err != nil {
			return err
		}
		buffer := make([]byte, 1500)
		end, resend := time.Now().Add(patience), time.Now().Add(patience/4)
		for {
			limit := time.Now().Add(grace)
			if waiting > 0 {
				limit = resend
			}
			if err := conn.SetReadDeadline(limit); err != nil {
				return err
			}
			size, _, err := conn.ReadFrom(buffer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				if waiting == 0 || time.Now().After(end) {
					return nil
				}
				resend = time.Now().Add(patience / 4)
				if err := send(); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return err
			}
			m, err := dhcpv4.FromBytes(buffer[:size])
			if err != nil {
				return err
			}
			q, ours := pending[m.TransactionID]
			if !ours || answers[key(q)] != nil || m.MessageType() == dhcpv4.MessageTypeNak {
				continue
			}
			answers[key(q)] = m
			if expect(q) {
				waiting--
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

// clientSocket opens port 68 on the client's device, for broadcasts.
func clientSocket() (net.PacketConn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "client")
	defer f.Close()
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_BROADCAST, 1),
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		unix.BindToDevice(fd, clientDev),
		unix.Bind(fd, &unix.SockaddrInet4{Port: dhcpv4.ClientPort}),
	)
	if err != nil {
		return nil, fmt.Errorf("opening the client's socket: %w", err)
	}
	return net.FilePacketConn(f)
}
