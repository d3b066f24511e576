// Package serve is a network boot server for a lab, and for trying what was
// built before production is touched: the iPXE programs by TFTP and HTTP, the
// script auto.ipxe, the kernel and initramfs of a directory, a receiver for
// what HookOS logs, and, only where it is asked for, DHCP.
//
// It takes the place of Tinkerbell's Smee as the machines see it, not of the
// rest of Tinkerbell: a HookOS that boots from here finds no workflow unless a
// Tink server answers at the gRPC address.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/netboot"
)

// Options say what is served, and where.
type Options struct {
	// Plan tells the machines, the address they reach this host at
	// (Plan.Address) and the URLs.
	Plan *netboot.Plan
	// AnyMachine also serves the script to machines that the plan lacks. DHCP
	// never answers them.
	AnyMachine bool
	// Artifacts is the directory of vmlinuz-ARCH and initramfs-ARCH.
	Artifacts string
	// IPXE are directories with iPXE programs; the first that has one counts.
	IPXE []string
	// Cmdline is added to the kernel's command line.
	Cmdline string
	// Console is the serial console beside tty0; the default is Tinkerbell's,
	// "ttyS1,115200". A kernel told of a port that the machine lacks shows
	// nothing on its other ports either.
	Console string
	// GRPC is the Tink server's host:port; the default is this host's 42113.
	GRPC string
	// The ports; HTTP's is in the plan's URLs. 0 means the protocol's own.
	TFTPPort, SyslogPort int
	// DHCP answers the plan's machines on Interface.
	DHCP      bool
	Interface string
	// Log receives the lines that machines log. It is called by one goroutine
	// at a time.
	Log func(line string)
	// Ready is called when everything listens; it may be nil.
	Ready    func()
	Progress progress.Sink
}

// server is a running lab.
type server struct {
	Options
	mu sync.Mutex // of Log
}

// service is something that listens until its context ends.
type service interface {
	// serve returns nil after ctx is done.
	serve(ctx context.Context) error
}

// Run serves until ctx is done, and then returns nil.
func Run(ctx context.Context, o Options) error {
	s := &server{Options: o}
	if err := s.look(); err != nil {
		return err
	}
	services, err := s.listen()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, service := range services {
		group.Go(func() error { return service.serve(ctx) })
	}
	if o.Ready != nil {
		o.Ready()
	}
	return group.Wait()
}

// look checks what is to be served before anything listens.
func (s *server) look() error {
	if s.Artifacts != "" && len(s.pairs()) == 0 {
		return fault.Invalidf("looking in %q: there is no pair vmlinuz-x86_64 and initramfs-x86_64 (or -aarch64) to boot", s.Artifacts)
	}
	for _, dir := range s.IPXE {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("looking for iPXE programs: %q is no directory; install the package ipxe or name their directory", dir)
		}
	}
	return nil
}

// pairs lists the architectures whose kernel and initramfs are both there.
func (s *server) pairs() []string {
	var archs []string
	for _, arch := range []string{"x86_64", "aarch64"} {
		if findFile(s.Artifacts, "vmlinuz-"+arch) != "" && findFile(s.Artifacts, "initramfs-"+arch) != "" {
			archs = append(archs, arch)
		}
	}
	return archs
}

// findFile gives the path of a regular file right below dir, "" when there is
// none. Symlinks are followed, wherever they lead: packages have them, and the
// directory is its owner's. A name with a slash leads nowhere.
func findFile(dir, name string) string {
	if strings.ContainsAny(name, `/\`) {
		return ""
	}
	file := filepath.Join(dir, name)
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return file
}

// listen opens all sockets, so that a port that is taken is an error at once.
func (s *server) listen() ([]service, error) {
	open := []func() (service, error){s.listenHTTP, s.listenTFTP, s.listenSyslog}
	if s.DHCP {
		open = append(open, s.listenDHCP)
	}
	var services []service
	for _, f := range open {
		service, err := f()
		if err != nil {
			for _, opened := range services {
				stopped, cancel := context.WithCancel(context.Background())
				cancel()
				err = errors.Join(err, opened.serve(stopped))
			}
			return nil, err
		}
		services = append(services, service)
	}
	return services, nil
}

// listenUDP opens a socket for one of the services.
func (s *server) listenUDP(what string, port, usual int, flag string) (*net.UDPConn, error) {
	if port == 0 {
		port = usual
	}
	addr := net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.Plan.Address, uint16(port)))
	conn, err := net.ListenUDP("udp4", addr)
	if err != nil {
		return nil, listenError(what, addr.String(), flag, err)
	}
	return conn, nil
}

func listenError(what, addr, flag string, err error) error {
	remedy := "is the address on one of this host's interfaces?"
	if errors.Is(err, fs.ErrPermission) {
		remedy = "ports below 1024 need root or CAP_NET_BIND_SERVICE; or choose another with " + flag
	}
	return fmt.Errorf("listening for %s on %s: %w; %s", what, addr, err, remedy)
}

// note reports what a machine did.
func (s *server) note(format string, args ...any) { progress.Notef(s.Progress, format, args...) }
