// Package nettest runs real DHCP servers and clients in network namespaces of
// a test's own: two hosts on one wire. It needs root and iproute2, and leaves
// nothing behind.
package nettest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hookbuild/test/testneed"
)

// The addresses of the wire. The server's namespace has both, the client's
// routes a second subnet as a relay does.
const (
	ServerIP  = "192.0.2.2"
	BootIP    = "192.0.2.9" // where Tinkerbell is, in the server's namespace
	clientIP  = "192.0.2.200"
	relayIP   = "198.51.100.1" // in the client's namespace
	ServerDev = "vs"
	clientDev = "vc"
)

// Net is a wire with a host at each end.
type Net struct {
	t      testing.TB
	Server string // the namespaces' names
	Client string
}

// New makes the wire, or ends the test where it cannot be made.
func New(t testing.TB) *Net {
	t.Helper()
	testneed.Root(t)
	testneed.Tool(t, "ip")
	id := fmt.Sprintf("%d-%s", os.Getpid(), filepath.Base(t.TempDir()))
	sum := strings.NewReplacer("/", "", "-", "").Replace(id + t.Name())
	n := &Net{t: t, Server: "hbs" + short(sum), Client: "hbc" + short(sum)}
	for _, ns := range []string{n.Server, n.Client} {
		n.ip("netns", "add", ns)
		t.Cleanup(func() { n.ip("netns", "del", ns) })
	}
	n.ip("-n", n.Server, "link", "add", ServerDev, "type", "bridge")
	n.ip("link", "add", "vp", "netns", n.Server, "type", "veth", "peer", "name", clientDev, "netns", n.Client)
	n.ip("-n", n.Server, "link", "set", "vp", "master", ServerDev, "up")
	n.ip("-n", n.Server, "addr", "add", ServerIP+"/24", "dev", ServerDev)
	n.ip("-n", n.Server, "addr", "add", BootIP+"/24", "dev", ServerDev)
	n.ip("-n", n.Client, "addr", "add", clientIP+"/24", "dev", clientDev)
	n.ip("-n", n.Client, "addr", "add", relayIP+"/32", "dev", "lo")
	for _, up := range [][2]string{{n.Server, "lo"}, {n.Client, "lo"}, {n.Server, ServerDev}, {n.Client, clientDev}} {
		n.ip("-n", up[0], "link", "set", up[1], "up")
	}
	n.ip("-n", n.Server, "route", "add", "198.51.100.0/24", "via", clientIP)
	n.waitCarrier()
	return n
}

// Tap plugs a virtual machine's network card into the wire and gives QEMU's
// arguments for it; the machine is to run in the server's namespace. Device is
// QEMU's name and settings of the card: "virtio-net-pci,romfile=".
func (n *Net) Tap(mac, device string) []string {
	n.t.Helper()
	const tap = "tap0"
	n.ip("-n", n.Server, "tuntap", "add", "dev", tap, "mode", "tap")
	n.ip("-n", n.Server, "link", "set", tap, "master", ServerDev, "up")
	return []string{"-netdev", "tap,id=n0,ifname=" + tap + ",script=no,downscript=no", "-device", device + ",netdev=n0,mac=" + mac}
}

// short returns a name that fits, different for each test of a process.
func short(s string) string {
	h := uint32(2166136261)
	for _, b := range []byte(s) {
		h = (h ^ uint32(b)) * 16777619
	}
	return fmt.Sprintf("%08x", h)
}

// waitCarrier waits for the link: Kea opens its sockets once, at the start.
func (n *Net) waitCarrier() {
	for range 100 {
		out, err := exec.Command("ip", "-n", n.Server, "link", "show", ServerDev).CombinedOutput()
		if err == nil && bytes.Contains(out, []byte("LOWER_UP")) && bytes.Contains(out, []byte("state UP")) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	n.t.Fatalf("the link %s did not come up", ServerDev)
}

func (n *Net) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// Process is a program in the server's namespace.
type Process struct {
	t   testing.TB
	cmd *exec.Cmd
	log lockedBuffer
	end chan error
	// dir and config are a DHCP server's directory and configuration.
	dir, config string
}

// Run starts a program in the server's namespace; the test's end stops it.
// The extra environment is "KEY=value".
func (n *Net) Run(env []string, name string, args ...string) *Process {
	n.t.Helper()
	return n.runIn(n.Server, env, name, args...)
}

// runIn is [Net.Run] in a namespace of choice.
func (n *Net) runIn(namespace string, env []string, name string, args ...string) *Process {
	n.t.Helper()
	p := &Process{t: n.t, end: make(chan error, 1)}
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", namespace, name}, args...)...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() { p.end <- p.cmd.Wait() }()
	n.t.Cleanup(p.Stop)
	return p
}

// Count returns how often the program has printed text.
func (p *Process) Count(text string) int { return strings.Count(p.log.String(), text) }

// WaitFor waits until the program has printed text.
func (p *Process) WaitFor(text string) {
	p.t.Helper()
	p.WaitForMore(text, 0)
}

// WaitForMore waits until the program has printed text more than n times.
func (p *Process) WaitForMore(text string, n int) {
	p.t.Helper()
	for range 500 {
		if p.Count(text) > n {
			return
		}
		select {
		case err := <-p.end:
			p.end <- err
			p.t.Fatalf("%s ended (%v):\n%s", p.cmd.Args[4], err, p.log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.t.Fatalf("%s did not print %q:\n%s", p.cmd.Args[4], text, p.log.String())
}

// Wait waits for the program's end.
func (p *Process) Wait(most time.Duration) error {
	select {
	case err := <-p.end:
		p.end <- err
		return err
	case <-time.After(most):
		return fmt.Errorf("%s runs for more than %s", p.cmd.Args[4], most)
	}
}

// Log is what the program has printed so far.
func (p *Process) Log() string { return p.log.String() }

// Signal sends a signal to the program.
func (p *Process) Signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

// Stop ends the program and waits for its end; a second call does nothing.
func (p *Process) Stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return // it has ended by itself
	}
	select {
	case <-p.end:
	case <-time.After(10 * time.Second):
		p.t.Errorf("%s does not end", p.cmd.Args[4])
		if err := p.cmd.Process.Kill(); err != nil {
			p.t.Error(err)
		}
	}
}

// inside runs fn on a thread of its own in a namespace; sockets opened there
// stay there.
func inside(namespace string, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with the goroutine, and no
		// other goroutine finds itself in a strange network.
		runtime.LockOSThread()
		result <- enter(namespace, fn)
	}()
	return <-result
}

func enter(namespace string, fn func() error) error {
	f, err := os.Open("/var/run/netns/" + namespace)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the namespace %q: %w", namespace, err)
	}
	return fn()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
