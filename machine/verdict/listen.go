package verdict

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// preface is what every HTTP/2 client sends first (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// listen plays Tinkerbell's server: it accepts connections until l is closed,
// reads how each begins, and never answers.
func (b *boot) listen(l net.Listener, serving *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // it is closed
		}
		serving.Go(func() { b.greet(conn) })
	}
}

// greet records how a connection begins, and closes it.
func (b *boot) greet(conn net.Conn) {
	const patience = 5 * time.Second
	defer conn.Close() // nothing is written
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return // the other side has already closed it
	}
	begin := make([]byte, len(preface))
	n, err := io.ReadFull(conn, begin)
	begin = begin[:n]
	b.mu.Lock()
	defer b.mu.Unlock()
	const handshake = 0x16
	switch {
	case string(begin) == preface && b.network.Called == 0:
		b.network.Called = b.elapsed()
	case string(begin) == preface:
	case n > 0 && begin[0] == handshake:
		b.network.Other = "it asks for TLS, although the machine was told tinkerbell_tls=false"
	case n == 0:
		b.network.Other = fmt.Sprintf("it sent nothing (%v)", err)
	default:
		b.network.Other = fmt.Sprintf("it sent %q", begin)
	}
}
