// Package slowtest opens connections of clients that a server has to get rid of.
package slowtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hookbuild/test/testneed"
)

// Clients are connections to a server on this machine.
type Clients struct {
	t       testing.TB
	endless []net.Conn // their request has no end
}

// Open opens n connections. Half of them send the request and never read the answer; the
// others send the beginning of a request. They are closed when the test ends.
func Open(t testing.TB, addr string, n int, request string) *Clients {
	t.Helper()
	const others = 500 // the test's own files
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if need := uint64(2*n + others); limit.Cur < need {
		testneed.Missing(t, "files", fmt.Sprintf("a process may open %d files here, and %d connections to itself need %d", limit.Cur, n, need))
	}
	// A small window keeps what the kernel holds for a connection small.
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		const window = 4 << 10
		failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, window) })
		if failed != nil {
			return failed
		}
		return err
	}}
	c := &Clients{t: t}
	for i := range n {
		conn, err := d.DialContext(context.Background(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		sent := request
		if i%2 == 0 {
			sent = "GET /x HTTP/1.1\r\nHost: "
			c.endless = append(c.endless, conn)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// Cut waits until the server has closed the connections without a whole request, and
// fails the test if one is still open after limit.
func (c *Clients) Cut(limit time.Duration) {
	c.t.Helper()
	until := time.Now().Add(limit)
	for i, conn := range c.endless {
		if err := conn.SetReadDeadline(until); err != nil {
			c.t.Fatal(err)
		}
		// A connection that the server resets is closed as well.
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Fatalf("%d of %d connections without a request are closed after %s", i, len(c.endless), limit)
		}
	}
}
