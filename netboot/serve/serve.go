// Package serve is a network boot server for a lab, in which a build can be tried
// before it goes to production. It serves the iPXE programs by TFTP and HTTP, the
// script auto.ipxe, and the kernel and initramfs of a directory. It receives the
// logs of HookOS. On request it also answers DHCP.
//
// For the machines it replaces Tinkerbell's Smee, but not the rest of Tinkerbell: a
// HookOS that boots from here finds no workflow unless a Tink server answers at the
// gRPC address.
package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/netboot"
	"hookbuild/serve"
)

// Options configure the server.
type Options struct {
	// Plan has the machines, the address at which they reach this host
	// (Plan.Address), and the URLs.
	Plan *netboot.Plan
	// AnyMachine also serves the script to machines that are not in the plan.
	// DHCP never answers them.
	AnyMachine bool
	// Artifacts is the directory of vmlinuz-ARCH and initramfs-ARCH.
	Artifacts string
	// IPXE lists directories with iPXE programs. The first one that has a program
	// is used.
	IPXE []string
	// Cmdline is added to the kernel's command line.
	Cmdline string
	// Console is the serial console, in addition to tty0. The default is
	// Tinkerbell's "ttyS1,115200". If the machine does not have that port, the
	// kernel shows nothing on its other ports either.
	Console string
	// GRPC is the Tink server's host:port. The default is port 42113 of this host.
	GRPC string
	// The ports. That of HTTP is in the plan's URLs. 0 is the default port of the
	// protocol.
	TFTPPort, SyslogPort int
	// ReadTimeout is how long an HTTP client may neither send nor receive anything.
	// The default is [serve.DefaultReadTimeout].
	ReadTimeout time.Duration
	// DHCP says whether to answer the plan's machines on Interface.
	DHCP      bool
	Interface string
	// Log receives the lines that machines log. Only one goroutine calls it at a
	// time.
	Log func(line string)
	// Ready is called when all services listen. It may be nil.
	Ready    func()
	Progress progress.Sink
}

// server is a running lab.
type server struct {
	Options
	mu sync.Mutex // of Log
}

// service serves until its context is done.
type service interface {
	// serve returns nil after ctx is done.
	serve(ctx context.Context) error
}

// Run serves until ctx is done, and then returns nil.
func Run(ctx context.Context, o Options) error {
	o.ReadTimeout = cmp.Or(o.ReadTimeout, serve.DefaultReadTimeout)
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

// look checks the files to serve before any service listens.
func (s *server) look() error {
	if s.Artifacts != "" && len(s.pairs()) == 0 {
		if _, err := os.ReadDir(s.Artifacts); err != nil {
			return fault.Invalidf("looking for artifacts to boot: %w; name a directory of artifacts that this user may read", err)
		}
		return fault.Invalidf("looking in %q: there is no pair vmlinuz-x86_64 and initramfs-x86_64 (or -aarch64) to boot; name a directory of artifacts", s.Artifacts)
	}
	for _, dir := range s.IPXE {
		info, err := os.Stat(dir)
		if err != nil {
			return fault.Invalidf("looking for iPXE programs: %w; install the package ipxe or name their directory", err)
		}
		if !info.IsDir() {
			return fault.Invalidf("looking for iPXE programs: %q is not a directory; install the package ipxe or name their directory", dir)
		}
	}
	s.lookForPrograms()
	return nil
}

// lookForPrograms warns of each kind of firmware whose program is in none of the
// directories. It returns no error, because machines with iPXE as firmware, such as
// QEMU's, need no program.
func (s *server) lookForPrograms() {
	pairs := s.pairs()
	var missing []string
	for _, c := range s.Plan.Clients {
		arch := "x86_64"
		if strings.HasSuffix(c.Firmware, "arm64") {
			arch = "aarch64"
		}
		if !c.HTTP && slices.Contains(pairs, arch) && s.program(c.BootFile) == "" {
			missing = append(missing, c.What+" ("+c.BootFile+")")
		}
	}
	if len(missing) > 0 {
		progress.Warnf(s.Progress, "there is no iPXE program for %s in %s: only machines whose firmware is iPXE itself boot there; install the package ipxe (Fedora: ipxe-bootimgs-x86) or name a directory that has it (--ipxe DIR)",
			strings.Join(missing, ", "), strings.Join(s.IPXE, ", "))
	}
}

// pairs returns the architectures for which both kernel and initramfs exist.
func (s *server) pairs() []string {
	var archs []string
	for _, arch := range []string{"x86_64", "aarch64"} {
		if findFile(s.Artifacts, "vmlinuz-"+arch) != "" && findFile(s.Artifacts, "initramfs-"+arch) != "" {
			archs = append(archs, arch)
		}
	}
	return archs
}

// findFile returns the path of a regular file directly in dir, or "". It follows
// symlinks to any place, because packages have them and the directory belongs to
// the user. It finds no name with a slash.
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

// listen opens all sockets, so that a port in use is an error at the start.
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
	remedy := "check that the address is on an interface of this host"
	if errors.Is(err, fs.ErrPermission) {
		remedy = "run as root or with CAP_NET_BIND_SERVICE for ports below 1024, or choose another port with " + flag
	}
	return fmt.Errorf("listening for %s on %s: %w; %s", what, addr, err, remedy)
}

// note logs an action of a machine.
func (s *server) note(format string, args ...any) { progress.Notef(s.Progress, format, args...) }
