package main

import (
	"net"
	"sync/atomic"
)

// meter counts the bytes that registries send and receive.
type meter struct{ bytes atomic.Int64 }

// wrap returns a listener whose connections are counted.
func (m *meter) wrap(l net.Listener) net.Listener { return &meteredListener{l, m} }

type meteredListener struct {
	net.Listener
	meter *meter
}

// Accept implements [net.Listener].
func (l *meteredListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &meteredConn{c, l.meter}, nil
}

type meteredConn struct {
	net.Conn
	meter *meter
}

// Read implements [net.Conn].
func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.meter.bytes.Add(int64(n))
	return n, err
}

// Write implements [net.Conn].
func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.meter.bytes.Add(int64(n))
	return n, err
}
