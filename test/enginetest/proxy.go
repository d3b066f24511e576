package enginetest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy passes TCP connections on, until they are cut.
type Proxy struct {
	// Address is where it listens, as HOST:PORT.
	Address string

	to        string
	lock      sync.Mutex
	changed   sync.Cond // when isStalled does
	isCut     bool
	isStalled bool
	open      map[net.Conn]bool
	busy      sync.WaitGroup
}

// NewProxy returns a proxy for an address. It ends with the test.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: listener.Addr().String(), to: to, open: map[net.Conn]bool{}}
	p.changed.L = &p.lock
	p.busy.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.busy.Go(func() { p.pass(conn) })
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		p.Cut()
		p.busy.Wait()
	})
	return p
}

// Cut breaks all connections, and new ones at once.
func (p *Proxy) Cut() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.isCut, p.isStalled = true, false
	p.changed.Broadcast()
	for conn := range p.open {
		_ = conn.Close() // whatever it was doing
	}
}

// Stall passes nothing on any more, without closing anything.
func (p *Proxy) Stall() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.isStalled = true
}

// Mend passes everything on again.
func (p *Proxy) Mend() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.isCut, p.isStalled = false, false
	p.changed.Broadcast()
}

// wait waits while the proxy is stalled.
func (p *Proxy) wait() {
	p.lock.Lock()
	defer p.lock.Unlock()
	for p.isStalled {
		p.changed.Wait()
	}
}

// copy is [io.Copy] that can be stalled.
func (p *Proxy) copy(into io.Writer, from io.Reader) {
	part := make([]byte, 32<<10)
	for {
		n, err := from.Read(part)
		p.wait()
		if n > 0 {
			if _, err := into.Write(part[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// keep remembers a connection for Cut. It closes it and returns false if
// connections are cut.
func (p *Proxy) keep(conn net.Conn) bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.isCut {
		_ = conn.Close() // which is what is wanted
		return false
	}
	p.open[conn] = true
	return true
}

func (p *Proxy) drop(conn net.Conn) {
	p.lock.Lock()
	defer p.lock.Unlock()
	delete(p.open, conn)
	_ = conn.Close() // it may have been cut
}

// pass copies in both directions until either end closes.
func (p *Proxy) pass(conn net.Conn) {
	defer p.drop(conn)
	if !p.keep(conn) {
		return
	}
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		return // the engine is away
	}
	defer p.drop(to)
	if !p.keep(to) {
		return
	}
	var copying sync.WaitGroup
	for from, into := range map[net.Conn]net.Conn{conn: to, to: conn} {
		copying.Go(func() {
			p.copy(into, from)
			if half, ok := into.(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		})
	}
	copying.Wait()
}
