package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/authn"
	"google.golang.org/protobuf/encoding/protowire"

	"hookbuild/internal/fault"
)

// session answers BuildKit's questions while it builds. It is a gRPC server, that
// is, an HTTP/2 server that answers framed protocol buffers, on a connection that
// was opened to the Engine. A server by hand takes a page; BuildKit's own client
// library and gRPC are a fifth of a program.
type session struct {
	id     string
	server *http.Server
	served chan error
}

// The methods that a session serves. BuildKit asks for the others of its service
// for logins as well and goes on without them.
const (
	credentialsMethod = "/moby.filesync.v1.Auth/Credentials" //nolint:gosec // the name of a method
	healthMethod      = "/grpc.health.v1.Health/Check"
)

// openSession connects a session that knows the logins of the keychain. It serves
// until it is closed.
func openSession(ctx context.Context, engine *client.Client, keychain authn.Keychain) (*session, error) {
	s := &session{id: rand.Text(), served: make(chan error, 1)}
	conn, err := engine.DialHijack(ctx, "/session", "h2c", map[string][]string{
		"X-Docker-Expose-Session-Uuid":        {s.id},
		"X-Docker-Expose-Session-Name":        {""},
		"X-Docker-Expose-Session-Grpc-Method": {credentialsMethod, healthMethod},
	})
	if err != nil {
		return nil, fault.Mark(err, fault.Outside)
	}
	s.server = &http.Server{ //nolint:gosec // its one client is the engine, on a connection that is open already
		Handler:     &answers{keychain: keychain},
		Protocols:   new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0), // what matters is the build's error
	}
	s.server.Protocols.SetUnencryptedHTTP2(true)
	go func() { s.served <- s.server.Serve(&single{conn: conn, closed: make(chan struct{})}) }()
	return s, nil
}

// Close ends the session.
func (s *session) Close() error {
	err := s.server.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// single is a listener for one connection.
type single struct {
	conn   net.Conn
	once   sync.Once
	taken  bool
	closed chan struct{}
}

// Accept implements [net.Listener].
func (s *single) Accept() (net.Conn, error) {
	if !s.taken {
		s.taken = true
		return s.conn, nil
	}
	<-s.closed
	return nil, net.ErrClosed
}

// Close implements [net.Listener]. It closes the connection too.
func (s *single) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		err = s.conn.Close()
	})
	return err
}

// Addr implements [net.Listener].
func (s *single) Addr() net.Addr { return s.conn.LocalAddr() }

// answers serves the methods of a session.
type answers struct{ keychain authn.Keychain }

// Codes of gRPC's status.
const (
	statusUnknown       = 2
	statusUnimplemented = 12
)

// ServeHTTP implements [http.Handler] as gRPC over HTTP/2 prescribes: one framed
// message in, one out, and the status in the trailer.
func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	end := func(code int, text string) {
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(code))
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", url.PathEscape(text))
	}
	question, err := readMessage(r.Body)
	if err != nil {
		end(statusUnknown, err.Error())
		return
	}
	var answer []byte
	switch r.URL.Path {
	case credentialsMethod:
		answer, err = a.credentials(r.Context(), question)
	case healthMethod:
		const status, serving = 1, 1
		answer = protowire.AppendVarint(protowire.AppendTag(nil, status, protowire.VarintType), serving)
	default:
		end(statusUnimplemented, "hookbuild has no "+r.URL.Path)
		return
	}
	if err != nil {
		end(statusUnknown, err.Error())
		return
	}
	if _, err := w.Write(frame(answer)); err == nil { // else nobody reads the trailer either
		end(0, "")
	}
}

// longestMessage is more than any question for a login has.
const longestMessage = 64 << 10

// readMessage reads one message: a flag that is 0 where it is not compressed, its
// length, itself.
func readMessage(r io.Reader) ([]byte, error) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, fmt.Errorf("reading BuildKit's question: %w", err)
	}
	size := binary.BigEndian.Uint32(header[1:])
	if header[0] != 0 || size > longestMessage {
		return nil, fmt.Errorf("reading BuildKit's question: it is compressed or has %d bytes, more than %d", size, longestMessage)
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, fmt.Errorf("reading BuildKit's question: %w", err)
	}
	return message, nil
}

func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}
