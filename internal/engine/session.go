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

	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/authn"
	"google.golang.org/protobuf/encoding/protowire"

	"hookbuild/internal/fault"
)

// session answers BuildKit's questions while it builds. It is a gRPC server,
// that is, an HTTP/2 server that answers framed protocol buffers, on a
// connection opened to the engine. It is written by hand because that takes a
// page of code, while BuildKit's client library and gRPC would be a fifth of
// the binary.
type session struct {
	id     string
	server *http.Server
	served chan error
}

// The methods that a session serves. BuildKit also calls other methods of the
// login service, and continues without them.
const (
	credentialsMethod = "/moby.filesync.v1.Auth/Credentials" //nolint:gosec // the name of a method
	healthMethod      = "/grpc.health.v1.Health/Check"
)

// openSession opens a session that answers with the logins of the keychain. It
// serves until it is closed.
func openSession(ctx context.Context, engine *client.Client, keychain authn.Keychain) (*session, error) {
	if err := checkAPI(ctx, engine); err != nil {
		return nil, err
	}
	s := &session{id: rand.Text(), served: make(chan error, 1)}
	conn, err := engine.DialHijack(ctx, "/session", "h2c", map[string][]string{
		"X-Docker-Expose-Session-Uuid":        {s.id},
		"X-Docker-Expose-Session-Name":        {""},
		"X-Docker-Expose-Session-Grpc-Method": {credentialsMethod, healthMethod},
	})
	if err != nil {
		return nil, fault.Mark(err, fault.Outside)
	}
	s.server = &http.Server{ //nolint:gosec // its one client is the engine, on a connection that is already open
		Handler:     &answers{keychain: keychain},
		Protocols:   new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0), // the build's error is the one that matters
	}
	s.server.Protocols.SetUnencryptedHTTP2(true)
	go func() { s.served <- s.server.Serve(&single{conn: conn, closed: make(chan struct{})}) }()
	return s, nil
}

// leastAPI is the version of the engine's API that came with BuildKit.
const leastAPI = "1.39"

// checkAPI returns an error if the engine is older than BuildKit, or if
// DOCKER_API_VERSION asks for such an API.
func checkAPI(ctx context.Context, engine *client.Client) error {
	engine.NegotiateAPIVersion(ctx)
	if v := engine.ClientVersion(); versions.LessThan(v, leastAPI) {
		return fault.Outsidef("it is asked in version %s of its API, and BuildKit needs %s (DOCKER_API_VERSION must not be set to less)", v, leastAPI)
	}
	return nil
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

// Status codes of gRPC.
const (
	statusUnknown       = 2
	statusUnimplemented = 12
)

// ServeHTTP implements [http.Handler] for gRPC over HTTP/2: one framed message
// in, one out, and the status in the trailer.
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
		end(statusUnimplemented, "hookbuild does not implement "+r.URL.Path)
		return
	}
	if err != nil {
		end(statusUnknown, err.Error())
		return
	}
	if _, err := w.Write(frame(answer)); err == nil { // on failure nobody reads the trailer either
		end(0, "")
	}
}

// longestMessage exceeds the size of any question about a login.
const longestMessage = 64 << 10

// readMessage reads one message: a compression flag, which must be 0, the
// length and the payload.
func readMessage(r io.Reader) ([]byte, error) {
	var header [5]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, fmt.Errorf("reading BuildKit's question: %w", err)
	}
	size := binary.BigEndian.Uint32(header[1:])
	if header[0] != 0 || size > longestMessage {
		return nil, fmt.Errorf("reading BuildKit's question: it is compressed, or its %d bytes exceed %d", size, longestMessage)
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
